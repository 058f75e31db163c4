"""Table 1 with its statements, and Figure 1, at other profiles, as they were computed once and committed."""

from langsim import beside
from langsim.lslo import statements, tables
from langsim.lslo.study import NAMES, NLL
from langsim.lslo.weight_learning import STACKS
from langsim.lslo_settings import LSLoSettings
from langsim.readings import Prose, boxed, number, prose

EXHIBIT, FIGURE_1 = "lslo-table1", "lslo-fig1"
NOTHING = "No committed result of another profile stands beside this run."
MEASURES = (NLL, "spbleu", "chrf")


def weights_reading(settings: LSLoSettings) -> Prose:
    """What weight learning found at other profiles: the weight of the target language, layer by layer."""
    told = []
    for title, frame in beside.frames(FIGURE_1, settings).items():
        means = frame[frame["side"] == "target"].groupby(["stack", "layer"])["weight"].mean()
        stacks = [f"{name} {' '.join(number(value) for value in means[name])}" for name in STACKS]
        told.append(f"{title} the weights of the target language are, from layer 1 up: {'; '.join(stacks)}.")
    return prose(*told) if told else prose(NOTHING)


def shown(settings: LSLoSettings) -> Prose:
    """Every other profile's table in three measures, its statements decided by nats per token, and how many were
    decided by each measure; why, where a result is not shown."""
    parts = []
    stated = {other.profile: other.result.frame for other in beside.others(f"{EXHIBIT}-claims", settings)}
    for other in beside.others(EXHIBIT, settings):
        if other.stale:
            parts.append(f"> **Note.** The committed result at `{other.profile}` is not shown: {other.stale}.")
            continue
        parts.append(f"**{other.title}.**")
        for measure in MEASURES:
            better = "lower" if measure == NLL else "higher"
            parts += [f"{NAMES[measure]} ({better} is better):", boxed(tables.table(other.result.frame, measure))]
        if other.profile in stated:
            # As CSV an empty text and no number are one.
            claims = stated[other.profile].fillna({"note": "", "baseline": "", "scope": ""})
            claims = claims[claims["estimate"].notna()]  # of rows that are there
            parts += [statements.shown(claims, NLL).text, statements.reading(claims).text]
        parts.append(f"<small>Signature: `{other.result.signature}`.</small>")
    return Prose("\n\n".join(parts)) if parts else prose(NOTHING)
