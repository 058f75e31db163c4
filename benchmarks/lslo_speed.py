"""Forward and backward through a model with language-specific LoRA, against other ways to have adapters.

    python benchmarks/lslo_speed.py --width 512 --languages 12 30

Batches of 32 samples of 32 tokens, languages drawn at random, so nearly all are in a batch. Peers: the frozen base with
one plain LoRA (peft) in the same projections; the frozen base alone, with gradients to its input; weight learning, with
two of these LoRAs in every projection; and the same language-specific LoRA by a loop over languages with masks, once
over all samples, once over those of the language.
Forward passes alone, too, where peft's mixed adapters are the peer (it runs them for inference only).
"""

import argparse
import copy
from collections.abc import Callable

import peft
import torch
from measure import best, compared, parser_of, started, write_csv
from torch import nn
from torch.nn.functional import linear
from transformers import M2M100Config, M2M100ForConditionalGeneration

from langsim.lslo import learn, wrap
from langsim.lslo.architecture import strategy
from langsim.lslo.layer import LSLoLinear

CLOSE = 1e-4
Call = Callable[[], torch.Tensor]


class Looped(nn.Module):
    """The layer's numbers by a loop over the languages, as one writes it first."""

    def __init__(self, layer: LSLoLinear, codes: list[str], *, gathered: bool) -> None:
        super().__init__()
        self.layer, self.gathered = layer, gathered
        self.masks = {
            language: torch.tensor([code == language for code in codes], device=layer.weight.device)
            for language, rank in layer.routing.ranks.items()
            if rank
        }

    @property
    def weight(self) -> nn.Parameter:
        return self.layer.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = linear(x, self.layer.weight, self.layer.bias)
        for language, mask in self.masks.items():
            a, b = self.layer.adapter(language)
            if not self.gathered:
                out = out + linear(x * mask[:, None, None], a) @ b
            elif mask.any():
                out = out.index_put((mask,), out[mask] + linear(x[mask], a) @ b)
        return out


def base_of(width: int, layers: int, device: str) -> M2M100ForConditionalGeneration:
    torch.manual_seed(0)
    stacks = {
        f"{s}_{what}": n for s in ("encoder", "decoder") for what, n in (("layers", layers), ("ffn_dim", 4 * width))
    }
    heads = {f"{s}_attention_heads": max(1, width // 64) for s in ("encoder", "decoder")}
    config = M2M100Config(vocab_size=200, d_model=width, max_position_embeddings=512, **stacks, **heads)
    return M2M100ForConditionalGeneration(config).eval().requires_grad_(False).to(device)


def ways(options: argparse.Namespace, languages: list[str]) -> tuple[dict[str, Call], dict[str, Call]]:
    """Forward and backward, and forward only: name -> call that returns the logits."""
    base = base_of(options.width, options.layers, options.device)
    ids = torch.randint(3, 200, (options.batch, options.tokens)).to(options.device)
    codes = [languages[i] for i in torch.randint(len(languages), (options.batch,))]
    plan = strategy(base, "TGT")
    names = list(plan.modules)
    ours = wrap(copy.deepcopy(base), languages, options.rank, plan)
    config = peft.LoraConfig(r=options.rank, lora_alpha=options.rank, target_modules=names, init_lora_weights=False)
    plain = peft.get_peft_model(copy.deepcopy(base), config).eval()
    mixed = peft.get_peft_model(copy.deepcopy(base), config, adapter_name=languages[0])
    for language in languages[1:]:
        mixed.add_adapter(language, config)
    mixed.eval()
    with torch.no_grad():
        for name, layer in ours.layers():
            layer.lora_B.normal_(0, 0.05)
            theirs = mixed.base_model.model.get_submodule(name)
            for language in languages:
                a, b = layer.adapter(language)
                theirs.lora_A[language].weight.copy_(a)
                theirs.lora_B[language].weight.copy_(b.T)
    loops = {}
    for what, gathered in (("loop with masks", False), ("loop over parts of the batch", True)):
        # Only the layers are other ones; weights are the same.
        model = copy.deepcopy(base)
        for name, layer in ours.layers():
            model.set_submodule(name, Looped(layer, codes, gathered=gathered))
        loops[what] = model
    embeddings = base.get_input_embeddings()(ids).detach() * options.width**0.5
    decoder = {"decoder_input_ids": ids}

    def trained(model: nn.Module, **route: object) -> Call:
        def call() -> torch.Tensor:
            x = embeddings.clone().requires_grad_()
            for parameter in model.parameters():
                parameter.grad = None
            logits = model(inputs_embeds=x, **decoder, **route).logits
            logits.square().mean().backward()
            return logits.detach().cpu()  # a GPU has finished only then

        return call

    @torch.no_grad()
    def read(model: nn.Module, **route: object) -> torch.Tensor:
        return model(inputs_embeds=embeddings, **decoder, **route).logits.cpu()

    route = {"source": codes, "target": codes}
    both = {"LSLo": trained(ours, **route), "plain LoRA (peft)": trained(plain), "frozen base": trained(base)}
    both["weight learning"] = trained(learn(copy.deepcopy(base), languages, options.rank), **route)
    both |= {name: trained(model) for name, model in loops.items()}
    forward = {"LSLo": lambda: read(ours, **route), "peft, adapters mixed": lambda: read(mixed, adapter_names=codes)}
    return both, forward


def check(found: dict[str, torch.Tensor]) -> None:
    """All that compute the same agree."""
    for name, logits in found.items():
        if name in ("plain LoRA (peft)", "frozen base", "weight learning"):
            continue
        apart = ((logits - found["LSLo"]).norm() / found["LSLo"].norm()).item()
        assert apart < CLOSE, f"{name} differs by {apart:.1e}"


def main() -> None:
    parser = parser_of(__doc__, rounds=3)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=1, help="of encoder and decoder each")
    parser.add_argument("--languages", type=int, nargs="+", default=[12, 30])
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32, help="of a sample")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    options = started(parser)
    rows, where = [], "" if options.device == "cpu" else f" on {torch.cuda.get_device_name(options.device)}"
    for count in options.languages:
        shape = f"d={options.width} T={options.tokens} B={options.batch} r={options.rank}, {count} languages{where}"
        calls = ways(options, [f"l{i}" for i in range(count)])
        for case, named in zip((f"train, {shape}", f"forward, {shape}"), calls, strict=True):
            found = best(named, options.rounds, check)
            mine = ("LSLo", *found.pop("LSLo"))
            rows += [compared("lslo", case, mine, (name, *it), threads=options.threads) for name, it in found.items()]
    write_csv(options.csv, rows)


if __name__ == "__main__":
    main()
