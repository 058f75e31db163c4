"""Similarities of languages from their Fisher vectors: MSE (Eq. 4), KL (Eq. 5), Overlap (Eq. 6) and Jaccard.

All pairs come from one streaming pass (`langsim.allpairs`). In every matrix the row is the target and the column the
auxiliary. The threshold of a mask is taken over a *scope* of parameters and only the *kept* ones among them are
compared: the active ones then differ in number from language to language, which makes Overlap asymmetric (Figure 5).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from langsim.allpairs import Member, PairSums, Recipe, direct, pair_sums
from langsim.centring import centre
from langsim.errors import Failure, LangsimError, UsageError
from langsim.layout import Layout, Span, pieces, spans
from langsim.paths import atomic_write
from langsim.thresholds import Cut, top_share

MEASURES = ("mse", "kl", "overlap", "jaccard")
LARGER_IS_SIMILAR = {"mse": False, "kl": False, "overlap": True, "jaccard": True}
VARIANTS = ("raw", "centred", "normalised", "normalised_centred")

# A Gram product loses as many digits as the result is smaller than its parts; below this they are too few.
_CANCELLED = 1e-5
_LARGEST_LOG = 110.0  # |log| of any float32 Fisher value


@dataclass(frozen=True)
class Similarities:
    """Matrices of similarity or distance, index = target, columns = auxiliary.

    Attributes:
        raw: measure to matrix.
        normalised: the same with each Fisher vector divided by its sum over the compared parameters; for `mse` and
            `kl`, which otherwise follow the total Fisher mass of a language. Empty for `authors_code`.
        chance: expected Overlap and Jaccard of random masks of the same sizes (NaN on the diagonal unless `cross`).
        languages: one row a vector: role, active (mask entries among the compared), share (of the compared),
            threshold, mass (sum of the compared Fisher values), zeros.
        parameters: how many are compared. k: the share kept over the scope. cross: rows and columns are different
            vectors, so that the diagonal is a measurement.
    """

    raw: dict[str, pd.DataFrame]
    normalised: dict[str, pd.DataFrame]
    chance: dict[str, pd.DataFrame]
    languages: pd.DataFrame
    parameters: int
    k: float
    recipe: Recipe
    cross: bool
    signature: str = ""
    larger_is_similar: dict[str, bool] = field(default_factory=lambda: dict(LARGER_IS_SIMILAR))

    def matrix(self, measure: str, variant: str = "raw") -> pd.DataFrame:
        """One matrix. Variants: raw, centred (row and column effects removed off the diagonal), normalised (each
        Fisher vector divided by its sum; `mse` and `kl` only), normalised_centred.

        Raises:
            UsageError: a measure or variant that isn't here; centring fewer than three languages.
        """
        if variant not in VARIANTS:
            raise UsageError(f"no variant {variant!r}; choose from {', '.join(VARIANTS)}")
        source = self.normalised if variant.startswith("normalised") else self.raw
        if measure not in source:
            known = ", ".join(source) or "nothing here"
            raise UsageError(f"no {variant} {measure!r}; choose from {known}")
        matrix = source[measure]
        return centre(matrix, cross=self.cross).residuals if variant.endswith("centred") else matrix

    def centred(self, measure: str) -> pd.DataFrame:
        """The raw matrix without additive row and column effects."""
        return self.matrix(measure, "centred")

    def chance_line(self, measure: str) -> float:
        """The chance level to draw beside a measure: the mean of `chance` over all pairs (NaN for distances)."""
        if measure not in self.chance:
            return float("nan")
        return float(np.nanmean(self.chance[measure].to_numpy()))

    def to_csv(self, folder: Path | str) -> list[Path]:
        """Write every matrix as `<measure>.<variant>.csv` (full precision), `chance.<measure>.csv`, `languages.csv`
        and `signature.txt`; returns the paths."""
        folder = Path(folder)
        tables = {f"chance.{measure}": table for measure, table in self.chance.items()}
        tables["languages"] = self.languages
        for measure in self.raw:
            for variant in VARIANTS:
                if variant.startswith("normalised") and measure not in self.normalised:
                    continue
                if variant.endswith("centred") and min(self.raw[measure].shape) < 3:
                    continue  # nothing to centre on
                tables[f"{measure}.{variant}"] = self.matrix(measure, variant)
        written = []
        for name, table in tables.items():
            with atomic_write(folder / f"{name}.csv") as temporary:
                table.to_csv(temporary)
            written.append(folder / f"{name}.csv")
        with atomic_write(folder / "signature.txt") as temporary:
            temporary.write_text(self.signature + "\n", encoding="utf-8")
        return [*written, folder / "signature.txt"]


def similarities(
    vectors: Mapping[str, Any],
    columns: Mapping[str, Any] | None = None,
    *,
    measures: Sequence[str] = MEASURES,
    k: float = 0.4,
    scope: Sequence[str] | None = None,
    keep: Sequence[str] | None = None,
    recipe: Recipe = "paper",
    signature: str = "",
    progress: bool = False,
) -> Similarities:
    """All pairs in one streaming pass; memory is languages x tile.

    - `mse`  (Eq. 4): mean over the kept parameters of (F_t - F_a)^2.
    - `kl`   (Eq. 5): |sum F_a log(F_a / F_t)|, not normalised. 0 log 0 = 0; where F_t = 0 < F_a, F_t counts as 1e-16.
    - `overlap` (Eq. 6): |M_t and M_a| / |M_t|.  `jaccard`: |M_t and M_a| / |M_t or M_a|.

    `recipe="authors_code"`: sums of squares, log(F + 1e-16), KL and Overlap rounded to 5 decimals, masks
    F >= percentile.

    Args:
        vectors: language to a Fisher vector: anything with `.values` (P,) and `.layout`, or a bare array. The rows,
            and without `columns` also the columns.
        columns: the auxiliaries' vectors where they differ (another corpus, the other half of the text).
        k: the share of the scope that a mask keeps.
        scope: names of the parameters over which the threshold is taken (default: all).
        keep: names of the parameters that are compared (default: the scope).

    Raises:
        UsageError: fewer than two languages, different layouts, unknown parameters or measures, a `keep` outside the
            scope, a language without an active entry among the kept.
        Failure: a negative, NaN or infinite Fisher value.
    """
    _known(measures)
    rows, layout = _members(vectors, columns)
    scope_spans = spans(layout, scope)
    kept = spans(layout, scope if keep is None else keep)
    _inside(kept, scope_spans)
    masks = bool({"overlap", "jaccard"} & set(measures))
    members = [_with_cut(member, scope_spans, k, recipe) if masks else member for member in rows]
    sums = pair_sums(
        members,
        kept,
        gram=bool({"mse", "kl"} & set(measures)),
        logarithms="kl" in measures,
        masks=masks,
        recipe=recipe,
        progress=progress,
    )
    _usable(members, sums)
    row_slice = slice(0, len(vectors))
    column_slice = slice(0, len(vectors)) if columns is None else slice(len(vectors), None)
    raw, normalised = _matrices(members, kept, sums, measures, recipe, row_slice, column_slice)
    labels = [member.label for member in members]
    index = pd.Index(labels[row_slice], name="target")
    header = pd.Index(labels[column_slice], name="auxiliary")

    def framed(table: dict[str, np.ndarray]) -> dict[str, pd.DataFrame]:
        return {name: pd.DataFrame(values, index, header) for name, values in table.items()}

    chance = _chance(sums, row_slice, column_slice) if masks else {}
    if columns is None:
        for values in chance.values():
            np.fill_diagonal(values, np.nan)
    return Similarities(
        raw=framed(raw),
        normalised=framed(normalised),
        chance={name: table for name, table in framed(chance).items() if name in measures},
        languages=_facts(members, sums, len(vectors), columns is not None),
        parameters=sums.size,
        k=k,
        recipe=recipe,
        cross=columns is not None,
        signature=signature,
    )


def _known(measures: Sequence[str]) -> None:
    for measure in measures:
        if measure not in MEASURES:
            raise UsageError(f"no measure {measure!r}; choose from {', '.join(MEASURES)}")
    if not measures:
        raise UsageError(f"no measure asked for; choose from {', '.join(MEASURES)}")


def _members(vectors: Mapping[str, Any], columns: Mapping[str, Any] | None) -> tuple[list[Member], Layout]:
    """The vectors of rows, then of columns, with the layout they share."""
    if len(vectors) < 2 and columns is None:
        raise UsageError(f"{len(vectors)} language has no pair to compare; give at least two")
    if not vectors or (columns is not None and not columns):
        raise UsageError("no language to compare; give at least one for rows and columns")
    members: list[Member] = []
    first: Layout | None = None
    for label, vector in [*vectors.items(), *(columns or {}).items()]:
        values = np.asarray(getattr(vector, "values", vector))
        if values.ndim != 1 or values.dtype not in (np.float32, np.float64):
            raise UsageError(f"the Fisher vector of {label!r} is {values.ndim}-D {values.dtype}, not 1-D float32")
        layout = [(name, tuple(shape), offset) for name, shape, offset in getattr(vector, "layout", [])]
        layout = layout or [("", (values.size,), 0)]
        first = layout if first is None else first
        if layout != first or (members and values.size != members[0].values.size):
            raise UsageError(
                f"the Fisher vectors of {label!r} and {members[0].label!r} have different layouts; "
                "estimate both with the same model and selection"
            )
        members.append(Member(label, values, None, vector))
    assert first is not None
    return members, first


def _inside(kept: Sequence[Span], scope: Sequence[Span]) -> None:
    for start, stop in kept:
        if not any(left <= start and stop <= right for left, right in scope):
            raise UsageError("the kept parameters must lie in the scope of the threshold; widen the scope")


def _with_cut(member: Member, scope: Sequence[Span], k: float, recipe: Recipe) -> Member:
    """The member with its cut, whose tie index is turned from a position in the scope into one in the vector."""

    def walk():
        for start, stop in pieces(scope, 1 << 22):
            yield member.values[start:stop]
            member.release()

    try:
        cut = top_share(walk, k, recipe)
    except LangsimError as error:
        raise type(error)(f"{member.label}: {error}") from error
    position = cut.last_tie
    for start, stop in scope:
        if position < stop - start:
            return replace(member, cut=replace(cut, last_tie=start + position if position >= 0 else -1))
        position -= stop - start
    raise AssertionError("a tie beyond the scope")


def _usable(members: Sequence[Member], sums: PairSums) -> None:
    for number, member in enumerate(members):
        if sums.mass[number] == 0:
            raise Failure(f"the Fisher vector of {member.label!r} is zero where it is compared; estimate it again")
        if sums.both is not None and sums.both[number, number] == 0:
            raise UsageError(f"{member.label!r} has no active entry among the kept parameters; raise K or keep more")


def _matrices(
    members: list[Member],
    kept: Sequence[Span],
    sums: PairSums,
    measures: Sequence[str],
    recipe: Recipe,
    rows: slice,
    columns: slice,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    raw: dict[str, np.ndarray] = {}
    normalised: dict[str, np.ndarray] = {}
    if {"mse", "kl"} & set(measures):
        tables = _distances(sums, rows, columns)
        _repair(tables, members, kept, sums, rows, columns, recipe)
        if "mse" in measures:
            scale = sums.size if recipe == "paper" else 1  # the authors add, and do not divide
            raw["mse"], normalised["mse"] = tables["squares"] / scale, tables["normalised_squares"] / scale
        if "kl" in measures:
            raw["kl"], normalised["kl"] = np.abs(tables["kl"]), np.abs(tables["normalised_kl"])
    if sums.both is not None:
        both = sums.both[rows, columns].astype(float)
        sizes = np.diag(sums.both).astype(float)
        if "overlap" in measures:
            raw["overlap"] = both / sizes[rows, None]
        if "jaccard" in measures:
            raw["jaccard"] = both / (sizes[rows, None] + sizes[None, columns] - both)
    if recipe == "authors_code":
        for name in {"kl", "overlap"} & set(raw):
            raw[name] = raw[name].round(5)
        normalised = {}  # their FIMs are not normalised, and log(F + 1e-16) can't be rescaled afterwards
    return {name: raw[name] for name in MEASURES if name in raw}, normalised


def _distances(sums: PairSums, rows: slice, columns: slice) -> dict[str, np.ndarray]:
    """Squared differences and F_a log(F_a / F_t), raw and with each F divided by its sum, from the products."""
    mass_t, mass_a = sums.mass[rows, None], sums.mass[None, columns]
    own = np.diag(sums.gram)
    gram, own_t, own_a = sums.gram[rows, columns], own[rows, None], own[None, columns]
    tables = {
        "squares": own_t + own_a - 2 * gram,
        "normalised_squares": own_t / mass_t**2 + own_a / mass_a**2 - 2 * gram / (mass_t * mass_a),
    }
    if sums.cross is not None:
        tables["kl"] = np.diag(sums.cross)[None, columns] - sums.cross[rows, columns]
        tables["normalised_kl"] = tables["kl"] / mass_a + np.log(mass_t / mass_a)
    return tables


def _repair(
    tables: dict[str, np.ndarray],
    members: list[Member],
    kept: Sequence[Span],
    sums: PairSums,
    rows: slice,
    columns: slice,
    recipe: Recipe,
) -> None:
    """Recompute, term by term, the pairs that are so alike that the products have cancelled."""
    own, mass = np.diag(sums.gram), sums.mass
    first_row, first_column = rows.start, columns.start
    for t, a in np.ndindex(tables["squares"].shape):
        i, j = first_row + t, first_column + a
        if i == j:
            for table in tables.values():
                table[t, a] = 0.0
            continue
        parts = {
            "squares": own[i] + own[j],
            "normalised_squares": own[i] / mass[i] ** 2 + own[j] / mass[j] ** 2,
            "kl": _LARGEST_LOG * mass[j],
            "normalised_kl": _LARGEST_LOG,
        }
        if any(abs(table[t, a]) < _CANCELLED * parts[name] for name, table in tables.items()):
            exact = direct(members[i], members[j], kept, (mass[i], mass[j]), recipe)
            for name, table in tables.items():
                table[t, a] = getattr(exact, name)


def _chance(sums: PairSums, rows: slice, columns: slice) -> dict[str, np.ndarray]:
    """Random masks of these sizes share |M_t| |M_a| / n entries on average; Jaccard as the ratio of expectations."""
    sizes = np.diag(sums.both).astype(float)
    t, a = sizes[rows, None], sizes[None, columns]
    shared = t * a / sums.size
    return {"overlap": shared / t, "jaccard": shared / (t + a - shared)}


def _facts(members: list[Member], sums: PairSums, targets: int, cross: bool) -> pd.DataFrame:
    cuts: list[Cut | None] = [member.cut for member in members]
    roles = ["target"] * targets + ["auxiliary"] * (len(members) - targets) if cross else ["both"] * targets
    active = np.full(len(members), -1) if sums.both is None else np.diag(sums.both)
    table = pd.DataFrame(
        {
            "role": roles,
            "active": active,
            "share": active / sums.size,
            "threshold": [cut.threshold if cut else np.nan for cut in cuts],
            "mass": sums.mass,
            "zeros": sums.zeros,
        },
        index=pd.Index([member.label for member in members], name="language"),
    )
    return table if sums.both is not None else table.drop(columns=["active", "share", "threshold"])
