"""Our matrix beside a published one: what is shown, what is tested, and the tables that are saved."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from langsim import agreement, papers, readings, reference
from langsim.agreement import Association
from langsim.centring import centre
from langsim.errors import UsageError
from langsim.partial import partial
from langsim.pipeline import FisherVectors, SimilarityMatrix, load_corpus
from langsim.profiles import Settings
from langsim.readings import Prose
from langsim.similarity import LARGER_IS_SIMILAR

PUBLISHED = "published"
OURS = "ours"
FAMILY, SCRIPT = "same family", "same script"
HELD = "same family, script held fixed"
FEWEST = 3  # languages: row and column effects of two can't be told apart


def refuse_few(settings: Settings) -> None:
    """To be called before anything expensive.

    Raises:
        UsageError: fewer than `FEWEST` languages.
    """
    if len(settings.languages) < FEWEST:
        raise UsageError(
            f"languages: this page centres matrices, which takes at least {FEWEST} languages, not "
            f"{len(settings.languages)} ({' '.join(settings.languages)}); add one"
        )


def axis_label(measure: str) -> str:
    """What values with larger = more similar are: `Overlap`, `− KL`."""
    return measure.capitalize() if LARGER_IS_SIMILAR[measure] else f"− {measure.upper()}"


@dataclass(frozen=True)
class Comparison:
    """Ours and the published matrix on the languages they share; `published` is None where that is too few.

    Attributes:
        ours, published: (L, L), row = target, column = auxiliary, larger = more similar.
        families: language to family, ordered by family.
        source: what the published matrix is called.
        measure: of ours. larger_is_similar: of our measure, before distances changed their sign.
        chance: the chance level of our measure, NaN for a distance.
    """

    ours: pd.DataFrame
    published: pd.DataFrame | None
    families: dict[str, str]
    source: str
    measure: str
    larger_is_similar: bool
    chance: float
    signature: str

    @property
    def label(self) -> str:
        """What our values are, for an axis."""
        return axis_label(self.measure)

    def shown(
        self, *, centred: bool = False, codes: list[str] | None = None, source: str = ""
    ) -> dict[str, pd.DataFrame]:
        """Title to matrix, published first: the panels of a heat map. Centred on all languages, then cut to `codes`;
        `source` names a part of the published matrix that has a name of its own."""
        panels = {f"Published ({source or self.source})": self.published, "Ours": self.ours}
        found = {}
        for title, matrix in panels.items():
            if matrix is not None:
                matrix = centre(matrix).residuals if centred else matrix
                kept = [code for code in codes or matrix.index if code in matrix.index]
                if len(kept) > 1:
                    found[title] = matrix.loc[kept, kept]
        return found

    def association(self, *, centred: bool) -> Association | None:
        """Spearman's correlation of ours with the published matrix."""
        if self.published is None:
            return None
        return agreement.association(self.published, self.ours, centred=centred)

    def points(self, raw: Association | None, centred: Association | None) -> dict:
        """Title to (published, ours, note): the panels of a scatter plot."""
        if self.published is None or raw is None or centred is None:
            return {}
        ours = self.ours.loc[self.published.index, self.published.index]
        return {
            "Raw": (self.published, ours, f"Spearman {readings.number(raw.value)}"),
            "Centred": (
                centre(self.published).residuals,
                centre(ours).residuals,
                f"Spearman {readings.number(centred.value)}",
            ),
        }

    def reading(self, raw: Association | None, centred: Association | None) -> Prose:
        """What the correlation says, or why there is none."""
        if raw is None or centred is None:
            return readings.prose(
                f"Fewer than {agreement.FEWEST} of these languages are in {self.source}, so there is nothing to "
                "compare with: the matrix stands for itself."
            )
        return readings.agreement(raw, centred, self.source)

    def frame(self, codes: list[str] | None = None) -> pd.DataFrame:
        """The tidy result: target, auxiliary, measure, value, centred, published, published_centred."""
        columns = {"value": self.ours, "centred": centre(self.ours).residuals}
        if self.published is not None:
            columns |= {PUBLISHED: self.published, "published_centred": centre(self.published).residuals}
        kept = codes or list(self.families)
        rows = []
        for target in kept:
            for auxiliary in kept:
                row = {"target": target, "auxiliary": auxiliary, "measure": self.measure}
                for name, matrix in columns.items():
                    there = target in matrix.index and auxiliary in matrix.index
                    row[name] = float(matrix.loc[target, auxiliary]) if there else float("nan")
                rows.append(row)
        return pd.DataFrame(rows)

    @property
    def tolerances(self) -> dict[str, float]:
        """How far the values may move between machines: two percent of what lies between the least and the most
        similar pair. (Rounding moves a few mask entries over the threshold; a change that can be seen is an error.)"""
        limit = 0.02 * float(np.ptp(agreement.off_diagonal(self.ours.to_numpy())))
        return {"value": limit, "centred": limit}


def with_published(matrix: SimilarityMatrix, table: str = "pf-fig5", source: str = "Figure 5") -> Comparison:
    """Set a similarity matrix beside a published one; a distance changes its sign."""
    measure = matrix.settings.measure
    larger = LARGER_IS_SIMILAR[measure]
    ours = agreement.oriented(matrix.matrix, larger)
    printed = papers.matrix(table).astype(float)
    shared = [code for code in ours.index if code in printed.index]
    return Comparison(
        ours=ours,
        published=printed.loc[shared, shared] if len(shared) >= agreement.FEWEST else None,
        families=reference.families(list(ours.index)),
        source=source,
        measure=measure,
        larger_is_similar=larger,
        chance=matrix.all.chance_line(measure),
        signature=matrix.signature,
    )


def languages_table(
    vectors: FisherVectors, matrix: SimilarityMatrix, shuffled: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """One row a language: what it is, and what its Fisher vector was estimated from.

    Args:
        shuffled: language to nats a token where sources are exchanged within the language, if that was measured.
    """
    codes = list(vectors.keys)
    summary = pd.DataFrame(vectors.summary()).set_index("language")
    facts = matrix.all.languages
    lengths = mean_lengths(vectors)
    table = pd.DataFrame(index=codes)
    table["language"] = pd.Series(reference.names(codes))
    table["family"] = pd.Series(reference.families(codes))
    table["script"] = pd.Series(reference.scripts(codes))
    table["pairs"] = summary["pairs"]
    table["units"] = pd.Series({code: len({p.unit for p in pairs}) for code, pairs in vectors.matched.pairs.items()})
    table["length"] = pd.Series(lengths).round(1)
    table["nats"] = summary["nll"].round(2)
    if shuffled is not None:
        table["shuffled"] = pd.Series(dict(shuffled)).round(2)
    table["mass"] = (facts["mass"] / facts["mass"].mean()).round(2)
    table["mask"] = facts["share"].round(3)
    return table


def mean_lengths(vectors: FisherVectors) -> dict[str, float]:
    """language -> mean characters of an item."""
    return {
        code: sum(len(pair.source_text) for pair in pairs) / len(pairs) for code, pairs in vectors.matched.pairs.items()
    }


def predictors(vectors: FisherVectors) -> dict[str, pd.DataFrame]:
    """What similarities might follow instead of, or beside, kinship: (L, L) each, larger = more alike."""
    settings = vectors.settings
    codes = list(vectors.keys)
    corpus = load_corpus(settings)
    items = corpus.select(domain=settings.domain, pool=settings.pool)
    return {
        FAMILY: agreement.same_group(reference.families(codes)),
        SCRIPT: agreement.same_group(reference.scripts(codes)),
        "same items translated": agreement.shared_items({c: set(items) & set(corpus.texts[c]) for c in codes}),
        "alike in length": agreement.like_length(mean_lengths(vectors)),
    }


def follows(
    matrices: Mapping[str, pd.DataFrame | None], predictors: Mapping[str, pd.DataFrame]
) -> dict[tuple[str, str, bool], Association]:
    """(predictor, matrix, centred) -> Spearman's correlation with its permutation p, for every pair of them. Each
    predictor stands alone, nothing else held fixed; only kinship comes a second time with script held fixed."""
    given = {title: matrix for title, matrix in matrices.items() if matrix is not None}
    found = {}
    for name, predictor in predictors.items():
        for title, matrix in given.items():
            for centred in (False, True):
                one = agreement.association(matrix, predictor, centred=centred, resamples=0)
                found[name, title, centred] = one
        if name == FAMILY and SCRIPT in predictors:
            for title, matrix in given.items():
                for centred in (False, True):
                    one = partial(matrix, predictor, predictors[SCRIPT], centred=centred, resamples=0)
                    found[HELD, title, centred] = one
    return found


def follows_table(found: Mapping[tuple[str, str, bool], Association]) -> pd.DataFrame:
    """The same as a table of words: predictors in rows, matrices (raw, centred) in columns. Holm's p-values, over all
    tests of the table."""
    table = pd.DataFrame(index=list(dict.fromkeys(name for name, _, _ in found)))
    chances = adjusted(found)
    for (name, title, centred), one in found.items():
        text = f"{readings.number(one.value)} ({readings.p(chances[name, title, centred])})"
        table.loc[name, f"{title}, {'centred' if centred else 'raw'}"] = text if one.permutations else "–"
    return table.fillna("–").rename_axis(columns="similarity and ...")


def adjusted(found: Mapping[Any, Association]) -> dict[Any, float]:
    """Each test's p-value after Holm's correction for all of them; NaN where nothing was tested."""
    return dict(zip(found, agreement.holm([one.p_value for one in found.values()]).tolist(), strict=True))


def rivals(found: Mapping[tuple[str, str, bool], Association]) -> Prose:
    """Which predictors the centred matrices measurably go with. Not which most: the predictors are of different
    kinds, and no test compares them."""
    lines = []
    chances = adjusted(found)
    for title in dict.fromkeys(title for _, title, _ in found):
        centred = {name: (name, where, view) for name, where, view in found if where == title and view}
        tested = {name: key for name, key in centred.items() if found[key].permutations}
        if not tested:
            continue
        related = {name: key for name, key in tested.items() if chances[key] < agreement.LEVEL}
        told = [
            f"*{n}* ({readings.number(found[key].value)}, {readings.p(chances[key])})" for n, key in related.items()
        ]
        others = [f"*{name}*" for name in tested if name not in related]
        line = f"{title.capitalize()}, centred, "
        line += f"is measurably related to {_listed(told)}" if told else "is not measurably related"
        line += f"{', not' if told else ''} to {_listed(others, 'or')}" if others else ""
        lines.append(f"{line}.")
    if lines:
        lines.append(
            "Related means after Holm's correction, nothing else held fixed but where it says so; how strongly is not "
            "compared between predictors."
        )
    return readings.prose(*lines)


def _listed(words: list[str], last: str = "and") -> str:
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def nearest_reading(comparison: Comparison, codes: list[str]) -> Prose:
    """The closest pair among some languages, and how often a language's nearest neighbour is a relative."""
    lines = []
    families = comparison.families
    for title, matrix in comparison.shown(centred=True).items():
        inside = [code for code in codes if code in matrix.index]
        if len(inside) < 2:
            continue
        # Both directions of a pair count alike.
        both = (matrix + matrix.T).loc[inside, inside].stack()
        target, auxiliary = both.idxmax()
        kin = [code for code in matrix.index if list(families[c] for c in matrix.index).count(families[code]) > 1]
        hits = sum(families[matrix.loc[code].idxmax()] == families[code] for code in kin)
        expected = sum(
            (sum(families[c] == families[code] for c in matrix.index) - 1) / (len(matrix) - 1) for code in kin
        )
        line = f"{title}, centred: the closest pair of {' '.join(inside)} is {target} and {auxiliary}"
        if kin:
            line += (
                f"; of the {len(kin)} languages with a relative here, {hits} have one as their nearest neighbour "
                f"(a neighbour drawn at random would be one for {readings.number(expected, 1)})"
            )
        lines.append(f"{line}.")
    return readings.bullets(*lines)


def published_facts(table: str = "pf-fig5") -> pd.DataFrame:
    """What the printed matrix shows by itself: is similarity higher within families, within scripts? Holm's p-values,
    over the four tests."""
    printed = papers.matrix(table).astype(float)
    codes = list(printed.index)
    found = {
        f"within one {name}, {'centred' if centred else 'raw'}": agreement.contrast(
            printed, groups, centred=centred, resamples=0
        )
        for name, groups in (("family", reference.families(codes)), ("script", reference.scripts(codes)))
        for centred in (False, True)
    }
    chances = adjusted(found)
    rows = {
        name: {"difference of means": readings.number(one.value, 3), "chance": readings.p(chances[name])}
        for name, one in found.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")
