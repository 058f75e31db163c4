"""Does similarity predict what an auxiliary language is worth? Gains of single auxiliaries against every measure.

A question that the paper skips. For each target, every other language is once its only auxiliary; the gain over
fine-tuning on the target alone is set against what each similarity says of the pair.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import rankdata

from langsim import charts, instrument, pipeline, uriel
from langsim.agreement import LEVEL, holm, oriented
from langsim.family_study import MEASURES, NAMES
from langsim.profiles import Tuning
from langsim.readings import Prose, number, p, prose
from langsim.similarity import LARGER_IS_SIMILAR

DRAWS = 4999
TOLERANCES = {"value": 0.02, "low": 0.05, "high": 0.05, "p_value": 0.05, "adjusted": 0.2}


@dataclass(frozen=True)
class Prediction:
    """How well one similarity orders the auxiliaries of each target by their gain.

    Attributes:
        value: mean over targets of Spearman's correlation of similarity and gain.
        low, high: 95% percentile interval, auxiliaries drawn again.
        p_value: two-sided, languages exchanged in the similarity's rows and columns together (QAP).
        adjusted: after Holm's correction for all measures.
    """

    name: str
    value: float
    low: float
    high: float
    p_value: float
    adjusted: float = np.nan


def predictors(settings: Tuning) -> dict[str, pd.DataFrame]:
    """name -> (L, L) similarity, row = target, larger = more similar: every measure raw and centred with both
    estimators, the nulls (between two halves of the text; by the settings' measure), and typology. None where no
    auxiliary is tried alone, since there is nothing to predict."""
    found: dict[str, pd.DataFrame] = {}
    if settings.singles == "none":
        return found
    for estimator in ("batch", "per_example"):
        chosen = settings.model_copy(update={"estimator": estimator})
        matrix = pipeline.similarities(chosen)
        for measure in MEASURES:
            name = f"{NAMES[measure]}, {estimator}"
            sign = 1 if LARGER_IS_SIMILAR[measure] else -1
            found[name] = oriented(matrix.all.matrix(measure), LARGER_IS_SIMILAR[measure])
            found[f"{name}, centred"] = sign * matrix.all.centred(measure)
    for check in instrument.checks(pipeline.fisher_vectors(settings))[1:]:
        found[f"null: {check.name}"] = check.cross
        found[f"null: {check.name}, centred"] = check.shown(centred=True)
    described = uriel.available(settings.languages)
    if len(described) == len(settings.languages):
        found["URIEL (typology)"] = -uriel.distances(settings.languages)
    return found


def figure(gains: pd.DataFrame) -> Figure | None:
    """(T, L) gains as a heat map, auxiliaries in rows; none where no auxiliary was tried alone."""
    return None if gains.empty else charts.grid(gains.T, label="gain in chrF2")


def predictions(gains: pd.DataFrame, similarities: Mapping[str, pd.DataFrame], *, seed: int = 0) -> list[Prediction]:
    """How well each similarity predicts the gains.

    Args:
        gains: (T, L) target by auxiliary; NaN where there is none (the target itself). Without rows there is nothing
            to predict, and no prediction.
        similarities: name -> (L, L).
    """
    if gains.empty:
        return []
    codes = list(next(iter(similarities.values())).index)
    values = gains.reindex(columns=codes).to_numpy(dtype=float)
    rows = [codes.index(target) for target in gains.index]
    rng = np.random.default_rng(seed)
    orders = rng.permuted(np.tile(np.arange(len(codes)), (DRAWS, 1)), axis=1)
    found = []
    for name, matrix in similarities.items():
        similar = matrix.loc[codes, codes].to_numpy(dtype=float)
        value = _mean_spearman(similar[rows], values)
        far = np.abs(_exchanged(similar, values, rows, orders)) >= abs(value) - 1e-12
        drawn = [
            _mean_spearman(similar[rows][:, c], values[:, c]) for c in rng.integers(len(codes), size=(1000, len(codes)))
        ]
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        found.append(Prediction(name, value, float(low), float(high), float((far.sum() + 1) / (DRAWS + 1))))
    adjusted = holm([one.p_value for one in found])
    return [Prediction(**{**vars(one), "adjusted": float(q)}) for one, q in zip(found, adjusted, strict=True)]


def _exchanged(similar: np.ndarray, gains: np.ndarray, rows: list[int], orders: np.ndarray) -> np.ndarray:
    """(draws,) `_mean_spearman` with the languages of the similarity exchanged. A row's ranks without the language
    itself are the same in every order, so they are taken once."""
    others = ~np.eye(len(similar), dtype=bool)
    ranks = np.zeros_like(similar)
    ranks[others] = np.concatenate([_standardised(row[keep]) for row, keep in zip(similar, others, strict=True)])
    wanted = np.zeros_like(gains)
    for i, row in enumerate(rows):
        wanted[i, others[row]] = _standardised(gains[i, others[row]])
    drawn = ranks[orders[:, rows][:, :, None], orders[:, None, :]]  # (draws, T, L)
    return (drawn * wanted).sum(-1).mean(-1)


def _standardised(values: np.ndarray) -> np.ndarray:
    """Ranks, centred, of length 1: their inner products are Spearman's correlations (0 where all are equal)."""
    ranks = rankdata(values) - (len(values) + 1) / 2
    return ranks / (np.linalg.norm(ranks) or 1.0)


def _mean_spearman(similar: np.ndarray, gains: np.ndarray) -> float:
    """Mean over rows of Spearman's correlation where both are numbers: (T, L), (T, L)."""
    correlations = []
    for x, y in zip(similar, gains, strict=True):
        keep = ~(np.isnan(x) | np.isnan(y))
        correlations.append(_standardised(x[keep]) @ _standardised(y[keep]))
    return float(np.mean(correlations))


def frame(found: list[Prediction]) -> pd.DataFrame:
    """One row a similarity; the columns are numbers even where there is none."""
    rows = pd.DataFrame([vars(one) for one in found], columns=[field.name for field in fields(Prediction)])
    return rows.astype(dict.fromkeys(TOLERANCES, float))


def table(found: list[Prediction]) -> pd.DataFrame:
    """The same for reading."""
    if not found:
        return pd.DataFrame()
    return pd.DataFrame(
        {
            "mean Spearman correlation with gain": [
                f"{number(one.value)} ({number(one.low)} to {number(one.high)})" for one in found
            ],
            "p": [p(one.p_value).removeprefix("p = ") for one in found],
            "adjusted": [p(one.adjusted).removeprefix("p = ") for one in found],
        },
        index=pd.Index([one.name for one in found], name=None),
    )


def reading(found: list[Prediction]) -> Prose:
    """Whether any similarity predicts gain."""
    if not found:
        return prose("No auxiliary was tried alone (`singles: none`), so this question is not asked here.")
    good = [one for one in found if one.adjusted < LEVEL and one.value > 0]
    bad = [one for one in found if one.adjusted < LEVEL and one.value < 0]
    best = max(found, key=lambda one: one.value)
    return prose(
        f"The best of {len(found)} is {best.name} with {number(best.value)} ({p(best.adjusted)}, adjusted by Holm).",
        f"Similarity predicts gain measurably for: {'; '.join(one.name for one in good)}."
        if good
        else "No similarity predicts the gain of an auxiliary measurably better than chance.",
        f"Against expectation, it runs the other way for: {'; '.join(one.name for one in bad)}." if bad else "",
    )
