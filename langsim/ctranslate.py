"""Beam search by CTranslate2: the model in memory, converted as it is, so that a fine-tuned one needs no files.

Tokens are ids all the way (the converted vocabulary is the ids as text): the tokenizer in use stays the only authority.
Same search as Hugging Face's, but for when it stops. Hugging Face goes on until no running beam, at its present length,
beats the worst of the `beam_size` best finished ones; CTranslate2 until `patience` times `beam_size` have finished.
With `early_stopping=True` the two rules are one (patience 1). Otherwise `PATIENCE` has CTranslate2 look about as far.
"""

import copy
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import ctranslate2
import torch
from ctranslate2.converters.transformers import (
    M2M100Loader,
    MarianMTLoader,
    MBartLoader,
    ModelLoader,
    MT5Loader,
    T5Loader,
)
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from langsim.errors import UsageError
from langsim.models import Batch, LoadedModel

# Measured on the shipped model: of 400 translations 166 differ from Hugging Face's at 1, 22 at 2, 6 at 3, and 6 at 6,
# which takes 1.4 times as long.
PATIENCE = 3
LOADERS: dict[str, type[ModelLoader]] = {
    loader().architecture_name: loader for loader in (M2M100Loader, MBartLoader, MarianMTLoader, T5Loader, MT5Loader)
}
PAD = "<pad>"  # by this name the converter of Marian models knows what to leave out
# What a generation configuration may say: followed here, or overridden by `translate`, or of no effect on the search.
FOLLOWED = {"early_stopping", "decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id"}
FOLLOWED |= {"num_beams", "length_penalty", "max_length", "max_new_tokens", "forced_bos_token_id"}
FOLLOWED |= {"_from_model_config", "transformers_version", "use_cache", "return_dict_in_generate"}
FOLLOWED |= {"output_attentions", "output_hidden_states", "output_scores"}
FOLLOWED |= {"forced_eos_token_id"}
# Scores are always normal here. Hugging Face's are so too, but for Marian models that don't ask for it, by what their
# padding token, which is forbidden, would have had.
FOLLOWED |= {"renormalize_logits"}


class Ids:
    """What the converter asks of a tokenizer, of a vocabulary whose tokens are the ids as text."""

    num_madeup_words = 0
    special_tokens_map: dict[str, list[str]] = {}  # noqa: RUF012

    def __init__(self, model: PreTrainedModel) -> None:
        self._size, self._pad = model.config.vocab_size, model.config.pad_token_id
        self.eos_token = self.convert_ids_to_tokens(_ends(model)[0])
        # Nothing is looked up but ids of the vocabulary, and the decoder's start is told below: what these two are is
        # of no effect, but they must be in the vocabulary.
        self.bos_token = self.unk_token = self.eos_token
        self.pad_token = PAD

    def convert_ids_to_tokens(self, token: int) -> str:
        return PAD if token == self._pad else str(token)

    def get_vocab(self) -> dict[str, int]:
        return {self.convert_ids_to_tokens(token): token for token in range(self._size)}


def obstacle(loaded: LoadedModel) -> str:
    """Why this engine can't translate as the reference engine would with this model; empty where it can."""
    model, name = loaded.model, type(loaded.model).__name__
    if name not in LOADERS:
        return f"it converts no {name}"
    if model.device.type != "cpu":
        return f"the model is on the device '{model.device}'"
    if changed := _changed(model):
        return f"the model is not as its class is: {changed}"
    settings = {name: value for name, value in model.generation_config.to_diff_dict().items() if value}
    if LOADERS[name] is MarianMTLoader:  # the converter drops the padding token, which serves as an all-zero start
        pad = model.config.pad_token_id
        if settings.pop("bad_words_ids", None) != [[pad]] or pad != model.config.vocab_size - 1:
            return "the padding token of the Marian model is not the last one, or may be generated"
        if model.get_decoder().get_input_embeddings().weight[pad].any():
            return "the padding token of the Marian model has been trained"
    if unknown := sorted(settings.keys() - FOLLOWED):
        return f"it does not follow the model's generation setting {', '.join(unknown)}"
    return ""


def require(loaded: LoadedModel) -> None:
    """Nothing, where this engine can be used with the model.

    Raises:
        UsageError: it can't.
    """
    if reason := obstacle(loaded):
        raise UsageError(f"the engine 'ctranslate2' can't be used with '{loaded.name}': {reason}; use 'transformers'")


def generate(
    loaded: LoadedModel, work: Iterable[tuple[Batch, int]], first: int | None, beam_size: int
) -> Iterator[list[list[int]]]:
    """Token ids of the best translation of each source, batch by batch, in fp32.

    As many batches at a time as torch has threads, each by one thread, so that no number depends on how many there are.

    Args:
        work: batches of `LoadedModel.batches`, each with the most tokens that a translation of it may have.
        first: the token that every translation starts with, if any.

    Raises:
        UsageError: the model can't be converted.
    """
    require(loaded)
    model, vocabulary = loaded.model, Ids(loaded.model)
    prefix = None if first is None else [vocabulary.convert_ids_to_tokens(first)]
    options = {
        "beam_size": beam_size,
        "length_penalty": 1.0,
        "patience": 1 if model.generation_config.early_stopping is True else PATIENCE,
        "end_token": [vocabulary.convert_ids_to_tokens(token) for token in _ends(model)],
        "return_end_token": True,  # it counts in the length that a score is divided by
        "max_input_length": 0,
    }
    translator = _translator(loaded)
    pending = []
    for batch, limit in work:
        kept = [
            row[mask.bool()].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
        ]
        sources = [[vocabulary.convert_ids_to_tokens(token) for token in row] for row in kept]
        prefixes = None if prefix is None else [prefix] * len(sources)
        longest = limit - 1 if model.generation_config.forced_eos_token_id is not None else limit
        call = {**options, "max_decoding_length": longest, "asynchronous": True}
        pending.append(translator.translate_batch(sources, prefixes, **call))
    for results in pending:
        yield [_ids(result.result().hypotheses[0], model.config.pad_token_id) for result in results]


@torch.no_grad()
def _translator(loaded: LoadedModel) -> ctranslate2.Translator:
    """The model converted. It passes through a temporary folder, and takes the memory of one more copy."""
    vocabulary = Ids(loaded.model)
    loader = LOADERS[type(loaded.model).__name__]()
    view = copy.copy(loaded.model)  # the same weights, another configuration
    view.config = _told(loader, loaded.model)
    try:
        spec = loader(view, vocabulary)
        if loader.__class__ is not MarianMTLoader:
            spec.config.decoder_start_token = vocabulary.convert_ids_to_tokens(_start(loaded.model))
        spec.validate()
        spec.optimize()
        with tempfile.TemporaryDirectory() as folder:
            spec.save(folder)
            threads = {"inter_threads": torch.get_num_threads(), "intra_threads": 1}
            return ctranslate2.Translator(str(Path(folder)), device="cpu", compute_type="float32", **threads)
    except (AttributeError, KeyError, NotImplementedError, RuntimeError, ValueError) as error:  # an unusual variant
        reason = f"its conversion failed ({str(error).strip().splitlines()[0][:150]})"
        raise UsageError(
            f"the engine 'ctranslate2' can't be used with '{loaded.name}': {reason}; use 'transformers'"
        ) from error


def _told(loader: ModelLoader, model: PreTrainedModel) -> PreTrainedConfig:
    """The configuration as the converter reads it, which expects what transformers 4 wrote."""
    config = copy.deepcopy(model.config)
    if isinstance(loader, MBartLoader):
        config.normalize_before = True
    if isinstance(loader, T5Loader):  # by this it knows whether the decoder's output is scaled
        config.tie_word_embeddings = getattr(config, "scale_decoder_outputs", False)
    return config


def _changed(model: PreTrainedModel) -> str:
    """The first module that computes something else than its class in torch or transformers says (an adapter, a hook):
    a conversion would read its weights and miss that."""
    for name, module in model.named_modules():
        if not type(module).__module__.startswith(("torch.nn.modules.", "transformers.")):
            return f"'{name}' is a {type(module).__name__}"
        if module._forward_hooks or module._forward_pre_hooks or nn.utils.parametrize.is_parametrized(module):
            return f"'{name}' has a hook"
    return ""


def _start(model: PreTrainedModel) -> int:
    settings = model.generation_config
    return settings.bos_token_id if settings.decoder_start_token_id is None else settings.decoder_start_token_id


def _ends(model: PreTrainedModel) -> list[int]:
    found = model.generation_config.eos_token_id
    return list(found) if isinstance(found, list | tuple) else [found]


def _ids(tokens: list[str], pad: int) -> list[int]:
    return [pad if token == PAD else int(token) for token in tokens]
