"""Tiny models of every architecture, batches for them, and Fisher information by plain loops over autograd."""

from types import MethodType

import numpy as np
import torch
import transformers as hf

BART = {
    "vocab_size": 50,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 32,
}
T5 = {"vocab_size": 50, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
T5["decoder_start_token_id"] = 0
BERT = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}

MODELS = {
    "m2m100": lambda: hf.M2M100ForConditionalGeneration(hf.M2M100Config(**BART)),
    "mbart": lambda: hf.MBartForConditionalGeneration(hf.MBartConfig(**BART)),
    "marian": lambda: hf.MarianMTModel(hf.MarianConfig(**BART, pad_token_id=1, decoder_start_token_id=1)),
    "t5": lambda: hf.T5ForConditionalGeneration(hf.T5Config(**T5)),
    "t5-gated": lambda: hf.T5ForConditionalGeneration(hf.T5Config(**T5, feed_forward_proj="gated-gelu")),
    "mt5": lambda: hf.MT5ForConditionalGeneration(hf.MT5Config(**T5)),
    "umt5": lambda: hf.UMT5ForConditionalGeneration(hf.UMT5Config(**T5)),
    "bert": lambda: hf.BertForMaskedLM(hf.BertConfig(**BERT)),
    "xlm-r": lambda: hf.XLMRobertaForMaskedLM(hf.XLMRobertaConfig(**BERT)),
}


def tiny_model(name, dtype=torch.float64, seed=0):
    """A randomly initialised model whose gradients are far from zero everywhere, in evaluation mode."""
    torch.manual_seed(seed)
    model = MODELS[name]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    if dtype == torch.float64:
        for module in model.modules():
            if type(module).__name__.endswith("T5LayerNorm"):
                module.forward = MethodType(_exact_t5_norm, module)
    return model.to(dtype)


def _exact_t5_norm(self, hidden_states):
    """As transformers has it, but for the variance, which it computes in float32 whatever the type."""
    variance = hidden_states.pow(2).mean(-1, keepdim=True)
    return self.weight * (hidden_states * torch.rsqrt(variance + self.variance_epsilon))


def tiny_batch(model, examples=5, source=7, target=5, seed=0):
    """Examples of different lengths. As many target positions as examples by default: code that confuses the two
    shapes is found out."""
    generator = torch.Generator().manual_seed(seed)
    target = target if model.config.is_encoder_decoder else source
    ids, labels = (torch.randint(5, 50, (examples, n), generator=generator) for n in (source, target))
    mask = torch.ones_like(ids)
    for b in range(examples):
        keep = source - (b + seed) % 3
        ids[b, keep:], mask[b, keep:] = model.config.pad_token_id, 0
        labels[b, min(keep, target - b % 2) :] = -100
    if not model.config.is_encoder_decoder:
        labels[torch.rand(labels.shape, generator=generator) < 0.5] = -100
        labels[:, 1] = ids[:, 1]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def examples_of(batch):
    """The batch cut into batches of one."""
    return [{name: tensor[b : b + 1] for name, tensor in batch.items()} for b in range(len(batch["labels"]))]


def gradient(model, loss, names):
    """The gradient of a scalar as one flat float64 vector; zeros where a parameter has no part in it."""
    parameters = dict(model.named_parameters())
    model.zero_grad(set_to_none=True)
    loss.backward()
    grads = [parameters[name].grad for name in names]
    model.zero_grad(set_to_none=True)
    return np.concatenate(
        [
            np.zeros(parameters[name].numel()) if grad is None else grad.double().numpy().ravel()
            for name, grad in zip(names, grads, strict=True)
        ]
    )


def mean_gradient(model, batch, names):
    """Of transformers' own loss, the mean over target tokens."""
    return gradient(model, model(**batch).loss, names)


def loop_batch(model, batches, names):
    """Algorithm 1, literally."""
    return sum(mean_gradient(model, batch, names) ** 2 for batch in batches) / len(batches)


def loop_per_example(model, batches, names):
    """One example at a time: its mean loss times its number of target tokens, differentiated and squared."""
    total, n_examples = 0.0, 0
    for batch in batches:
        for one in examples_of(batch):
            n_examples += 1
            n_tokens = int((one["labels"] != -100).sum())
            if n_tokens:
                total = total + (n_tokens * mean_gradient(model, one, names)) ** 2
    return total / n_examples


def distance(values, reference):
    """||values - reference|| / ||reference||."""
    return np.linalg.norm(values.astype(np.float64) - reference) / np.linalg.norm(reference)


def worst_distance(vector, reference):
    """The largest distance of any one parameter, which a large neighbour can't hide. Parameters whose gradient is
    zero but for rounding (the bias of the keys: softmax doesn't see it) are measured against the whole."""
    floor = 1e-12 * np.linalg.norm(reference)
    worst = 0.0
    for _, shape, offset in vector.layout:
        part = slice(offset, offset + int(np.prod(shape)))
        difference = np.linalg.norm(vector.values[part].astype(np.float64) - reference[part])
        worst = max(worst, difference / max(np.linalg.norm(reference[part]), floor))
    return worst
