"""Where each parameter lies in a flat Fisher vector, and the stretches that a selection of parameters covers."""

from collections.abc import Iterable, Iterator, Sequence
from math import prod

from langsim.errors import UsageError

Layout = list[tuple[str, tuple[int, ...], int]]  # (parameter name, shape, offset in elements), in offset order
Span = tuple[int, int]  # [start, stop) in elements


def checked(layout: Iterable[Sequence], size: int) -> Layout:
    """The layout with plain types, proven to tile a vector of `size` elements without gap or overlap.

    Raises:
        UsageError: a gap, an overlap, a repeated name, or another total than `size`.
    """
    plain: Layout = [(str(name), tuple(int(n) for n in shape), int(offset)) for name, shape, offset in layout]
    names = {name for name, _, _ in plain}
    if len(names) != len(plain):
        raise UsageError("the layout names a parameter twice; give every parameter its own name")
    position = 0
    for name, shape, offset in plain:
        if offset != position:
            raise UsageError(f"the layout puts {name!r} at {offset} where {position} comes next; list it in order")
        position += prod(shape)
    if position != size or size == 0:
        raise UsageError(f"the layout covers {position} elements but the vector has {size}; pass matching ones")
    return plain


def spans(layout: Layout, names: Iterable[str] | None = None) -> list[Span]:
    """The stretches of the flat vector that hold the named parameters (all for None), neighbours merged.

    Raises:
        UsageError: a name that the layout lacks, or no name at all.
    """
    wanted = {name for name, _, _ in layout} if names is None else set(names)
    unknown = wanted - {name for name, _, _ in layout}
    if unknown:
        raise UsageError(f"no parameter {min(unknown)!r} in these Fisher vectors; estimate them with that selection")
    merged: list[Span] = []
    for name, shape, offset in layout:
        if name not in wanted:
            continue
        stop = offset + prod(shape)
        if merged and merged[-1][1] == offset:
            merged[-1] = (merged[-1][0], stop)
        else:
            merged.append((offset, stop))
    if not merged:
        raise UsageError("the selection of parameters is empty; name at least one")
    return merged


def covered(parts: Sequence[Span]) -> int:
    """How many elements the spans hold together."""
    return sum(stop - start for start, stop in parts)


def pieces(parts: Sequence[Span], size: int) -> Iterator[Span]:
    """The spans cut into pieces of at most `size` elements, in order."""
    for start, stop in parts:
        for left in range(start, stop, size):
            yield left, min(left + size, stop)
