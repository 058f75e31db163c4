"""`#Params`, row by row: as printed, as counted on the paper's model in two ways, and as counted on this run's own."""

import pandas as pd

from langsim.lslo import counting, rows, running
from langsim.lslo.counting import unit
from langsim.lslo_settings import LSLoSettings
from langsim.readings import Prose, number, prose

AGREES = 0.5  # percent


def ours(settings: LSLoSettings, exhibit: str) -> dict[str, int]:
    """Row -> parameters that are trained on the settings' model with the settings' languages."""
    model = running.model_of(settings).model
    which = rows.TABLES[exhibit]
    classes = settings.classes_of(which)
    found = {}
    for name, jobs in rows.rows(settings, exhibit).items():
        made = jobs[0].experiment
        if made.trains == "lslo":
            per_rank = unit(model, made.architecture(model), settings.span)
            found[name] = per_rank * sum(made.ranks_of(classes).values())
        else:
            whole = sum(parameter.numel() for parameter in model.parameters())
            found[name] = whole if made.trains == "everything" else 0
    return found


def frame(settings: LSLoSettings) -> pd.DataFrame:
    """One row a table and method with LSLo: exhibit, method, modules, printed, slice, full (million, on the paper's
    model), difference (of slice from printed, percent), agrees, ours (million, on this run's), share (of that model,
    percent)."""
    model, paper = running.model_of(settings).model, counting.paper_model()
    whole = sum(parameter.numel() for parameter in model.parameters())
    lines = []
    for exhibit in ("lslo-table1", "lslo-table2", "lslo-table7"):
        counted = counting.table(exhibit, paper)
        mine = {} if settings.ranks else ours(settings, exhibit)
        for row in counted.to_dict("records"):
            count = mine.get(row["method"], float("nan"))
            lines.append(
                {
                    "exhibit": exhibit,
                    **row,
                    "agrees": abs(row["difference"]) <= AGREES,
                    "ours": count / 1e6,
                    "share": 100 * count / whole,
                }
            )
    return pd.DataFrame(lines)


def table(counts: pd.DataFrame) -> pd.DataFrame:
    """The same for reading."""
    shown = pd.DataFrame(
        {
            "table": counts["exhibit"].str.removeprefix("lslo-table"),
            "printed": counts["printed"].map("{:.2f}M".format),
            "slice": counts["slice"].map("{:.2f}M".format),
            "off by": counts["difference"].map(lambda value: f"{number(value, 1)} %"),
            "conventional": counts["full"].map("{:.2f}M".format),
            "this run": counts["ours"].map(lambda value: f"{number(value, 3)}M" if value == value else "–"),
            "of its model": counts["share"].map(lambda value: f"{number(value, 1)} %" if value == value else "–"),
        }
    )
    return shown.set_axis(counts["method"]).rename_axis(None)


def reading(counts: pd.DataFrame) -> Prose:
    """How many printed counts agree, and which do not."""
    wrong = counts[~counts["agrees"]]
    most = counts.loc[counts["share"].idxmax()] if counts["share"].notna().any() else None
    named = [
        f"Table {row.exhibit.removeprefix('lslo-table')}, {row.method}: printed {row.printed:g}M, counted "
        f"{row.slice:.2f}M ({number(row.difference, 1)} %)"
        for row in wrong.itertuples()
    ]
    return prose(
        f"Counted on a slice of 1,024 hidden units, {int(counts['agrees'].sum())} of {len(counts)} printed counts "
        f"agree within {AGREES:g} %.",
        f"The one that does not: {named[0]}."
        if len(named) == 1
        else f"Those that do not: {'; '.join(named)}."
        if named
        else "",
        f"Conventional LoRA on the whole feed-forward block has {counts['full'].div(counts['slice']).min():.2f} to "
        f"{counts['full'].div(counts['slice']).max():.2f} times as many.",
        f"On this run's small model the same ranks weigh more: {most.method} trains {number(most.share, 0)} % as many "
        "parameters as the whole model has."
        if most is not None
        else "",
    )


def shares_reading() -> Prose:
    """What each class has of M2M-124's parameters in the row that the abstract is about."""
    shares = counting.shares("lslo-table1")
    row = shares[shares["method"] == "2;2;8+WL+GPS(0.9)"]
    told = [f"{line['slice_percent']:.2f} % ({line['class']})" for line in row.to_dict("records")]
    return prose(
        f"In 2;2;8 on M2M-124 each class has, of all parameters of the model and before pruning: {', '.join(told)}; "
        "the abstract says 0.4 % for high and medium resource and 1.6 % for very low."
    )
