"""Fisher vectors of many texts by one model: estimated several at a time, each stored as soon as it is done."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from langsim.corpora.base import Pair
from langsim.footprint import largest_batch, peak_bytes
from langsim.paths import one_maker
from langsim.profiles import Settings
from langsim.store import FisherStore

# The threads of a process share its model, whose tokenizer and gradients an estimation sets for a while.
_one_at_a_time = threading.Lock()
VECTORS_A_WORKER = 4  # starting a process takes as long as some vectors of a small model


@dataclass(frozen=True)
class Text:
    """What one Fisher vector is estimated from, and where it belongs in the store.

    `signature` says what the vector was made from: one that is stored under `key` with another signature is estimated
    again.
    """

    language: str
    pairs: Sequence[Pair]
    key: str
    signature: str


def estimate_missing(
    texts: Sequence[Text],
    folder: Path,
    settings: Settings,
    selection: str,
    *,
    weights_seed: int | None = None,
    jobs: int | None = None,
    title: str = "Fisher vectors",
) -> None:
    """Estimate the vectors that are not in the store, or not sound there.

    Args:
        weights_seed: the model's weights are drawn anew from this seed; None leaves them as they were trained.
        jobs: how many at a time, each in a process of its own. None: what an enclosing `joblib.parallel_config` says (a
            Dask cluster on the same disk, for example), else as many as cores and memory allow. The numbers are
            the same.

    Raises:
        UsageError: text or parameters that the model can't take.
        Failure: a NaN gradient (the batch is named), a full disk.
    """
    from joblib import Parallel, delayed
    from tqdm import tqdm

    store = FisherStore(folder)
    todo = [text for text in texts if not store.has(text.key, text.signature)]
    if not todo:
        return
    if jobs is None:
        jobs = _jobs(todo, settings)
    work = (delayed(_estimate)(text, folder, settings, selection, weights_seed) for text in todo)
    done = Parallel(n_jobs=jobs, return_as="generator_unordered")(work)
    for _ in tqdm(done, total=len(todo), desc=title, mininterval=1, disable=None):
        pass


def model_of(settings: Settings, weights_seed: int | None = None) -> Any:
    """The settings' model (`langsim.models.LoadedModel`), kept for the next call."""
    return _load_model(settings.model, settings.device, weights_seed)


@lru_cache(maxsize=2)
def _load_model(name: str, device: str, weights_seed: int | None) -> Any:
    from langsim import models

    if weights_seed is None:
        return models.load(name, device=device)
    return models.randomised(_load_model(name, device, None), weights_seed)


def _jobs(texts: Sequence[Text], settings: Settings) -> int | None:
    """How many processes are worth their start, within cores and memory; None leaves it to joblib."""
    import joblib

    if joblib.effective_n_jobs(None) > 1:  # someone has said how
        return None
    shapes = [tuple(parameter.shape) for parameter in model_of(settings).model.parameters()]
    tokens = max(largest_batch(text.pairs, settings.batch_size) for text in texts)
    return processes(len(texts), settings, peak_bytes(shapes, tokens))


def processes(n_texts: int, settings: Settings, need: float) -> int:
    """How many processes that need so many bytes each are worth their start, within cores and memory."""
    import joblib
    import psutil

    if not settings.device.startswith("cpu"):  # a GPU is no faster for being shared
        return 1
    fit = int(psutil.virtual_memory().available / need)
    return max(1, min(joblib.cpu_count() // settings.threads, fit, n_texts // VECTORS_A_WORKER))


def _estimate(text: Text, folder: Path, settings: Settings, selection: str, weights_seed: int | None) -> None:
    """Estimate and store one vector (in whatever process joblib chose), unless another process has just done so."""
    import torch

    from langsim import fisher

    store = FisherStore(folder)
    with _one_at_a_time, one_maker(store.path(text.key)), _threads(settings.threads, torch):
        if store.has(text.key, text.signature):
            return
        loaded = model_of(settings, weights_seed)
        cut = loaded.truncated
        vector = fisher.estimate(
            loaded.model,
            loaded.batches(text.pairs, text.language, settings.target_language, size=settings.batch_size),
            estimator=settings.estimator,
            recipe=settings.recipe,
            selection=selection,
            seed=settings.seed,
            key=text.language,
        )
        metadata = {"signature": text.signature, "language": text.language, "pairs": len(text.pairs)}
        metadata |= {**vector.metadata(), "truncated": loaded.truncated - cut}
        store.put(text.key, np.asarray(vector.values, dtype=np.float32), vector.layout, metadata)


@contextmanager
def _threads(threads: int, torch: Any) -> Iterator[None]:
    """A fixed number of threads, so that sums round the same whatever else was set; put back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
