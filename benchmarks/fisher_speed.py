"""Fisher estimators against a plain forward and backward pass of the same batches, in one process.

    python benchmarks/fisher_speed.py --width 192 512 --tokens 32 --examples 32

The plain pass computes the gradients of the same parameters. Times are the best of several interleaved rounds.
"""

import argparse

import torch
from measure import machine, measured
from transformers import M2M100Config, M2M100ForConditionalGeneration

from langsim import groups
from langsim.fisher import estimate


def small_model(width, layers, vocabulary):
    torch.manual_seed(0)
    sides = {
        f"{side}_{part}": n
        for side in ("encoder", "decoder")
        for part, n in (("layers", layers), ("attention_heads", width // 64), ("ffn_dim", 4 * width))
    }
    return M2M100ForConditionalGeneration(M2M100Config(vocab_size=vocabulary, d_model=width, **sides)).eval()


def random_batches(n_batches, examples, tokens, vocabulary, ragged):
    """Batches of `examples` x `tokens`; `ragged` draws the lengths between half of that and all."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(n_batches):
        source, target = torch.randint(5, vocabulary, (2, examples, tokens), generator=generator)
        longest = torch.arange(tokens)
        mask = torch.ones_like(source)
        if ragged:
            lengths = torch.randint(tokens // 2, tokens + 1, (2, examples, 1), generator=generator)
            mask = (longest < lengths[0]).long()
            target = target.masked_fill(longest >= lengths[1], -100)
        yield {"input_ids": source.masked_fill(mask == 0, 1), "attention_mask": mask, "labels": target}


def plain(model, batches, selection):
    """Forward and backward with the gradients of the selected parameters; nothing else."""
    chosen = set(groups.select(model, selection))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in chosen)
    for batch in batches:
        model(**batch).loss.backward()
        model.zero_grad(set_to_none=True)
    model.requires_grad_(True)


def best(calls, rounds):
    """The smallest time and the largest memory of each call, over rounds that take turns."""
    results = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            results[name].append(measured(call))
    return {name: (min(m.seconds for m in all_), max(m.megabytes for m in all_)) for name, all_ in results.items()}


def compare(model, batches, selection, rounds):
    """(seconds, megabytes) of the plain pass and of the estimators over the same batches."""
    calls = {"plain": lambda: plain(model, batches, selection)}
    for estimator in ("batch", "per_example"):
        calls[estimator] = lambda e=estimator: estimate(model, batches, estimator=e, selection=selection)
    return best(calls, rounds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, nargs="+", default=[192, 512])
    parser.add_argument("--tokens", type=int, nargs="+", default=[32])
    parser.add_argument("--examples", type=int, default=32)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--selection", default="layers")
    parser.add_argument("--batches", type=int, default=2, help="a call")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ragged", action="store_true", help="examples of different lengths")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"selection {options.selection}, B = {options.examples}, {options.layers}+{options.layers} layers, "
        f"vocabulary {options.vocabulary}, {options.threads} thread(s), torch {torch.__version__}, {machine()}"
    )
    for width in options.width:
        model = small_model(width, options.layers, options.vocabulary)
        for tokens in options.tokens:
            sizes = (options.batches, options.examples, tokens, options.vocabulary)
            batches = list(random_batches(*sizes, options.ragged))
            results = compare(model, batches, options.selection, options.rounds)
            for name, (seconds, megabytes) in results.items():
                print(
                    f"d = {width:4d}  T = {tokens:3d}  {name:12s} {1e3 * seconds / options.batches:8.1f} ms a batch "
                    f"{megabytes:6.0f} MB  {seconds / results['plain'][0]:5.2f} x plain",
                    flush=True,
                )


if __name__ == "__main__":
    main()
