"""Pseudo families of several targets by several measures, beside the printed ones, the traditional ones and chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from langsim import papers, readings
from langsim.agreement import holm, oriented
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
        families: target to its pseudo family. everyone: the same for every language of the matrix.
        printed: target to the auxiliaries of Table 1; empty where it has no such row.
    """

    name: str
    families: dict[str, Family]
    printed: dict[str, tuple[str, ...]]
    everyone: dict[str, Family]


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
            everyone = {
                code: select(values.loc[code], larger, settings.recipe, target=code, measure=measure)
                for code in settings.languages
            }
            found.append(_row(name, everyone, settings.targets, printed if name == NAMES[measure] else {}))
    if len(settings.languages) >= FEWEST:
        found.append(_centred(matrix, chosen))
    return found


def _row(name: str, everyone: dict[str, Family], targets: Sequence[str], printed: dict[str, tuple[str, ...]]) -> Row:
    return Row(name, {target: everyone[target] for target in targets}, printed, everyone)


def _comparable(
    printed: Mapping[str, tuple[str, ...]], targets: Sequence[str], codes: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Printed families of our targets, if all their members could have been picked here."""
    return {t: printed[t] for t in targets if t in printed and set(printed[t]) <= set(codes)}


def _centred(matrix: SimilarityMatrix, measure: str) -> Row:
    values = -centre(oriented(matrix.all.matrix(measure), LARGER_IS_SIMILAR[measure])).residuals
    everyone = {
        code: select(values.loc[code].drop(code), False, "authors_code", target=code, measure=measure)
        for code in values.index
    }
    return _row(f"{NAMES[measure]}, centred", everyone, matrix.settings.targets, {})


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

    One-sided: it can tell families that are more like the printed ones than chance makes them, and no others.

    Attributes:
        chance: mean over permutations of the languages of our matrix.
        p_value: share of `DRAWS` permutations whose families agree at least as well.
        adjusted: the same after Holm's correction for all measures that are compared.
    """

    mean: float
    chance: float
    p_value: float
    adjusted: float
    exact: int
    targets: int


def agreements_with_print(found: Sequence[Row], *, seed: int = 0) -> dict[str, FamilyAgreement]:
    """How far each row of ours that has a printed one agrees with it."""
    tested = {row.name: _tested(row, seed) for row in found if row.printed}
    chances = holm([one.p_value for one in tested.values()])
    return {name: replace(one, adjusted=float(p)) for (name, one), p in zip(tested.items(), chances, strict=True)}


def _tested(row: Row, seed: int) -> FamilyAgreement:
    codes, targets = list(row.everyone), list(row.printed)
    printed = _indicators(row.printed, targets, codes)
    ours = _indicators({code: family.members for code, family in row.everyone.items()}, codes, codes)
    orders = np.random.default_rng(seed).permuted(np.tile(np.arange(len(codes)), (DRAWS, 1)), axis=1)
    drawn = permuted_jaccard(ours, printed, [codes.index(target) for target in targets], orders)
    found = agreement({target: row.families[target] for target in targets}, row.printed).jaccard
    mean = float(found.mean())
    p_value = float((np.sum(drawn >= mean - 1e-12) + 1) / (DRAWS + 1))
    return FamilyAgreement(mean, float(drawn.mean()), p_value, p_value, int((found == 1.0).sum()), len(found))


def _indicators(families: Mapping[str, Sequence[str]], rows: Sequence[str], codes: Sequence[str]) -> np.ndarray:
    """(rows, L) True where a language is in the family."""
    return np.array([[code in families[row] for code in codes] for row in rows])


def permuted_jaccard(ours: np.ndarray, printed: np.ndarray, targets: Sequence[int], orders: np.ndarray) -> np.ndarray:
    """(draws,) mean Jaccard index with the printed families when the languages of our matrix change places.

    Rows and columns change together (QAP), so that the families of all targets stay as dependent as they are. A.2
    looks at no names: its families on the permuted matrix are those of the matrix, renamed.

    Args:
        ours: (L, L) True where column is in the family of row. printed: (T, L). targets: their T positions in L.
        orders: (draws, L) which language comes in the place of each.
    """
    renamed = ours[orders[:, targets][:, :, None], orders[:, None, :]]
    both, either = (renamed & printed).sum(axis=2), (renamed | printed).sum(axis=2)
    return np.where(either > 0, both / np.maximum(either, 1), 1.0).mean(axis=1)


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
