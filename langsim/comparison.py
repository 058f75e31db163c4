"""Our matrix beside a published one: what is shown, what is tested, and the tables that are saved."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from langsim import agreement, papers, readings, reference
from langsim.agreement import Association
from langsim.centring import centre
from langsim.pipeline import FisherVectors, SimilarityMatrix, load_corpus
from langsim.readings import Prose
from langsim.similarity import LARGER_IS_SIMILAR

PUBLISHED = "published"
OURS = "ours"


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
        name = self.measure.capitalize() if self.larger_is_similar else self.measure.upper()
        return name if self.larger_is_similar else f"− {name}"

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
        """How far the values may move between machines: the two decimals of the paper; one percent of a distance."""
        off = agreement.off_diagonal(self.ours.to_numpy())
        limit = 0.005 if self.larger_is_similar else 0.01 * float(abs(off).max())
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


def languages_table(vectors: FisherVectors, matrix: SimilarityMatrix) -> pd.DataFrame:
    """One row a language: what it is, and what its Fisher vector was estimated from."""
    codes = list(vectors.keys)
    summary = pd.DataFrame(vectors.summary()).set_index("language")
    facts = matrix.all.languages
    lengths = mean_lengths(vectors)
    table = pd.DataFrame(index=codes)
    table["language"] = pd.Series(reference.names(codes))
    table["family"] = pd.Series(reference.families(codes))
    table["script"] = pd.Series(reference.scripts(codes))
    table["pairs"] = summary["pairs"]
    table["characters"] = pd.Series(lengths).round(1)
    table["nats a token"] = summary["nll"].round(2)
    table["Fisher mass"] = (facts["mass"] / facts["mass"].mean()).round(2)
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
        "same family": agreement.same_group(reference.families(codes)),
        "same script": agreement.same_group(reference.scripts(codes)),
        "same items translated": agreement.shared_items({c: set(items) & set(corpus.texts[c]) for c in codes}),
        "alike in length": agreement.like_length(mean_lengths(vectors)),
    }


def follows(
    matrices: Mapping[str, pd.DataFrame | None], predictors: Mapping[str, pd.DataFrame]
) -> dict[tuple[str, str, bool], Association]:
    """(predictor, matrix, centred) -> Spearman's correlation with its permutation p, for every pair of them."""
    return {
        (name, title, centred): agreement.association(matrix, predictor, centred=centred, resamples=0)
        for name, predictor in predictors.items()
        for title, matrix in matrices.items()
        if matrix is not None
        for centred in (False, True)
    }


def follows_table(found: Mapping[tuple[str, str, bool], Association]) -> pd.DataFrame:
    """The same as a table of words: predictors in rows, matrices (raw, centred) in columns."""
    table = pd.DataFrame(index=list(dict.fromkeys(name for name, _, _ in found)))
    for (name, title, centred), one in found.items():
        text = f"{readings.number(one.value)} ({readings.p(one.p_value)})" if one.permutations else "–"
        table.loc[name, f"{title}, {'centred' if centred else 'raw'}"] = text
    return table.fillna("–").rename_axis(columns="similarity and ...")


def rivals(found: Mapping[tuple[str, str, bool], Association]) -> Prose:
    """Which predictor the centred matrices follow most, and whether that is kinship."""
    lines = []
    for title in dict.fromkeys(title for _, title, _ in found):
        centred = {name: one for (name, where, view), one in found.items() if where == title and view}
        known = {name: one for name, one in centred.items() if one.permutations}
        if not known:
            continue
        strongest = max(known, key=lambda name: known[name].value)
        family = known.get("same family")
        value = readings.number(known[strongest].value)
        line = f"{title.capitalize()}, centred, goes most with *{strongest}* ({value})"
        if family and strongest != "same family":
            line += f"; *same family* has {readings.number(family.value)} ({readings.p(family.p_value)})"
        lines.append(f"{line}.")
    return readings.prose(*lines)


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
    """What the printed matrix shows by itself: is similarity higher within families, within scripts?"""
    printed = papers.matrix(table).astype(float)
    codes = list(printed.index)
    rows = {}
    for name, groups in (("family", reference.families(codes)), ("script", reference.scripts(codes))):
        for centred in (False, True):
            found = agreement.contrast(printed, groups, centred=centred, resamples=0)
            rows[f"within one {name}, {'centred' if centred else 'raw'}"] = {
                "difference of means": readings.number(found.value, 3),
                "chance": readings.p(found.p_value),
            }
    return pd.DataFrame.from_dict(rows, orient="index")
