"""A small translation model under fairseq's names, and a forward pass written from those names alone."""

import math
from collections import OrderedDict

import torch

DIM, HEADS, LAYERS, FFN = 16, {"encoder": 2, "decoder": 4}, {"encoder": 2, "decoder": 3}, {"encoder": 32, "decoder": 24}
OPTIONS = {
    "arch": "transformer_wmt_en_de_big",
    "encoder_normalize_before": True,
    "decoder_normalize_before": True,
    "share_all_embeddings": True,
    "activation_fn": "relu",
    "max_source_positions": 64,
    "max_target_positions": 64,
    "dropout": 0.3,
    "adaptive_softmax_cutoff": None,
    **{f"{side}_embed_dim": DIM for side in LAYERS},
    **{f"{side}_layers": LAYERS[side] for side in LAYERS},
    **{f"{side}_ffn_embed_dim": FFN[side] for side in LAYERS},
    **{f"{side}_attention_heads": HEADS[side] for side in LAYERS},
}


def weights(rows, seed=0):
    """Parameters under fairseq's names, none of them at a value that would hide a swap."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator) / math.sqrt(shape[-1])

    found = OrderedDict()
    found["encoder.version"] = torch.tensor([3.0])
    found["encoder.embed_tokens.weight"] = draw(rows, DIM)
    found["encoder.embed_tokens.weight"][1] = 0
    for side in LAYERS:
        found[f"{side}.embed_positions._float_tensor"] = torch.zeros(1)
        for n in range(LAYERS[side]):
            name = f"{side}.layers.{n}"
            for block in ["self_attn", "encoder_attn"][: 1 + (side == "decoder")]:
                for projection in ("k_proj", "v_proj", "q_proj", "out_proj"):
                    found[f"{name}.{block}.{projection}.weight"] = draw(DIM, DIM)
                    found[f"{name}.{block}.{projection}.bias"] = draw(DIM)
                found[f"{name}.{block}_layer_norm.weight"] = 1 + draw(DIM)
                found[f"{name}.{block}_layer_norm.bias"] = draw(DIM)
            found |= {f"{name}.fc1.weight": draw(FFN[side], DIM), f"{name}.fc1.bias": draw(FFN[side])}
            found |= {f"{name}.fc2.weight": draw(DIM, FFN[side]), f"{name}.fc2.bias": draw(DIM)}
            found |= {f"{name}.final_layer_norm.weight": 1 + draw(DIM), f"{name}.final_layer_norm.bias": draw(DIM)}
        found |= {f"{side}.layer_norm.weight": 1 + draw(DIM), f"{side}.layer_norm.bias": draw(DIM)}
    found["decoder.embed_tokens.weight"] = found["encoder.embed_tokens.weight"]
    found["decoder.output_projection.weight"] = found["encoder.embed_tokens.weight"]
    return found


# A pre-norm Transformer, position by position and head by head


def norm(w, name, x):
    mean = x.mean(-1, keepdim=True)
    spread = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(spread + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def attend(w, name, heads, x, memory, allowed):
    """x (T, d) looks at memory (S, d) where allowed (T, S)."""
    q, k, v = (linear(w, f"{name}.{p}_proj", y) for p, y in (("q", x), ("k", memory), ("v", memory)))
    wide, parts = DIM // heads, []
    for head in range(heads):
        part = slice(head * wide, (head + 1) * wide)
        scores = q[:, part] @ k[:, part].T / math.sqrt(wide)
        parts.append(torch.softmax(scores.masked_fill(~allowed, -math.inf), -1) @ v[:, part])
    return linear(w, f"{name}.out_proj", torch.cat(parts, -1))


def embed(w, ids):
    """sqrt(d) times the embedding, plus a sinusoid whose first position is 2 (after the padding's 1)."""
    rows = []
    for place, token in enumerate(ids, start=2):
        half = DIM // 2
        angles = [place / 10000 ** (i / (half - 1)) for i in range(half)]
        wave = torch.tensor([math.sin(a) for a in angles] + [math.cos(a) for a in angles])
        rows.append(math.sqrt(DIM) * w["encoder.embed_tokens.weight"][token] + wave)
    return torch.stack(rows)


def stack(w, side, x, memory=None):
    causal = torch.ones(len(x), len(x), dtype=torch.bool)
    causal = causal.tril() if side == "decoder" else causal
    for n in range(LAYERS[side]):
        name, heads = f"{side}.layers.{n}", HEADS[side]
        y = norm(w, f"{name}.self_attn_layer_norm", x)
        x = x + attend(w, f"{name}.self_attn", heads, y, y, causal)
        if memory is not None:
            y = norm(w, f"{name}.encoder_attn_layer_norm", x)
            everything = torch.ones(len(x), len(memory), dtype=torch.bool)
            x = x + attend(w, f"{name}.encoder_attn", heads, y, memory, everything)
        y = norm(w, f"{name}.final_layer_norm", x)
        x = x + linear(w, f"{name}.fc2", linear(w, f"{name}.fc1", y).clamp(min=0))
    return norm(w, f"{side}.layer_norm", x)


def literal(w, ids, target):
    """Logits (T, V) of fairseq's model: the decoder reads </s> and the target but its last token."""
    memory = stack(w, "encoder", embed(w, ids))
    return stack(w, "decoder", embed(w, [2, *target[:-1]]), memory) @ w["encoder.embed_tokens.weight"].T
