"""Transfer scores by regression (Section 5.3, Table 3 of the third paper).

One observation a pair of target and source. Three models, all with statsmodels:

- `ols`: ordinary least squares.
- `mixed`: MixedLM with a random intercept for every target. It shifts all sources of a target alike and so changes no
  ranking: with one feature and a rising line, Top-1 and NDCG@3 are those of the feature, as in Table 3.
- `crossed`: random intercepts for targets and sources, as crossed variance components. Here a source may be good for
  all targets whatever the features say.

RMSE in-sample, as the paper has it (with the predicted random intercepts), and with each target left out in turn, as a
prediction for a new target needs it (its own random intercept is unknown, hence 0; those of the sources are kept).
A warning of the fit is data: `Regression.warnings`.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
import statsmodels.api as sm
from statsmodels.regression.mixed_linear_model import MixedLM

from langsim import baselines, languages, uriel
from langsim.errors import UsageError
from langsim.ranking import Ranking
from langsim.ranking import ranking as rank

Method = Literal["ols", "mixed", "crossed"]
METHODS = ("ols", "mixed", "crossed")
_DIGITS = 10  # of predictions, in standard deviations of the scores: equal features must give equal predictions

# What kind of writing system a script is (alphabet, abjad, abugida, syllabary, logography, a mixture of these).
WRITING_SYSTEMS = {
    "alphabet": "Latn Cyrl Grek Armn Geor Kore Thaa",
    "abjad": "Arab Hebr",
    "abugida": "Deva Beng Gujr Guru Knda Khmr Laoo Mlym Mymr Orya Sinh Taml Telu Thai Tibt Ethi",
    "logography": "Hans Hant",
    "mixed": "Jpan",
}
ORDERS = ("S_SVO", "S_SOV", "S_VSO", "S_VOS", "S_OVS", "S_OSV")


@dataclass(frozen=True)
class Regression:
    """A fitted regression and its predictions.

    Attributes:
        coefficients: of the intercept and each feature, per unit of the feature (of linearly dependent features the
            shortest vector); NaN where the fit failed.
        rmse: in-sample. rmse_left_out: of the predictions for targets that the fit had not seen. Unit of the scores.
        predicted, predicted_left_out: (T, S), NaN where there was no observation.
        ranking, ranking_left_out: their metrics over the same candidates; None where predictions are constant.
        warnings: what was said while fitting, "all targets: ..." or "without <target>: ...".
        converged: whether every fit did.
        pairs: how many observations. dropped: target, source, missing ("score" or names of features).
    """

    method: Method
    features: tuple[str, ...]
    coefficients: pd.Series
    rmse: float
    rmse_left_out: float
    predicted: pd.DataFrame = field(repr=False)
    predicted_left_out: pd.DataFrame = field(repr=False)
    ranking: Ranking | None = field(repr=False)
    ranking_left_out: Ranking | None = field(repr=False)
    warnings: tuple[str, ...]
    converged: bool
    pairs: int
    dropped: pd.DataFrame = field(repr=False)


def xpos_features(targets: Sequence[str], sources: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Features after X-POS (de Vries et al. 2022) that the registry and URIEL hold: name -> (T, S) matrix.

    `same_family`, `same_script`, `same_writing_system`: 0 or 1. `word_order`: 1 minus the mean absolute difference of
    URIEL's six orders of subject, verb and object (kNN; a language may have several); NaN where URIEL has no data.
    X-POS's lexical-phonetic distance and the sizes of pre-training corpora are not among them.

    Raises:
        UsageError: an unknown language.
    """
    matrices = [baselines.same_family(targets, sources), baselines.same_script(targets, sources)]
    found = {"same_family": matrices[0].matrix, "same_script": matrices[1].matrix}
    like = found["same_family"]
    kind = {code: writing_system(code) for code in {*like.index, *like.columns}}
    order = {code: uriel.vectors([code], ["syntax"])[list(ORDERS)].iloc[0] for code in uriel.available(list(kind))}
    found["same_writing_system"] = _matrix(like, lambda t, s: float(kind[t] == kind[s]))
    found["word_order"] = _matrix(
        like, lambda t, s: 1 - float(abs(order[t] - order[s]).mean()) if {t, s} <= order.keys() else np.nan
    )
    return found


def writing_system(code: str) -> str:
    """alphabet, abjad, abugida, logography or mixed, by the default script of a language."""
    script = languages.get(code).script
    return next(kind for kind, scripts in WRITING_SYSTEMS.items() if script in scripts.split())


def regress(gold: pd.DataFrame, features: Mapping[str, pd.DataFrame], method: Method = "ols") -> Regression:
    """Regress transfer scores on features of pairs of languages.

    Args:
        gold: (T, S) scores, mean over seeds; a language with itself is no observation.
        features: name -> matrix with (at least) the targets and sources of `gold`.

    Raises:
        UsageError: an unknown method, no features, languages that a feature lacks, fewer than three targets, too few
            pairs for the coefficients, features that are all constant.
    """
    if method not in METHODS:
        raise UsageError(f"no method {method!r}; choose {', '.join(METHODS)}")
    table, dropped = observations(gold, features)
    names = list(features)
    seen = table["target"].unique()
    if len(seen) < 3 or len(table) < len(names) + 3:
        raise UsageError(
            f"{len(table)} pairs of {len(seen)} targets are too few for {len(names)} features; give more languages"
        )
    if (np.ptp(table[names].to_numpy(), axis=0) == 0).all():
        raise UsageError(f"every feature is constant ({', '.join(names)}), and explains nothing; give others")
    said: list[str] = []
    whole = _fit(table, names, method, "all targets", said)
    inside = whole.predict(table)
    outside, converged = pd.Series(np.nan, table.index), whole.converged
    for target in seen:
        unseen = table["target"] == target
        part = _fit(table[~unseen], names, method, f"without {target}", said)
        outside[unseen] = part.predict(table[unseen])
        converged = converged and part.converged
    step = table["score"].std(ddof=0) * 10.0**-_DIGITS or 1.0
    frames = [_spread(gold, table, np.round(one / step) * step) for one in (inside, outside)]
    return Regression(
        method,
        tuple(names),
        whole.coefficients(names),
        *(float(np.sqrt(((table["score"] - one) ** 2).mean(skipna=False))) for one in (inside, outside)),
        *frames,
        *(_ranked(gold, one) for one in frames),
        warnings=tuple(said),
        converged=converged,
        pairs=len(table),
        dropped=dropped,
    )


def observations(gold: pd.DataFrame, features: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row a pair with all values (target, source, score, one column a feature), and the pairs without.

    Raises:
        UsageError: no features, or languages that a feature lacks.
    """
    if not features:
        raise UsageError("no features to regress on; give at least one matrix")
    columns = {"score": gold}
    for name, matrix in features.items():
        lost = [*gold.index.difference(matrix.index), *gold.columns.difference(matrix.columns)]
        if lost:
            raise UsageError(f"the feature {name!r} lacks {', '.join(dict.fromkeys(map(str, lost)))}")
        columns[name] = matrix.loc[gold.index, gold.columns]
    pairs = [(t, s) for t in gold.index for s in gold.columns if t != s]
    table = pd.DataFrame(pairs, columns=["target", "source"])
    for name, matrix in columns.items():
        table[name] = [float(matrix.at[t, s]) for t, s in pairs]
    empty = table[list(columns)].isna()
    dropped = table.loc[empty.any(axis=1), ["target", "source"]]
    missing = [", ".join(np.array(list(columns))[row]) for row in empty.to_numpy() if row.any()]
    return table[~empty.any(axis=1)].reset_index(drop=True), dropped.assign(missing=missing).reset_index(drop=True)


@dataclass(frozen=True)
class _Fit:
    """Fixed effects of the centred features turned onto independent directions, and the random intercepts."""

    names: list[str]
    mean: np.ndarray  # (F,)
    turn: np.ndarray  # (F, rank)
    fixed: np.ndarray  # (1 + rank,)
    intercepts: dict[str, dict[str, float]]  # "target", "source" -> language -> random intercept
    converged: bool

    def predict(self, table: pd.DataFrame) -> pd.Series:
        found = self.fixed[0] + (table[self.names].to_numpy() - self.mean) @ self.turn @ self.fixed[1:]
        for role, of in self.intercepts.items():
            found = found + table[role].map(of).fillna(0.0).to_numpy()
        return pd.Series(found, table.index)

    def coefficients(self, names: list[str]) -> pd.Series:
        slopes = self.turn @ self.fixed[1:]
        return pd.Series([self.fixed[0] - self.mean @ slopes, *slopes], ["intercept", *names], name="coefficient")


def _fit(table: pd.DataFrame, names: list[str], method: Method, where: str, said: list[str]) -> _Fit:
    """Constant or dependent features make a design singular: the fit is on the directions that are there."""
    x = table[names].to_numpy()
    mean = x.mean(0)
    _, sizes, directions = np.linalg.svd(x - mean, full_matrices=False)
    scale = np.abs(x).max() * np.sqrt(x.size)
    rank = int((sizes > 1e-10 * max(scale, 1e-300)).sum())
    turn = directions[:rank].T / sizes[:rank] * np.sqrt(len(x))
    design = np.column_stack([np.ones(len(x)), (x - mean) @ turn])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fixed, intercepts, converged = _FITS[method](table, design)
        except (np.linalg.LinAlgError, ValueError) as error:
            said.append(f"{where}: not fitted: {error}")
            fixed, intercepts, converged = np.full(1 + rank, np.nan), {}, False
    said += dict.fromkeys(f"{where}: {' '.join(str(one.message).split())}" for one in caught)
    return _Fit(names, mean, turn, fixed, intercepts, converged)


def _ols(table: pd.DataFrame, design: np.ndarray) -> tuple[np.ndarray, dict, bool]:
    return np.asarray(sm.OLS(table["score"].to_numpy(), design).fit().params), {}, True


def _mixed(table: pd.DataFrame, design: np.ndarray) -> tuple[np.ndarray, dict, bool]:
    fit = MixedLM(table["score"].to_numpy(), design, groups=table["target"].to_numpy()).fit()
    of = {target: float(np.asarray(effect)[0]) for target, effect in fit.random_effects.items()}
    return np.asarray(fit.fe_params), {"target": of}, bool(fit.converged)


def _crossed(table: pd.DataFrame, design: np.ndarray) -> tuple[np.ndarray, dict, bool]:
    data = table[["score", "target", "source"]].assign(all=0)
    columns = [f"x{i}" for i in range(design.shape[1])]
    data[columns] = design
    components = {role: f"0 + C({role})" for role in ("target", "source")}
    formula = f"score ~ 0 + {' + '.join(columns)}"
    fit = MixedLM.from_formula(formula, data, groups="all", re_formula="0", vc_formula=components).fit()
    effects = fit.random_effects[0]
    intercepts = {
        role: {code: float(effects[f"{role}[C({role})[{code}]]"]) for code in table[role].unique()}
        for role in components
    }
    return np.asarray(fit.fe_params), intercepts, bool(fit.converged)


_FITS = {"ols": _ols, "mixed": _mixed, "crossed": _crossed}


def _matrix(like: pd.DataFrame, value) -> pd.DataFrame:
    return pd.DataFrame([[value(t, s) for s in like.columns] for t in like.index], like.index, like.columns)


def _spread(gold: pd.DataFrame, table: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    """One value a pair as a matrix."""
    found = pd.DataFrame(np.nan, gold.index, gold.columns)
    for t, s, value in zip(table["target"], table["source"], values, strict=True):
        found.at[t, s] = value
    return found


def _ranked(gold: pd.DataFrame, predicted: pd.DataFrame) -> Ranking | None:
    try:
        return rank(gold, predicted)
    except UsageError:  # constant, or a fit that failed: nothing is ranked
        return None
