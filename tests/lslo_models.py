"""Small random translation models, batches for them, and LSLo with B matrices that are not zero."""

import torch
import transformers

from langsim.lslo import architecture, model

VOCABULARY = 40
LANGUAGES = ("en", "fa", "de", "ja")
RANKS = {"en": 2, "fa": 3, "de": 0, "ja": 5}
_BART = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "d_model": 8}
_BART |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 40, "init_std": 0.3}
_T5 = {"d_model": 8, "d_kv": 3, "d_ff": 24, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}
_T5 |= {"pad_token_id": 1, "eos_token_id": 2, "initializer_factor": 2.0}
BUILDERS = {
    "m2m100": lambda: transformers.M2M100ForConditionalGeneration(_config("M2M100", _BART)),
    "mbart": lambda: transformers.MBartForConditionalGeneration(_config("MBart", _BART)),
    "t5": lambda: transformers.T5ForConditionalGeneration(_config("T5", _T5)),
    "mt5": lambda: transformers.MT5ForConditionalGeneration(_config("MT5", _T5)),
}


def _config(name, shape):
    return getattr(transformers, f"{name}Config")(vocab_size=VOCABULARY, **shape)


def tiny(kind="m2m100", dtype=torch.float64, seed=0):
    """Evaluation mode: no dropout."""
    torch.manual_seed(seed)
    return BUILDERS[kind]().to(dtype).eval()


def batch(size=4, seed=0, length=6):
    """Sources of unequal length, labels."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, VOCABULARY, (size, length), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(size):
        short = row % 3
        if short:
            ids[row, length - short :], mask[row, length - short :] = 1, 0
    labels = torch.randint(5, VOCABULARY, (size, length - 1), generator=generator)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def wrapped(base, languages=LANGUAGES, ranks=RANKS, plan=None, seed=0, scale=0.3, **options):
    """`wrap`, then B matrices at random."""
    lslo = model.wrap(base, languages, ranks, plan or architecture.default(base), seed=seed, **options)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for _, layer in lslo.layers():
            drawn = torch.randn(layer.lora_B.shape, generator=generator, dtype=torch.float64)
            layer.lora_B.copy_(scale * drawn)
    return lslo.eval()


def apart(ours, other):
    """Norm of the difference over the norm."""
    return ((ours - other).norm() / other.norm()).item()
