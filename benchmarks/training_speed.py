"""Fine-tuning against a plain Hugging Face loop: the same model, batches, loss and optimizer, in one process.

    python benchmarks/training_speed.py --model mini-m2m --updates 12

The plain loop calls the model with its labels, smooths the logits of all positions with `LabelSmoother`, and steps
`torch.optim.Adam` as it comes. Both end with the same weights, which is checked; the ratio is that of the processor's
time an update, dropout drawn in both. Rounds in which the two take turns, the best of each.
"""

import time
from collections.abc import Callable

import torch
from measure import Row, compared, measured, parser_of, started, write_csv
from transformers.trainer_pt_utils import LabelSmoother

from langsim import corpora, models
from langsim.corpora.base import Pair
from langsim.models import LoadedModel
from langsim.sampling import SamplingRule
from langsim.token_batches import BatchStream, encode
from langsim.training import fine_tune, with_dropout
from langsim.training_recipe import TrainingRecipe

Texts = dict[str, list[Pair]]
CLOSE = 2e-2  # nats: how far the two losses on DEV may be apart, whose dropout is drawn in another order


def plain_loop(loaded: LoadedModel, data: Texts, dev: Texts, recipe: TrainingRecipe) -> tuple[float, int]:
    """Loss on DEV and target tokens read, by the loop that one writes first."""
    pairs, checked = (encode(loaded, text, "en", "training") for text in (data, dev))
    stream = BatchStream(pairs, recipe.rule, recipe.mixing, recipe.tokens_per_batch, recipe.seed)
    everything = SamplingRule.parse("proportional")
    torch.manual_seed(recipe.seed)
    model = with_dropout(loaded.model, recipe)
    smoother = LabelSmoother(epsilon=recipe.label_smoothing)
    optimizer = torch.optim.Adam(model.parameters(), betas=recipe.betas, eps=recipe.eps)

    def loss_on_dev() -> float:
        model.eval()
        with torch.no_grad():
            total, count = 0.0, 0
            for indexes in BatchStream(checked, everything, "mixed", recipe.tokens_per_batch, 0).epoch(0):
                batch = checked.batch(loaded, indexes)
                n = checked.target_tokens(indexes)
                total += n * smoother(model(**batch), batch["labels"]).item()
                count += n
        return total / count

    loss_on_dev()
    model.train()
    tokens, updates = 0, stream.updates(recipe.batches_per_update)
    for update in range(1, recipe.updates + 1):
        batches, _, _ = next(updates)
        read = sum(pairs.target_tokens(indexes) for indexes in batches)
        for indexes in batches:
            batch = pairs.batch(loaded, indexes)
            loss = smoother(model(**batch), batch["labels"])
            (loss * pairs.target_tokens(indexes) / read).backward()
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(update)
        optimizer.step()
        optimizer.zero_grad()
        tokens += read
    return loss_on_dev(), tokens


def ours(loaded: LoadedModel, data: Texts, dev: Texts, recipe: TrainingRecipe) -> tuple[float, int]:
    """The same by the library."""
    tuned = fine_tune(loaded, data, dev, recipe)
    return tuned.curve[-1].dev_loss, tuned.tokens


def texts(codes: list[str], items: int) -> tuple[Texts, Texts]:
    """Training and DEV text of the catalogs' domain of adaptation."""
    corpus = corpora.load("catalogs")
    pools = (
        {code: corpus.pairs(code, domain="interface", pool=pool) for code in codes} for pool in ("FINETUNE", "DEV")
    )
    data, dev = ({code: pairs[: items or None] for code, pairs in pool.items()} for pool in pools)
    return data, dev


def seconds(call: Callable[[], object]) -> float:
    """Processor time: other work on the machine is not counted."""
    start = time.process_time()
    call()
    return time.process_time() - start


def timed(loaded: LoadedModel, case: str, recipe: TrainingRecipe, data: Texts, dev: Texts, rounds: int) -> Row:
    """One row: seconds an update."""
    calls = {name: lambda call=call: call(loaded, data, dev, recipe) for name, call in WAYS.items()}
    first = {name: measured(call) for name, call in calls.items()}
    (loss, tokens), (other, other_tokens) = (one.result for one in first.values())
    assert tokens == other_tokens and abs(loss - other) < CLOSE, f"losses on DEV: {loss:.4f} and {other:.4f}"
    found = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        found = {name: min(found[name], seconds(call)) for name, call in calls.items()}
    read = tokens / recipe.updates
    per = {name: (name, found[name] / recipe.updates, first[name].megabytes) for name in calls}
    mine, peer = per["fine_tune"], per["plain HF loop"]
    for name, spent, _ in (mine, peer):
        print(f"{case}: {name}: {read / spent:.0f} target tokens/s")
    return compared("training", f"{case}, {read:.0f} target tokens", mine, peer, threads=torch.get_num_threads())


WAYS = {"fine_tune": ours, "plain HF loop": plain_loop}


def main() -> None:
    parser = parser_of(__doc__, rounds=3)
    parser.add_argument("--model", default="mini-m2m")
    parser.add_argument("--languages", nargs="+", default=["fa", "hi", "bn", "tr"])
    parser.add_argument("--items", type=int, default=0, help="pairs per language; 0 for all")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1000, 2000, 4000], help="of a batch")
    parser.add_argument("--batches", type=int, default=1, help="of an update")
    parser.add_argument("--updates", type=int, default=12)
    options = started(parser)
    loaded = models.load(options.model)
    data, dev = texts(options.languages, options.items)
    own = {"dropout": None, "attention_dropout": None, "layerdrop": None, "precision": "fp32", "patience": None}
    own |= {"batches_per_update": options.batches, "updates": options.updates, "validate_every": options.updates}
    rows = []
    for tokens in options.tokens:
        recipe = TrainingRecipe.of(**own, tokens_per_batch=tokens, learning_rate=1e-4, warmup=options.updates)
        rows.append(timed(loaded, f"{options.model}, {tokens} tokens a batch", recipe, data, dev, options.rounds))
    write_csv(options.csv, rows)


if __name__ == "__main__":
    main()
