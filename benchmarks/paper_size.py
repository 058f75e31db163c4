"""The whole way at the size of the paper's model: m2m100_418M's shapes, Fisher vectors in the store, all similarities.

    python benchmarks/paper_size.py --languages 3 --batches 1

The weights are random (nothing is downloaded), the text is that of the default corpus, the longest items first; every
three characters of a word become a token, whose number is a checksum, since a tokenizer with 128,000 pieces can't be
made from so little text. What is looked at is time a batch, peak memory and disk. The vectors (1.4 GB a language) lie
in a temporary folder and are deleted.
"""

import argparse
import re
import shutil
import tempfile
import time
import zlib
from math import prod
from pathlib import Path

import joblib
import pandas as pd
import torch
from measure import Measured, machine, measured, parser_of, peak_of_process, started
from torch import nn
from transformers import M2M100Config, M2M100ForConditionalGeneration

from langsim import footprint, groups, languages, pipeline, profiles
from langsim.corpora.base import Pair
from langsim.fisher import estimate
from langsim.models import LoadedModel
from langsim.similarity import similarities
from langsim.store import FisherStore

DISK = 0.6  # share of the free disk that may be used
SELECTION = "layers"


def paper_model(options: argparse.Namespace) -> LoadedModel:
    """M2M100; by default of the shapes of m2m100_418M (484 million parameters), as transformers configures it."""
    torch.manual_seed(0)
    sides = {f"{side}_layers": options.layers for side in ("encoder", "decoder")}
    sides |= {f"{side}_ffn_dim": 4 * options.width for side in ("encoder", "decoder")}
    config = M2M100Config(d_model=options.width, vocab_size=options.vocabulary, **sides)
    model = M2M100ForConditionalGeneration(config).eval().to(options.device)

    def ids(text: str) -> list[int]:
        pieces = re.findall(r"\S{1,3}", text)
        return [5 + zlib.crc32(piece.encode()) % (config.vocab_size - 5) for piece in pieces] + [2]

    def encode(source: str, target: str, source_language: str, target_language: str) -> tuple[list[int], list[int]]:
        return ids(f"{source_language} {source}"), ids(f"{target_language} {target}")

    limit = config.max_position_embeddings - 2
    return LoadedModel("m2m100", model, encode, str, lambda code: None, config.pad_token_id, limit, "random weights")


def texts(codes: list[str], items: int) -> dict[str, list[Pair]]:
    """The longest items that all the languages have."""
    settings = profiles.resolve("mini", languages=codes, targets=codes[:1], max_items=0)
    pairs = pipeline.match_text(settings, pipeline.load_corpus(settings)).pairs
    return {code: sorted(found, key=lambda pair: -len(pair.source_text))[:items] for code, found in pairs.items()}


def estimate_all(loaded: LoadedModel, text: dict[str, list[Pair]], store: FisherStore, options) -> float:
    """Estimate and store every language; the mean seconds of a batch."""
    spent = []
    for code, pairs in text.items():
        batches = list(loaded.batches(pairs, code, size=options.batch_size))
        spent.append(estimate_one(loaded.model, batches, code, store, options.estimator) / len(batches))
        shapes = ", ".join(f"{len(b['labels'])} x {b['input_ids'].shape[1]} tokens" for b in batches)
        print(f"{code:8s} {spent[-1]:7.1f} s a batch ({shapes}), peak {peak_of_process():,.0f} MB", flush=True)
    return sum(spent) / len(spent)


def estimate_one(model: nn.Module, batches: list, code: str, store: FisherStore, estimator: str) -> float:
    """Estimate and store one language; the seconds of the estimation."""
    start = time.perf_counter()
    vector = estimate(model, batches, estimator=estimator, selection=SELECTION, key=code)
    seconds = time.perf_counter() - start
    store.put(code, vector.values, vector.layout, vector.metadata())
    return seconds


def compare_all(model: nn.Module, codes: list[str], store: FisherStore, threads: int) -> Measured:
    """All similarities of what is stored, thresholds over all layers, feed-forward weights compared."""
    vectors = {code: store.get(code) for code in codes}
    for vector in vectors.values():
        vector.release()
    with joblib.parallel_config(n_jobs=threads):
        return measured(lambda: similarities(vectors, keep=groups.select(model, "ffn")))


def run(folder: Path, options: argparse.Namespace) -> list[tuple[str, float, str]]:
    """[(what, value, unit)]."""
    text = texts(languages.pool("ted17")[: options.languages], options.batches * options.batch_size)
    loaded = paper_model(options)
    shapes = {name: tuple(parameter.shape) for name, parameter in loaded.model.named_parameters()}
    size = sum(prod(shapes[name]) for name in groups.select(loaded.model, SELECTION))
    needs, free = 4 * size * len(text), shutil.disk_usage(folder).free
    if needs > DISK * free:
        raise SystemExit(
            f"{needs / 1e9:.0f} GB are more than {DISK:.0%} of the free {free / 1e9:.0f} GB: fewer languages"
        )
    encoded = [loaded.encode(pair.source_text, pair.target_text, "", "") for found in text.values() for pair in found]
    longest = max(len(side) for pair in encoded for side in pair)
    expected = footprint.peak_bytes(shapes.values(), options.batch_size * longest)
    store = FisherStore(folder)
    seconds = estimate_all(loaded, text, store, options)
    peak = peak_of_process()
    found = [
        ("languages", len(text), ""),
        ("parameters", sum(map(prod, shapes.values())), ""),
        ("parameters in a Fisher vector", size, ""),
        ("longest text", longest, "tokens"),
        (f"time of a batch of {options.batch_size} ({options.estimator})", seconds, "s"),
        ("peak memory of the estimation", peak, "MB"),
        ("the same as `langsim run --dry-run` estimates it", expected / 1e6, "MB"),
    ]
    if options.device != "cpu":
        found.append(("peak memory of the GPU", torch.cuda.max_memory_allocated() / 1e6, "MB"))
    found.append(("Fisher vectors on disk", sum(p.stat().st_size for p in folder.iterdir()) / 1e6, "MB"))
    model, loaded.model = loaded.model, None
    compared = compare_all(model, list(text), store, options.threads)
    found.append(("all similarities of all pairs, thresholds included", compared.seconds, "s"))
    found.append(("memory that they add", compared.megabytes, "MB"))
    return found


def main() -> None:
    parser = parser_of(__doc__, threads=torch.get_num_threads())
    parser.add_argument("--languages", type=int, default=17)
    parser.add_argument("--batches", type=int, default=2, help="a language")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--estimator", default="batch", choices=["batch", "per_example"])
    parser.add_argument("--layers", type=int, default=12, help="of the encoder and of the decoder")
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--vocabulary", type=int, default=128112)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where the vectors lie for a while")
    options = started(parser)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = run(Path(folder), options)
    for what, value, unit in found:
        print(f"{what:56s} {value:15,.1f} {unit}")
    if options.csv:
        table = pd.DataFrame(found, columns=["what", "value", "unit"])
        table["value"] = [f"{value:.0f}" if value >= 100 else f"{value:.3g}" for value in table["value"]]
        Path(options.csv).parent.mkdir(parents=True, exist_ok=True)
        signed = {"machine": machine(), "device": options.device, "torch": torch.__version__}
        table.assign(**signed, threads=options.threads).to_csv(options.csv, index=False)


if __name__ == "__main__":
    main()
