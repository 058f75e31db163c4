"""Tables of part III and the statements about them at other profiles, as they were computed once and committed."""

from collections.abc import Callable

import pandas as pd

from langsim import beside
from langsim.beside import Other
from langsim.readings import Prose, boxed, prose
from langsim.xsns import fits, statements, tables
from langsim.xsns.settings import XSNSSettings

NOTHING = "No committed result of another profile stands beside this run."


def shown(settings: XSNSSettings, exhibit: str) -> Prose:
    """An exhibit of every other profile as this page shows its own, its statements as far as they were measured, and
    the signature; why, where a result is not shown.

    Args:
        exhibit: xsns-table1, xsns-table2, xsns-table3 or xsns-table4.
    """
    claimed = {other.profile: other for other in beside.others(f"{exhibit}-claims", settings)}
    parts = []
    for other in beside.others(exhibit, settings):
        if other.stale:
            parts.append(f"> **Note.** The committed result at `{other.profile}` is not shown: {other.stale}.")
            continue
        parts += [f"**At {other.profile}** (tasks: {other.parts.get('tasks', 'not named')})."]
        parts.append(_TABLES[exhibit](other.result.frame))
        parts += _stated(claimed.get(other.profile))
        parts.append(f"<small>Signature: `{other.result.signature}`.</small>")
    return Prose("\n\n".join(parts)) if parts else prose(NOTHING)


def _stated(other: Other | None) -> list[str]:
    """Statements with a number; those about tasks or models that are not there are only counted."""
    if other is None or other.stale:
        return []
    frame = other.result.frame.fillna({"note": "", "baseline": "", "scope": ""})  # as CSV no text and no number are one
    told = frame[frame["estimate"].notna()]
    return [statements.shown(told).text, statements.reading(frame).text] if len(told) else []


_TABLES: dict[str, Callable[[pd.DataFrame], str]] = {
    "xsns-table1": lambda frame: boxed(tables.table1_shown(frame)),
    "xsns-table2": lambda frame: tables.table2_tables(frame).text,
    "xsns-table3": lambda frame: boxed(fits.shown(frame, {})),
    "xsns-table4": lambda frame: boxed(tables.table4_shown(frame)),
}
