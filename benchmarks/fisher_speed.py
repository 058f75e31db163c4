"""Fisher estimators against a plain forward and backward pass, and against other ways to squared per-example gradients.

    python benchmarks/fisher_speed.py --width 512 --tokens 8 32 128 --examples 32

The plain pass computes the gradients of the same parameters and squares nothing; every other peer gives the same
numbers as `per_example`, which is checked. First an M2M100 (the weight matrices of its
layers), then a stack of feed-forward layers of the same widths for BackPACK and nngeometry, which can't do its
attention. Times are of one mini-batch, the best of several rounds in which all take turns. A call reads several short
mini-batches, as any estimation does. No example is padded: `vmap` can't take M2M100's masks.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import peers
import torch
from measure import Row, best, compared, parser_of, started, write_csv
from torch import Tensor, nn
from transformers import M2M100Config, M2M100ForConditionalGeneration

from langsim import groups
from langsim.fisher import FisherVector, estimate

PLAIN = "forward and backward"
STACK_WEIGHTS = r"re:^body\..*weight$"


def small_model(width: int, layers: int, vocabulary: int) -> nn.Module:
    """An M2M100 with random weights."""
    torch.manual_seed(0)
    sides = {
        f"{side}_{part}": n
        for side in ("encoder", "decoder")
        for part, n in (("layers", layers), ("attention_heads", width // 64), ("ffn_dim", 4 * width))
    }
    model = M2M100ForConditionalGeneration(M2M100Config(vocab_size=vocabulary, d_model=width, **sides)).eval()
    model.set_attn_implementation("eager")  # `vmap` has no rule for the fused one; on a CPU it is no slower
    return model


def tokens_of(examples: int, tokens: int, vocabulary: int, seed: int) -> dict[str, Tensor]:
    """A batch of random sentence pairs."""
    generator = torch.Generator().manual_seed(seed)
    source, target = torch.randint(5, vocabulary, (2, examples, tokens), generator=generator)
    decoder = torch.cat([torch.full((examples, 1), 2), target[:, :-1]], 1)
    return {"input_ids": source, "decoder_input_ids": decoder, "labels": target}


def hidden_of(examples: int, tokens: int, width: int, vocabulary: int, seed: int) -> dict[str, Tensor]:
    """A batch for the stack."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, vocabulary, (examples, tokens), generator=generator)
    return {"hidden": torch.randn(examples, tokens, width, generator=generator), "labels": labels}


def ours(model: nn.Module, batches: list, estimator: str) -> FisherVector:
    """The library, on all batches."""
    selection = "layers" if hasattr(model, "model") else STACK_WEIGHTS
    return estimate(model, batches, estimator=estimator, selection=selection)


def summed(peer: Callable, model: nn.Module, batches: list, names: list[str]) -> dict[str, Tensor]:
    """A peer on one batch after the other."""
    total: dict[str, Tensor] = {}
    for batch in batches:
        for name, squares in (peer(model, batch, names) or {}).items():
            total[name] = total[name].add_(squares) if name in total else squares
    return total


def check(found: dict[str, Any]) -> None:
    """Every peer that gives squares gives those of `per_example`."""
    vector = found["per_example"]
    expected = {name: torch.from_numpy(values) * vector.n_terms for name, values in vector.items()}
    for peer in found.keys() - {"per_example", "batch", PLAIN}:
        worst = max(float((found[peer][name] - squares).norm() / squares.norm()) for name, squares in expected.items())
        assert worst < 1e-3, f"{peer} differs by {worst:.1e}"


def ways(model: nn.Module, batches: list, names: list[str], chunk: int) -> dict[str, Callable]:
    """Name -> a call without arguments: ours, and the peers that take any model."""
    made = {name: partial(ours, model, batches, name) for name in ("batch", "per_example")}
    any_model = {
        PLAIN: peers.plain,
        "loop of single examples": peers.loop,
        "torch.func.vmap(grad)": peers.with_vmap(chunk or None),
    }
    return made | {name: partial(summed, peer, model, batches, names) for name, peer in any_model.items()}


def layer_ways(stack: peers.Stack, batches: list, names: list[str]) -> dict[str, Callable]:
    """The peers that watch layers, where they are installed."""
    made = {}
    if peers.installed("backpack"):
        made["BackPACK"] = partial(summed, peers.backpack, peers.backpack_stack(stack), batches, names)
    if peers.installed("nngeometry"):
        peer = partial(peers.nngeometry, head=stack.head)
        made["nngeometry (as Conv1d)"] = partial(summed, peer, peers.convolutions(stack), batches, names)
    for name in {"BackPACK", "nngeometry (as Conv1d)"} - made.keys():
        print(f"{name} left out: not installed, see benchmarks/requirements.txt")
    return made


def timed(case: str, calls: dict[str, Callable], n_batches: int, options: argparse.Namespace) -> list[Row]:
    """Rows, per mini-batch: `batch` against the plain pass, `per_example` against the plain pass and every peer."""
    found = best(calls, options.rounds, check)
    results = {name: (name, seconds / n_batches, megabytes) for name, (seconds, megabytes) in found.items()}
    pairs = [("batch", PLAIN), *(("per_example", peer) for peer in results if peer not in ("batch", "per_example"))]
    return [compared("fisher", case, results[name], results[peer], threads=options.threads) for name, peer in pairs]


def main() -> None:
    parser = parser_of(__doc__, rounds=5)
    parser.add_argument("--width", type=int, nargs="+", default=[512])
    parser.add_argument("--tokens", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--examples", type=int, default=32)
    parser.add_argument("--layers", type=int, default=2, help="of the encoder and of the decoder")
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--call-tokens", type=int, default=1024, help="tokens of a call, in mini-batches")
    parser.add_argument("--vmap-chunk", type=int, default=0, help="examples at a time; 0 for all")
    options = started(parser)
    rows = []
    for width in options.width:
        model = small_model(width, options.layers, options.vocabulary)
        stack = peers.Stack(width, 2 * options.layers, options.vocabulary).eval()
        for tokens in options.tokens:
            shape = f"d={width} T={tokens} B={options.examples}"
            sizes = (options.examples, tokens)
            n = max(1, options.call_tokens // (options.examples * tokens))
            batches = [tokens_of(*sizes, options.vocabulary, seed) for seed in range(n)]
            names = groups.select(model, "layers")
            rows += timed(f"M2M100, {shape}", ways(model, batches, names, options.vmap_chunk), n, options)
            batches = [hidden_of(*sizes, width, options.vocabulary, seed) for seed in range(n)]
            names = groups.select(stack, STACK_WEIGHTS)
            calls = ways(stack, batches, names, options.vmap_chunk) | layer_ways(stack, batches, names)
            rows += timed(f"feed-forward stack, {shape}", calls, n, options)
    write_csv(options.csv, rows)


if __name__ == "__main__":
    main()
