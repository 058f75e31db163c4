"""Pseudo families of several targets by several measures, beside the printed ones, the traditional ones and chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from langsim import papers, readings
from langsim.agreement import oriented
from langsim.centring import centre
from langsim.families import Family, agreement, select, traditional
from langsim.pipeline import SimilarityMatrix
from langsim.printed import chance_jaccard, printed_families
from langsim.readings import Prose
from langsim.similarity import LARGER_IS_SIMILAR

MEASURES = ("kl", "mse", "overlap")  # in the order of Table 1
NAMES = {"kl": "KL", "mse": "MSE", "overlap": "Overlap", "jaccard": "Jaccard"}
FEWEST = 3  # languages below which nothing can be centred
DRAWS = 9999


@dataclass(frozen=True)
class Row:
    """The families of all targets by one way to measure.

    Attributes:
        name: `Overlap`, `KL, normalised`, `Overlap, centred`.
        families: target to its pseudo family.
        printed: target to the auxiliaries of Table 1; empty where it has no such row.
    """

    name: str
    families: dict[str, Family]
    printed: dict[str, tuple[str, ...]]


def rows(matrix: SimilarityMatrix) -> list[Row]:
    """Table 1's three measures (and the one asked for); distances also trace-normalised, and the one asked for
    centred.

    A centred matrix has no value for a language with itself, from which A.2 starts; there the walk starts at the step
    between the first two auxiliaries, as the authors' program does for distances.
    """
    settings = matrix.settings
    chosen = settings.measure
    found = []
    for measure in dict.fromkeys((*MEASURES, chosen)):
        larger = LARGER_IS_SIMILAR[measure]
        printed = _comparable(printed_families(NAMES[measure]), settings.targets, settings.languages)
        variants = {NAMES[measure]: matrix.all.matrix(measure)}
        if measure in matrix.all.normalised:
            variants[f"{NAMES[measure]}, normalised"] = matrix.all.matrix(measure, "normalised")
        for name, values in variants.items():
            chosen_families = {
                target: select(values.loc[target], larger, settings.recipe, target=target, measure=measure)
                for target in settings.targets
            }
            found.append(Row(name, chosen_families, printed if name == NAMES[measure] else {}))
    if len(settings.languages) >= FEWEST:
        found.append(_centred(matrix, chosen))
    return found


def _comparable(
    printed: Mapping[str, tuple[str, ...]], targets: Sequence[str], codes: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Printed families of our targets, if all their members could have been picked here."""
    return {t: printed[t] for t in targets if t in printed and set(printed[t]) <= set(codes)}


def _centred(matrix: SimilarityMatrix, measure: str) -> Row:
    values = -centre(oriented(matrix.all.matrix(measure), LARGER_IS_SIMILAR[measure])).residuals
    families = {
        target: select(values.loc[target].drop(target), False, "authors_code", target=target, measure=measure)
        for target in matrix.settings.targets
    }
    return Row(f"{NAMES[measure]}, centred", families, {})


def tidy(found: Sequence[Row], codes: Sequence[str]) -> pd.DataFrame:
    """One row a measure and target: members, printed members, their Jaccard index, what chance gives, and the same
    for the traditional family."""
    lines = []
    for row in found:
        alike = agreement(row.families, row.printed).jaccard if row.printed else {}
        for target, family in row.families.items():
            printed, kin = row.printed.get(target, ()), traditional(target, codes)
            pool, size = len(codes) - 1, len(family.members)
            lines.append(
                {
                    "measure": row.name,
                    "target": target,
                    "members": " ".join(family.members),
                    "size": size,
                    "printed": " ".join(printed),
                    "jaccard": alike[target] if printed else np.nan,
                    "chance": chance_jaccard(pool, size, len(printed)) if printed else np.nan,
                    "traditional": " ".join(kin),
                    "kin_found": len(set(kin) & set(family.members)),
                    "kin_chance": size * len(kin) / pool,
                }
            )
    return pd.DataFrame(lines)


def table(found: Sequence[Row]) -> pd.DataFrame:
    """As Table 1: measures in rows, ours and as printed, targets in columns."""
    lines = {}
    for row in found:
        if row.printed:
            lines[f"{row.name}, published"] = {t: " ".join(m) for t, m in row.printed.items()}
        lines[f"{row.name}, ours"] = {t: " ".join(f.members) for t, f in row.families.items()}
    frame = pd.DataFrame.from_dict(lines, orient="index").fillna("–")
    return frame[list(found[0].families)].rename_axis(columns="target")


def trace_table(family: Family) -> pd.DataFrame:
    """A walk step by step, numbers rounded for reading."""
    steps = pd.DataFrame(family.trace).set_index("language")
    for column in ("score", "gap_before", "difference", "gap_after"):
        steps[column] = [f"{value:.4g}" if pd.notna(value) else "" for value in steps[column].astype(float)]
    steps = steps.rename(columns={"gap_before": "Gap before", "gap_after": "Gap after", "difference": "step"})
    return steps.rename_axis(index=None, columns="language")


def walk_reading(family: Family) -> Prose:
    """What the walk ended with, in one sentence."""
    last = family.trace[-1]
    listed = " ".join(family.members)
    if last["decision"] in ("larger", "minimum"):
        why = (
            f"it ends at {last['language']}, where the step of {last['difference']:.3g} is larger than the Gap of "
            f"{last['gap_before']:.3g}"
        )
    else:
        why = "it never met a step larger than the one before"
    count = "one auxiliary" if len(family.members) == 1 else f"{len(family.members)} auxiliaries"
    return readings.prose(f"The pseudo family of {family.target} has {count}, {listed}: {why}.")


def membership(families: Mapping[str, str]) -> pd.DataFrame:
    """language, family: the result of Figure 1."""
    return pd.DataFrame({"language": list(families), "family": list(families.values())})


@dataclass(frozen=True)
class FamilyAgreement:
    """Mean Jaccard index of our families with the printed ones over targets, and what chance gives.

    Attributes:
        p_value: share of `DRAWS` draws of random families of our sizes that agree at least as well (one-sided).
    """

    mean: float
    chance: float
    p_value: float
    exact: int
    targets: int

    @property
    def verdict(self) -> str:
        """`same direction` where chance does not explain the agreement, else `undecided`."""
        return "same direction" if self.p_value < 0.05 and self.mean > self.chance else "undecided"


def agreement_with_print(row: Row, codes: Sequence[str], *, seed: int = 0) -> FamilyAgreement | None:
    """How far a row of ours agrees with the printed one; None where nothing is printed."""
    if not row.printed:
        return None
    found = agreement(row.families, row.printed).jaccard
    rng = np.random.default_rng(seed)
    drawn = np.zeros(DRAWS)
    for target in found.index:
        ours, printed = len(row.families[target].members), len(row.printed[target])
        shared = rng.hypergeometric(printed, len(codes) - 1 - printed, ours, DRAWS)
        drawn += shared / (ours + printed - shared) / len(found)
    mean = float(found.mean())
    return FamilyAgreement(
        mean=mean,
        chance=float(drawn.mean()),
        p_value=float((np.sum(drawn >= mean - 1e-12) + 1) / (DRAWS + 1)),
        exact=int((found == 1.0).sum()),
        targets=len(found),
    )


def reading(found: Sequence[Row], codes: Sequence[str]) -> Prose:
    """How our families agree with Table 1, measure by measure, or why there is nothing to compare."""
    lines = []
    for row in found:
        agreed = agreement_with_print(row, codes)
        if agreed:
            lines.append(
                f"{row.name}: {agreed.exact} of {agreed.targets} families are the printed ones; the mean Jaccard index "
                f"is {readings.number(agreed.mean)}, random families of the same sizes have "
                f"{readings.number(agreed.chance)} ({readings.p(agreed.p_value)}): **{agreed.verdict}**."
            )
    if not lines:
        return readings.prose("Table 1 has none of these targets, so there is nothing to compare with.")
    return readings.bullets(*lines)


def kin_table(found: Sequence[Row], codes: Sequence[str]) -> pd.DataFrame:
    """How many relatives the pseudo families of all targets hold together, and how many random ones would."""
    frame = tidy(found, codes)
    frame["relatives"] = frame["traditional"].str.split().str.len()
    grouped = frame.groupby("measure", sort=False)
    table = pd.DataFrame(
        {
            "auxiliaries": grouped["size"].sum(),
            "relatives among them": grouped["kin_found"].sum(),
            "by chance": grouped["kin_chance"].sum().round(1),
            "relatives there are": grouped["relatives"].sum(),
        }
    )
    return table.rename_axis(index=None, columns="measure")


def figure1_reading(families: Mapping[str, str]) -> Prose:
    """Whether the registry's families are those of Figure 1, for the languages that it shows."""
    printed = papers.published("pf-fig1").set_index("language")["value"]
    shared = [code for code in families if code in printed.index]
    if not shared:
        return readings.prose("Figure 1 has none of these languages; their families are the registry's.")
    differ = [code for code in shared if families[code] != printed[code]]
    rest = len(families) - len(shared)
    others = "The other language has" if rest == 1 else f"The other {rest} languages have"
    return readings.prose(
        f"{len(shared)} of the {len(families)} languages are in Figure 1, and",
        f"{' '.join(differ)} have another family here." if differ else "in the families that it gives them.",
        f"{others} the registry's family." if rest else "",
    )
