"""Appendix A.3 as a page reads it: data similarity of every language to one target, with the printed numbers, and what
Fisher similarity has to do with it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from langsim import data_similarity, estimation, family_study, papers, readings, results, sentences
from langsim.agreement import DRAWS, FEWEST, OPPOSITE, SAME, UNDECIDED, holm, oriented
from langsim.data_similarity import Items, Sampling
from langsim.families import traditional
from langsim.pipeline import FisherVectors, SimilarityMatrix
from langsim.readings import Prose, number, p
from langsim.similarity import LARGER_IS_SIMILAR

TRADITIONAL = "traditional (LF)"
_FULL = 100  # what a share of one is called here: percent, as in print
TAILS = (0.025, 0.975)


@dataclass(frozen=True)
class Study:
    """Data similarities to one target, in percent.

    Attributes:
        draws: kind of sentence vector to (draws, auxiliaries). nulls: the same by vectors of nothing learnt.
        fisher: (auxiliaries,) the Fisher similarity to the target, larger = more similar.
        families: name to members: this run's pseudo families, the printed ones, the traditional one.
        relatives: the traditional family. picked: the pseudo family by the run's own measure.
        printed: auxiliary to the published number, of those that are compared here.
        translated: sentences of T with a translation in S, on average, as a share; NaN if languages differ in items.
    """

    target: str
    measure: str
    sampling: Sampling
    draws: dict[str, pd.DataFrame]
    fisher: pd.Series
    families: dict[str, tuple[str, ...]]
    relatives: tuple[str, ...]
    picked: tuple[str, ...]
    printed: pd.Series
    sentences: int
    translated: float
    nulls: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def every(self) -> dict[str, pd.DataFrame]:
        """The draws of all kinds of vectors, the nulls last."""
        return {**self.draws, **self.nulls}

    @property
    def auxiliaries(self) -> list[str]:
        return list(self.fisher.index)

    def signature(self, matrix: SimilarityMatrix) -> str:
        """Of everything on the page: the similarities, and how sentences were drawn."""
        own = {"sample": self.sampling.share, "nearest": self.sampling.nearest, "draws": self.sampling.draws}
        return results.signature({**results.parse_signature(matrix.signature_of()), **own, "target": self.target})


def study(vectors: FisherVectors, matrix: SimilarityMatrix, sampling: Sampling) -> Study:
    """Data similarities to the first target, on the text that the Fisher vectors are estimated from.

    Raises:
        UsageError: too few sentences for the sample.
    """
    settings, pairs = matrix.settings, vectors.matched.pairs
    target = settings.targets[0]
    sampling.size(min(map(len, pairs.values())))  # before anything expensive
    how = {"size": settings.batch_size, "threads": settings.threads}
    found, untrained = (
        sentences.vectors(estimation.model_of(settings, seed), pairs, settings.target_language, **how)
        for seed in (None, settings.seed)
    )
    items = Items.numbered(pairs)
    similar = {
        kind: _FULL * data_similarity.draws(of, items, target, sampling, seed=settings.seed)
        for kind, of in {**found, sentences.UNTRAINED: untrained[sentences.ENCODER]}.items()
    }
    nulls = {sentences.UNTRAINED: similar.pop(sentences.UNTRAINED)}
    fisher = oriented(matrix.matrix, LARGER_IS_SIMILAR[settings.measure]).loc[target].drop(target)
    alike = all(np.array_equal(np.sort(own), np.arange(items.count)) for own in items.of.values())
    families = families_of(matrix, target)
    return Study(
        target=target,
        measure=settings.measure,
        sampling=sampling,
        draws=similar,
        fisher=fisher,
        families=families,
        relatives=families.get(TRADITIONAL, ()),
        picked=families[f"{family_study.NAMES[settings.measure]}, ours"],
        printed=printed(target, list(fisher.index)),
        sentences=sampling.size(len(pairs[target])),
        translated=sampling.size(items.count) / items.count if alike else math.nan,
        nulls=nulls,
    )


def families_of(matrix: SimilarityMatrix, target: str) -> dict[str, tuple[str, ...]]:
    """Name to members: ours and the printed ones by the measures of Table 1, and the traditional one."""
    found = {}
    for row in family_study.rows(matrix):
        if row.name in family_study.NAMES.values():
            found[f"{row.name}, ours"] = row.families[target].members
            if target in row.printed:
                found[f"{row.name}, published"] = row.printed[target]
    kin = traditional(target, matrix.settings.languages)
    return {**found, **({TRADITIONAL: kin} if kin else {})}


def printed(target: str, auxiliaries: Sequence[str]) -> pd.Series:
    """auxiliary -> published data similarity in percent; empty where there is none."""
    table = papers.published("pf-a3")
    table = table[(table["target"] == target) & table["auxiliary"].isin(list(auxiliaries))]
    return table.set_index("auxiliary")["value"].astype(float)


def spread(values: pd.Series | np.ndarray) -> tuple[float, float, float]:
    """Mean over draws, and where 95% of the draws lie (NaN for a single draw)."""
    given = np.asarray(values, dtype=float)
    low, high = np.quantile(given, TAILS) if len(given) > 1 else (math.nan, math.nan)
    return float(given.mean()), float(low), float(high)


def told_of(values: pd.Series | np.ndarray, digits: int) -> str:
    """`33.5 (32.0 to 35.1)`."""
    value, low, high = spread(values)
    if math.isnan(low):
        return number(value, digits)
    return f"{number(value, digits)} ({number(low, digits)} to {number(high, digits)})"


def digits_of(values: pd.DataFrame) -> int:
    """Decimals for numbers of this size."""
    return 1 if values.to_numpy().mean() >= 10 else 2


def languages_table(found: Study) -> pd.DataFrame:
    """One row an auxiliary, most similar first by the first kind of vector: published, and ours by every kind."""
    table = pd.DataFrame(index=_order(found))
    if len(found.printed):
        table["published"] = [number(found.printed.get(code, math.nan), 1) for code in table.index]
    for kind, values in found.draws.items():
        table[f"{kind}, %"] = [told_of(values[code], digits_of(values)) for code in table.index]
    table["family"] = [_relation(found, code) for code in table.index]
    mean = {f"{kind}, %": number(values.mean().mean(), digits_of(values)) for kind, values in found.draws.items()}
    table = pd.concat([table, pd.DataFrame(mean, index=["mean of all"])]).fillna("–")
    return table.rename_axis(columns=f"to {found.target} from")


def _order(found: Study) -> list[str]:
    """Auxiliaries, the most similar by the first kind of vector first."""
    return list(next(iter(found.draws.values())).mean().sort_values(ascending=False, kind="stable").index)


def _relation(found: Study, code: str) -> str:
    kin, own = code in found.relatives, code in found.picked
    return {(1, 1): "both", (1, 0): "traditional", (0, 1): "pseudo", (0, 0): "neither"}[kin, own]


def languages_panels(found: Study) -> tuple[dict[str, pd.DataFrame], dict[str, float]]:
    """Title to rows for `charts.dots`, the published numbers first; title to the mean over all auxiliaries."""
    order, panels, lines = _order(found), {}, {}
    relations = {code: f"{_relation(found, code)} family".replace("both family", "both families") for code in order}
    relations = {code: text.replace("neither family", "neither") for code, text in relations.items()}
    for kind, values in found.draws.items():
        rows = []
        for code in order:
            value, low, high = spread(values[code])
            rows.append({"row": code, "series": relations[code], "value": value, "low": low, "high": high})
        panels[kind] = pd.DataFrame(rows)
        lines[kind] = float(values.mean().mean())
    if len(found.printed):
        rows = [
            {"row": code, "series": relations[code], "value": found.printed[code], "low": math.nan, "high": math.nan}
            for code in order
            if code in found.printed
        ]
        panels = {**panels, "published": pd.DataFrame(rows)}
    return panels, lines


def claims_table(found: Study) -> Prose:
    """What the paper says about Persian's text, tested on every kind of vector; cells wrap on a phone, and begin with
    the verdict. A sentence where the paper says nothing."""
    claims = claims_frame(found)
    if claims.empty:
        return readings.prose(
            f"Appendix A.3 prints nothing for {found.target} and these languages: what follows stands for itself."
        )
    return readings.grid(claims)


def claims_frame(found: Study) -> pd.DataFrame:
    """One row a kind of vector, the printed difference first, one column a claim: `**verdict**: difference`."""
    columns = {}
    for name, (above, below, printed_difference) in _claims(found).items():
        columns[name] = {"published, %": number(printed_difference, 1)}
        for kind, values in found.every.items():
            apart = values[list(above)].mean(axis=1) - values[list(below)].mean(axis=1)
            columns[name][f"{kind}, %"] = f"**{_verdict(apart)}**: {told_of(apart, digits_of(values))}"
    return pd.DataFrame(columns).rename_axis(columns="difference")


def _claims(found: Study) -> dict[str, tuple[Sequence[str], Sequence[str], float]]:
    """Words to (who is more similar, than whom, by how much in print; NaN where no number is printed)."""
    values = found.printed
    if not {"ko", "bn", "hi"} <= set(values.index):
        return {}
    others = [code for code in found.auxiliaries if code != "ko"]
    return {
        "hi above ko (A.3)": (["hi"], ["ko"], values["hi"] - values["ko"]),
        "hi above bn (A.3)": (["hi"], ["bn"], values["hi"] - values["bn"]),
        "ko above all others (3.3)": (["ko"], others, math.nan),
    }


def _verdict(apart: pd.Series) -> str:
    """By the sign in 95% of the draws: is a positive difference found again?"""
    _, low, high = spread(apart)
    return SAME if low > 0 else OPPOSITE if high < 0 else UNDECIDED


def korean(found: Study) -> Prose:
    """Is Korean as close to the target as its relatives are? The paper says comparable, and gives no margin."""
    if "ko" not in found.printed or not found.relatives:
        return readings.prose(f"Korean beside the relatives of {found.target}: nothing of the kind is printed.")
    told = []
    for kind, values in found.every.items():
        apart = values["ko"] - values[list(found.relatives)].mean(axis=1)
        place = int(rankdata(-values.mean())[list(values.columns).index("ko")])
        told.append(f"{kind} {told_of(apart, digits_of(values))} points, place {place} of {values.shape[1]}")
    kin = found.printed[[code for code in found.relatives if code in found.printed]].mean()
    return readings.prose(
        f"The paper calls Korean comparable to the relatives {' and '.join(found.relatives)}: in print the difference "
        f"is {number(found.printed['ko'] - kin)} points, with no margin that would make *comparable* a test. Korean "
        f"minus the relatives' mean here: {'; '.join(told)}."
    )


def fisher_follows(found: Study) -> pd.DataFrame:
    """Spearman's correlation over auxiliaries of the Fisher similarity with the data similarity, a row a kind; the
    p-values (auxiliaries exchanged) are Holm's."""
    tests = {kind: _rank_test(found.fisher, values.mean()) for kind, values in found.every.items()}
    chances = holm([chance for _, chance in tests.values()]).tolist()
    rows = {
        kind: {"what": sentences.KINDS[kind], "Spearman": number(value), "chance": p(chance)}
        for (kind, (value, _)), chance in zip(tests.items(), chances, strict=True)
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="sentence vector")


def _rank_test(x: pd.Series, y: pd.Series, seed: int = 0) -> tuple[float, float]:
    """Spearman's correlation and its two-sided p-value over `DRAWS` orders of one side; NaN for too few."""
    a, b = (rankdata(values) - (len(values) + 1) / 2 for values in (x.to_numpy(), y[x.index].to_numpy()))
    size = math.sqrt((a @ a) * (b @ b))
    if len(a) < FEWEST or size == 0:
        return math.nan, math.nan
    orders = np.random.default_rng(seed).permuted(np.tile(b, (DRAWS, 1)), axis=1)
    value = float(a @ b / size)
    return value, float((np.sum(np.abs(orders @ a / size) >= abs(value) - 1e-9) + 1) / (DRAWS + 1))


def sampling_reading(found: Study) -> Prose:
    """What the sampling does to a single number, and what kind of text was sampled."""
    lines = []
    if found.sampling.draws > 1:
        kind, values = next(iter(found.draws.items()))
        ends = [spread(values[code])[1:] for code in values]
        width = float(np.mean([high - low for low, high in ends]))
        lines.append(
            f"One draw of {found.sentences} sentences moves a single number ({kind}) over {number(width, 1)} points "
            f"(95% of the draws); the auxiliaries lie {number(float(np.ptp(values.mean())), 1)} points apart."
        )
    if not math.isnan(found.translated):
        lines.append(
            "All languages have the same items here, so they do not differ in content, as the paper's do; and a "
            f"sentence of T has its own translation in S with a chance of {number(_FULL * found.translated, 0)} %."
        )
    return readings.bullets(*lines)


def elsewhere(here: pd.DataFrame, frames: Mapping[str, pd.DataFrame], profile: str) -> Prose:
    """What was published, this run, and results at other profiles (title to tidy frame) side by side, each kind of
    sentence vector by itself: the languages with a printed number, and the mean of all. Empty without another
    profile."""
    if not frames:
        return Prose("")
    columns = {title: _numbers(frame) for title, frame in {f"`{profile}`": here, **frames}.items()}
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    own = here[here["of"] == "language"].drop_duplicates("name").set_index("name")["published"].dropna()
    printed = {row: number(own.get(row.partition(" ")[0], math.nan), 1) for row in rows}
    table = pd.DataFrame({"published": printed, **columns}).reindex(rows).fillna("–")
    return readings.grid(table.rename_axis(columns="similarity, %"))


def _numbers(frame: pd.DataFrame) -> dict[str, str]:
    """Row to number of one result, with where 95% of the draws lie."""
    languages = frame[frame["of"] == "language"]
    rows = {}
    for kind, part in languages.groupby("vectors", sort=False):
        digits = digits_of(part[["similarity"]])
        for row in part[part["published"].notna()].itertuples():
            ends = f" ({number(row.low, digits)} to {number(row.high, digits)})" if math.isfinite(row.low) else ""
            rows[f"{row.name} ({kind})"] = f"{number(row.similarity, digits)}{ends}"
        rows[f"mean of all ({kind})"] = number(float(part["similarity"].mean()), digits)
    return rows
