"""Which language each row of a batch uses, from the call of a model down to its layers.

A row of a batch is a sample, or in beam search one of a sample's beams. Rows keep the order of their samples (beams of
a sample are neighbours, and are only reordered among themselves), so what a row uses follows from its number.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import torch

from langsim.errors import UsageError
from langsim.suggest import unknown

Codes = str | Sequence[str]  # one language for all rows, or one a sample


@dataclass(frozen=True)
class Plan:
    """Where the rows of a batch find their LoRA, in matrices that hold those of all languages one below the other.

    Attributes:
        alone: the only language's part, where all rows use one; else None, and the others say:
        index: (N, r) the lines that each row of the batch uses, r being the largest rank among them.
        mask: (N, 1, r) 1 where there is a line, 0 where a language has fewer; None where all have as many.
    """

    alone: slice | None = None
    index: torch.Tensor | None = None
    mask: torch.Tensor | None = None


@dataclass
class _Current:
    """What holds now. `plans` is filled as layers ask: all of a side, rows and device share one."""

    codes: dict[str, Codes]
    beams: bool
    plans: dict[tuple[str, int, torch.device], Plan] = field(default_factory=dict)


class Routing:
    """The languages with their ranks, and which of them the rows of the present batch use.

    Args:
        ranks: language -> rank of its LoRA in every module; 0 is none: such a language uses the base model as it is.
    """

    def __init__(self, ranks: Mapping[str, int]) -> None:
        self.ranks = dict(ranks)
        self.total = sum(self.ranks.values())
        self._parts, start = {}, 0
        for language, rank in self.ranks.items():
            self._parts[language] = slice(start, start + rank)
            start += rank
        self._current: _Current | None = None

    def part(self, language: str) -> slice:
        """The lines of a language (none where its rank is 0).

        Raises:
            UsageError: no such language.
        """
        self.check(language)
        return self._parts[language]

    def check(self, language: str, what: str = "language") -> None:
        """
        Raises:
            UsageError: no such language.
        """
        if language not in self.ranks:
            raise UsageError(f"{what}: {unknown(language, list(self.ranks))} (the languages with LoRA here)")

    @contextmanager
    def use(self, source: Codes | None, target: Codes | None, *, beams: bool = False) -> Iterator[None]:
        """Route by these languages while it lasts.

        Args:
            source, target: a code for all rows, or a code for each sample of the batch.
            beams: whether a module may see several neighbouring rows a sample, as in generation.

        Raises:
            UsageError: none is given, one is unknown, or not as many sources as targets.
        """
        codes = {"source": source, "target": target}
        for side, given in codes.items():
            if given is None:
                raise UsageError(f"which {side} language? Give {side}=, a code or one code a sample")
            for code in {given} if isinstance(given, str) else dict.fromkeys(given):
                self.check(code, f"{side} language")
        lists = {side: list(given) for side, given in codes.items() if not isinstance(given, str)}
        if len({len(given) for given in lists.values()}) > 1:
            raise UsageError(f"{len(lists['source'])} source languages, but {len(lists['target'])} target languages")
        with self._while(_Current(codes | lists, beams)):
            yield

    def for_checkpointing(self) -> tuple[AbstractContextManager, AbstractContextManager]:
        """`context_fn` of torch's checkpoints: what is computed again in a backward pass, when another batch may be
        in use or none, is routed as it was at first."""
        return nullcontext(), self._while(self._current)

    @contextmanager
    def _while(self, current: _Current | None) -> Iterator[None]:
        before, self._current = self._current, current
        try:
            yield
        finally:
            self._current = before

    def plan(self, side: str, rows: int, device: torch.device) -> Plan:
        """For a module that `side` ("source" or "target") selects, whose input has so many rows.

        Raises:
            UsageError: no languages were given, or not as many as there are rows.
        """
        current = self._current
        if current is None:
            raise UsageError(
                "no languages are given for this batch: call the LSLo model with source= and target=, or within "
                "`with lslo.route(source, target)`; for gradient checkpointing lslo.gradient_checkpointing_enable()"
            )
        key = (side, rows, device)
        if key not in current.plans:
            with torch.inference_mode(False):  # a plan made in inference may serve a training afterwards
                current.plans[key] = self._planned(self._of_rows(side, rows), device)
        return current.plans[key]

    def _of_rows(self, side: str, rows: int) -> list[str]:
        given = self._current.codes[side]
        if isinstance(given, str):
            return [given] * rows
        if rows == len(given):
            return given
        if self._current.beams and given and rows % len(given) == 0:
            return [code for code in given for _ in range(rows // len(given))]
        raise UsageError(
            f"{len(given)} {side} languages for {rows} rows: give one a sample"
            + ("" if self._current.beams else " (to generate, call lslo.generate)")
        )

    def _planned(self, codes: list[str], device: torch.device) -> Plan:
        ranks = [self.ranks[code] for code in codes]
        if len(set(codes)) == 1 and ranks[0]:
            return Plan(alone=self._parts[codes[0]])
        width = max(1, *ranks)  # where none has a rank, a masked line leaves everything in the graph
        lines = torch.arange(width)
        size = torch.tensor(ranks)[:, None]
        # A line too many is line 0, times 0: nothing of it shows, nor does a gradient reach it.
        index = torch.where(lines < size, torch.tensor([self._parts[code].start for code in codes])[:, None] + lines, 0)
        uneven = min(ranks) < width
        mask = (lines < size)[:, None].to(device, torch.float32) if uneven else None
        return Plan(index=index.to(device), mask=mask)
