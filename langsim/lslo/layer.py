"""A linear projection with one LoRA a language (Eq. 3): h = W x + B_l A_l x, the language l per sample.

Speed: no loop over languages. The lines of each sample's A and B are gathered and two batched products do the rest.
Of a single projection (forward and backward, 32 samples of 32 tokens, d = 512, rank 8, one CPU core) this took about
1.05 times a plain LoRA's time, with 12 languages mixed as with 30. Sorting by language and one product a segment took
1.5 to 1.9 times, one product with the LoRAs of all languages and a mask 1.4 to 1.7 times, loops over languages 4 to 15
times. At rank 64, where the gathered lines outweigh the activations, it took 1.5 times, the others 4 times and more.
Of whole models: `benchmarks/lslo_speed.py`.
"""

import hashlib
import math
from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.nn.functional import linear, pad

from langsim.lslo.routing import Routing

SPANS = ("full", "slice")
INITS = ("gaussian", "kaiming")


class LoRALinear(nn.Linear, ABC):
    """A frozen linear projection to which LoRAs of languages add; scale 1, no dropout, no bias of their own.

    It takes over the weight and bias of a plain one, by the same names. The LoRAs stand one below the other: those of
    all languages in the order of `routing.ranks`, so nothing is stored for a rank that a language does not have.

    Attributes:
        widths: how many of the inputs the LoRAs read, and of the outputs they add to, from the first on.
        lora_A: (lines, inputs); a language's part is the A of Eq. 3.
        lora_B: (lines, outputs); a language's part is the transpose of its B.
    """

    def __init__(self, plain: nn.Linear, routing: Routing, widths: tuple[int, int], lines: int) -> None:
        super().__init__(plain.in_features, plain.out_features, bias=plain.bias is not None, device="meta")
        self.weight, self.bias = plain.weight, plain.bias
        self.train(plain.training)
        self.routing, self.widths = routing, widths
        like = {"device": plain.weight.device, "dtype": torch.promote_types(plain.weight.dtype, torch.float32)}
        self.lora_A = nn.Parameter(torch.zeros(lines, widths[0], **like))
        self.lora_B = nn.Parameter(torch.zeros(lines, widths[1], **like))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, ..., in_features), a sample or a beam a row -> (N, ..., out_features)."""
        out = linear(x, self.weight, self.bias)
        return out + self.delta(x).to(out.dtype)

    def delta(self, x: torch.Tensor) -> torch.Tensor:
        """What the LoRAs add, (N, ..., out_features)."""
        if not torch.is_autocast_enabled(x.device.type):
            x = x.to(self.lora_A.dtype)
        if x.shape[-1] > self.widths[0]:
            x = x[..., : self.widths[0]]
        found = self.product(x)
        missing = self.out_features - self.widths[1]
        return pad(found, (0, missing)) if missing else found

    @abstractmethod
    def product(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, ..., inputs) -> B A x (N, ..., outputs), with the LoRAs of each row's languages."""

    def gathered(self, x: torch.Tensor, index: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """The product where row i uses the lines index[i] (N, r), what each gives times mask[i] (N, 1, r)."""
        lines = index.flatten()
        a = self.lora_A.index_select(0, lines).view(*index.shape, -1)
        b = self.lora_B.index_select(0, lines).view(*index.shape, -1)
        hidden = torch.bmm(x.flatten(1, -2) if x.ndim > 2 else x[:, None], a.transpose(1, 2))
        if mask is not None:
            hidden = hidden * mask.to(hidden.dtype)
        return torch.bmm(hidden, b).view(*x.shape[:-1], -1)

    def used(self, part: str) -> torch.Tensor:
        """`lora_A` or `lora_B` as the next forward pass uses it: what torch's pruning masks is 0.

        (The attribute of a pruned matrix is that of the last forward pass, from before the optimizer's step.)
        """
        original = self._parameters.get(f"{part}_orig")
        return getattr(self, part) if original is None else original * getattr(self, f"{part}_mask")

    @torch.no_grad()
    def draw(self, language: str, start: int, init: str, seed: int, name: str) -> None:
        """A of a language, whose lines begin at `start`, by `init` (see `LSLoLinear.initialise`)."""
        rank = self.routing.ranks[language]
        if self.lora_A.is_meta or not rank:
            return
        digest = hashlib.sha256(f"{seed}\n{name}\n{language}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        drawn = torch.empty(rank, self.widths[0])
        if init == "gaussian":
            drawn.normal_(0, 1 / rank, generator=generator)
        else:
            drawn.uniform_(-1 / math.sqrt(rank), 1 / math.sqrt(rank), generator=generator)
        self.lora_A[start : start + rank] = drawn.to(self.lora_A)


class LSLoLinear(LoRALinear):
    """A frozen linear projection with one LoRA a language, that of the source or of the target language (Eq. 3).

    Attributes:
        side: "source" or "target", which language selects the LoRA.
    """

    def __init__(self, plain: nn.Linear, side: str, routing: Routing, widths: tuple[int, int]) -> None:
        """
        Args:
            widths: how many of the inputs the LoRA reads, and of the outputs it adds to, from the first on.
        """
        super().__init__(plain, routing, widths, routing.total)
        self.side = side

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """B_l A_l x with l the language of each row that `side` says, (N, ..., outputs)."""
        plan = self.routing.plan(self.side, len(x), x.device)
        if plan.alone is not None:
            return linear(x, self.lora_A[plan.alone]) @ self.lora_B[plan.alone]
        return self.gathered(x, plan.index, plan.mask)

    def adapter(self, language: str) -> tuple[torch.Tensor, torch.Tensor]:
        """A (r, inputs) and B transposed (r, outputs) of a language as they are used: views of what is stored, but of
        a pruned matrix copies with its zeros.

        Raises:
            UsageError: no such language.
        """
        part = self.routing.part(language)
        return self.used("lora_A")[part], self.used("lora_B")[part]

    @torch.no_grad()
    def change(self, language: str) -> torch.Tensor:
        """B A of a language in float64, as a change of the whole weight (out_features, in_features).

        Raises:
            UsageError: no such language.
        """
        a, b = self.adapter(language)
        product = b.double().T @ a.double()
        return pad(product, (0, self.in_features - self.widths[0], 0, self.out_features - self.widths[1]))

    @torch.no_grad()
    def folded(self, language: str) -> nn.Linear:
        """A plain projection that computes what this one does for a language.

        Raises:
            UsageError: no such language.
        """
        plain = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        plain.weight = nn.Parameter((self.weight.double() + self.change(language)).to(self.weight.dtype))
        if self.bias is not None:
            plain.bias = nn.Parameter(self.bias.clone())
        return plain.train(self.training)

    @torch.no_grad()
    def initialise(self, init: str, seed: int, name: str) -> None:
        """B = 0, and A by `init`: "gaussian", N(0, (1/r)^2), the paper's family with the standard deviation that peft
        uses (the paper gives none); "kaiming", U(-1/sqrt r, 1/sqrt r), the authors' code.

        The numbers of a language depend on the seed, the module's name and the language, not on which others there are.
        """
        self.lora_B.zero_()
        for language in self.routing.ranks:
            self.draw(language, self.routing.part(language).start, init, seed, name)


def widths(plain: nn.Linear, span: str, d_model: int) -> tuple[int, int]:
    """Inputs that a LoRA reads and outputs that it adds to: all with span "full" (conventional LoRA); with "slice",
    the authors' code, the first `d_model`, so of the hidden units of the feed-forward block only as many."""
    if span == "full":
        return plain.in_features, plain.out_features
    return min(plain.in_features, d_model), min(plain.out_features, d_model)
