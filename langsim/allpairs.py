"""The sums behind every similarity of every pair, from one pass over the Fisher vectors.

Each vector is cut into tiles; a tile of all languages is read once and everything that any pair needs is a matrix
product of it with itself: F F' (squared differences), log F F' (Kullback-Leibler), and bit counts of packed masks
(Overlap, Jaccard). Memory is languages x tile, whatever the size of the model. Sums are float64.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from langsim.errors import Failure
from langsim.layout import Span, covered, pieces
from langsim.thresholds import Cut

Recipe = Literal["paper", "authors_code"]

EPS = 1e-16  # the authors' constant, in Fisher units
_ROW = 512  # elements of a tile's row: products this small take the BLAS library's quick path for tall matrices
_TILE = 1 << 18  # languages x elements handled together (4 MiB with the logarithms)
_RELEASE = 1 << 25  # give mapped pages back after reading so many elements of all vectors together (128 MiB)


@dataclass(frozen=True)
class Member:
    """One vector of the pass: its label, its values (P,), and the cut of its mask (indices are positions in P)."""

    label: str
    values: np.ndarray
    cut: Cut | None
    owner: Any = None  # whatever holds the memory map; asked to release pages if it can

    def release(self) -> None:
        if hasattr(self.owner, "release"):
            self.owner.release()


@dataclass
class PairSums:
    """Sums over the compared parameters, for V vectors. What was not asked for is None.

    Attributes:
        gram: (V, V) sum_i F_t F_a.
        cross: (V, V) sum_i F_a log F_t, row = t.
        both: (V, V) int64 |M_t and M_a|, the diagonal is |M|.
        mass: (V,) sum_i F. zeros: (V,) entries that are zero. size: compared parameters.
    """

    gram: np.ndarray | None
    cross: np.ndarray | None
    both: np.ndarray | None
    mass: np.ndarray
    zeros: np.ndarray
    size: int


@dataclass(frozen=True)
class _Plan:
    """What a tile has to yield. `desk` keeps each thread's buffer: fresh memory for every tile costs as much as the
    work on it."""

    gram: bool
    logarithms: bool
    masks: bool
    recipe: Recipe
    desk: threading.local


def pair_sums(
    members: Sequence[Member],
    parts: Sequence[Span],
    *,
    gram: bool = True,
    logarithms: bool = True,
    masks: bool = True,
    recipe: Recipe = "paper",
    progress: bool = False,
) -> PairSums:
    """All sums of all pairs over the spans `parts`, in one pass. `logarithms` needs `gram`.

    Runs on one thread, or on as many as an enclosing `joblib.parallel_config(n_jobs=...)` allows; tiles are added in
    order, so the result does not depend on it.

    Raises:
        Failure: a negative, NaN or infinite entry, with the label of its vector.
    """
    count = len(members)
    tile = _ROW * max(1, _TILE // (_ROW * count))
    work = list(pieces(parts, tile))
    total = PairSums(
        gram=np.zeros((count, count)) if gram else None,
        cross=np.zeros((count, count)) if logarithms else None,
        both=np.zeros((count, count), np.int64) if masks else None,
        mass=np.zeros(count),
        zeros=np.zeros(count, np.int64),
        size=covered(parts),
    )
    plan = _Plan(gram, logarithms, masks, recipe, threading.local())
    every = max(1, _RELEASE // (tile * count))
    # Threads, not processes: the work is done inside NumPy, which lets other threads run, on shared memory maps.
    # A product of one tile is too small to be worth the BLAS library's own threads, which would fight with ours.
    with threadpool_limits(1, user_api="blas"):
        results = Parallel(require="sharedmem", return_as="generator")(
            delayed(_one_tile)(members, span, plan) for span in work
        )
        for number, result in enumerate(tqdm(results, "all pairs", len(work), disable=not progress)):
            _add(total, result)
            if number % every == 0 or number == len(work) - 1:
                for member in members:
                    member.release()
    if not np.isfinite(total.mass).all():
        bad = members[int(np.argmin(np.isfinite(total.mass)))].label
        raise Failure(f"the Fisher vector of {bad!r} holds an infinite value; estimate it again")
    return total


def _one_tile(members: Sequence[Member], span: Span, plan: _Plan) -> PairSums:
    """The sums of one tile."""
    found = [_read(member, span, plan.masks) for member in members]
    mass, zeros, bits = (list(column) for column in zip(*found, strict=True))
    part = PairSums(None, None, None, np.array(mass), np.array(zeros), span[1] - span[0])
    if plan.masks:
        part.both = _common_bits(np.stack(bits))
    if plan.gram:
        count = len(members)
        tile = _filled(members, span, plan)
        fisher = tile[:, :count]  # (B, V, R)
        if plan.logarithms:
            take_log(fisher, tile[:, count:], plan.recipe, has_zeros=any(zeros) or part.size % _ROW != 0)
        products = np.matmul(tile, fisher.transpose(0, 2, 1)).sum(axis=0)  # (V or 2V, V)
        part.gram, part.cross = products[:count], products[count:]
    return part


def _read(member: Member, span: Span, masks: bool) -> tuple[float, int, np.ndarray | None]:
    """Check one piece of one vector: its sum, its zeros, and its packed mask, padded to whole 64-bit words."""
    start, stop = span
    piece = np.asarray(member.values[start:stop])
    low = piece.min()
    if not low >= 0:
        raise Failure(f"the Fisher vector of {member.label!r} holds a negative or NaN value; estimate it again")
    zeros = int(np.count_nonzero(piece == 0)) if low == 0 else 0
    packed = None
    if masks:
        packed = np.zeros(8 * -(-piece.size // 64), np.uint8)
        packed[: -(-piece.size // 8)] = np.packbits(member.cut.mask(piece, start))
    return float(piece.sum(dtype=np.float64)), zeros, packed


def _filled(members: Sequence[Member], span: Span, plan: _Plan) -> np.ndarray:
    """A float64 tile (B, V or 2V, R) whose first V rows hold the vectors, B pieces of R elements; zeros to the end."""
    start, stop = span
    count, blocks, whole = len(members), -(-(stop - start) // _ROW), (stop - start) // _ROW
    shape = (blocks, count * (1 + plan.logarithms), _ROW)
    if getattr(plan.desk, "tile", np.empty(0)).shape != shape:
        plan.desk.tile = np.empty(shape)
    tile = plan.desk.tile
    for index, member in enumerate(members):
        piece = member.values[start:stop]
        tile[:whole, index] = piece[: whole * _ROW].reshape(whole, _ROW)
        if whole < blocks:
            rest = piece[whole * _ROW :]
            tile[whole, index, : rest.size] = rest
            tile[whole, index, rest.size :] = 0.0
    return tile


def take_log(fisher: np.ndarray, out: np.ndarray, recipe: Recipe, has_zeros: bool = True) -> None:
    """log F into `out`. `paper`: log EPS where F = 0, exact elsewhere. `authors_code`: log(F + EPS) everywhere."""
    if recipe == "authors_code":
        np.log(np.add(fisher, EPS, out=out), out=out)
        return
    with np.errstate(divide="ignore"):
        np.log(fisher, out=out)
    # An F_a = 0 multiplies this and vanishes (0 log 0 = 0); only F_t = 0 < F_a sees it.
    if has_zeros:
        np.copyto(out, np.log(EPS), where=np.isneginf(out))


def _common_bits(packed: np.ndarray) -> np.ndarray:
    """(V, V) int64: bits set in both of two rows of (V, bytes), by population count of 64-bit words."""
    words = packed.view(np.uint64)
    both = np.zeros((len(words), len(words)), np.int64)
    for row in range(len(words)):
        both[row, row:] = np.bitwise_count(words[row] & words[row:]).sum(axis=1, dtype=np.int64)
    return both + np.triu(both, 1).T


def _add(total: PairSums, part: PairSums) -> None:
    for name in ("gram", "cross", "both", "mass", "zeros"):
        if getattr(total, name) is not None:
            np.add(getattr(total, name), getattr(part, name), out=getattr(total, name))


@dataclass(frozen=True)
class Direct:
    """One pair's sums term by term: squared differences and F_a log(F_a / F_t), raw and with each F divided by its
    sum."""

    squares: float
    kl: float
    normalised_squares: float
    normalised_kl: float


def direct(
    target: Member, auxiliary: Member, parts: Iterable[Span], masses: tuple[float, float], recipe: Recipe = "paper"
) -> Direct:
    """The sums of one pair without matrix products, for pairs so alike that the products would cancel.

    Args:
        masses: the sums of the target's and the auxiliary's vector.
    """
    sums = np.zeros(4)
    step = 1 << 16
    for number, (start, stop) in enumerate(pieces(list(parts), step)):
        t = np.asarray(target.values[start:stop], dtype=np.float64)
        a = np.asarray(auxiliary.values[start:stop], dtype=np.float64)
        ratio, log_t = np.empty_like(a), np.empty_like(t)
        take_log(a, ratio, recipe)
        take_log(t, log_t, recipe)
        ratio -= log_t
        p, q = t / masses[0], a / masses[1]
        scale = np.log(masses[0] / masses[1])
        sums += [np.sum((t - a) ** 2), a @ ratio, np.sum((p - q) ** 2), q @ (ratio + scale)]
        if number % max(1, _RELEASE // (2 * step)) == 0:
            target.release()
            auxiliary.release()
    return Direct(*sums.tolist())
