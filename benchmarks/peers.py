"""Other ways to the sum of squared per-example gradients of some weight matrices; each gives {name: squares}.

The loop and `vmap` take any model. BackPACK and nngeometry watch layers of known classes, and no attention of
transformers is among them: they are asked for a stack of feed-forward layers. nngeometry's rule for a linear layer
takes examples of one token only; a convolution with a kernel of one is the same map, and has a rule for more.
BackPACK's own `SumGradSquared` holds examples x tokens x weights of a layer and is far behind on sequences, so its
gradients of single examples are squared here.
"""

import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

Squares = dict[str, Tensor]


class Stack(nn.Module):
    """Feed-forward blocks d -> 4d -> d one after the other, and a head: hidden (B, T, d) to logits (B, T, V)."""

    def __init__(self, width: int, blocks: int, vocabulary: int):
        super().__init__()
        torch.manual_seed(0)
        linear = [(nn.Linear(width, 4 * width), nn.Linear(4 * width, width)) for _ in range(blocks)]
        self.body = nn.Sequential(*(part for up, down in linear for part in (up, nn.ReLU(), down, nn.ReLU())))
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.config = type("Config", (), {"is_encoder_decoder": False})()

    def forward(self, hidden: Tensor) -> "Logits":
        return Logits(self.head(self.body(hidden)))


class Logits:
    """What a model of transformers returns, as far as it is looked at here."""

    def __init__(self, logits: Tensor):
        self.logits = logits


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """-log P summed over all tokens."""
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="sum")


def plain(model: nn.Module, batch: Mapping[str, Tensor], names: list[str]) -> None:
    """One forward and backward pass with the gradients of these parameters; nothing else."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in names)
    loss(model(**inputs).logits, batch["labels"]).backward()
    model.zero_grad(set_to_none=True)
    model.requires_grad_(True)


def loop(model: nn.Module, batch: Mapping[str, Tensor], names: list[str]) -> Squares:
    """One example after the other through autograd."""
    wanted = dict(model.named_parameters())
    chosen = [wanted[name] for name in names]
    squares = [torch.zeros_like(parameter) for parameter in chosen]
    for b in range(len(batch["labels"])):
        one = {name: tensor[b : b + 1] for name, tensor in batch.items()}
        labels = one.pop("labels")
        for total, g in zip(squares, torch.autograd.grad(loss(model(**one).logits, labels), chosen), strict=True):
            total.addcmul_(g, g)
    return dict(zip(names, squares, strict=True))


def with_vmap(chunk: int | None = None) -> Callable[..., Squares]:
    """`torch.func.vmap(grad)`: `chunk` examples at a time (None: all)."""

    def squares(model: nn.Module, batch: Mapping[str, Tensor], names: list[str]) -> Squares:
        everything = dict(model.named_parameters())
        chosen = {name: everything[name].detach() for name in names}

        def of_one(chosen: Squares, one: dict[str, Tensor]) -> Tensor:
            rows = {name: tensor[None] for name, tensor in one.items()}
            labels = rows.pop("labels")
            return loss(functional_call(model, chosen, (), rows).logits, labels)

        total = {name: torch.zeros_like(parameter) for name, parameter in chosen.items()}
        size = len(batch["labels"])
        for start in range(0, size, chunk or size):
            some = {name: tensor[start : start + (chunk or size)] for name, tensor in batch.items()}
            with torch.no_grad():  # of the other parameters
                found = vmap(grad(of_one), in_dims=(None, 0))(chosen, some)
            for name, g in found.items():
                total[name] += g.square_().sum(0)
        return total

    return squares


def backpack(model: Stack, batch: Mapping[str, Tensor], names: list[str]) -> Squares:
    """BackPACK's gradients of single examples (`BatchGrad`), squared and summed; of a `backpack_stack`."""
    from backpack import backpack as extended
    from backpack.extensions import BatchGrad

    with extended(BatchGrad()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Full backward hook")
        loss(model.head(model.body(batch["hidden"])), batch["labels"]).backward()
    parameters = dict(model.named_parameters())
    found = {}
    for name in names:
        found[name] = parameters[name].grad_batch.square_().sum(0)
        del parameters[name].grad_batch
    model.zero_grad(set_to_none=True)
    return found


def backpack_stack(model: Stack) -> Stack:
    """A copy of the stack that BackPACK watches, without biases' gradients."""
    from backpack import extend

    copied = Stack(model.head.in_features, len(model.body) // 4, model.head.out_features)
    copied.load_state_dict(model.state_dict())
    extend(copied.body)
    for name, parameter in copied.named_parameters():
        parameter.requires_grad_(name.startswith("body") and name.endswith("weight"))
    return copied


def nngeometry(model: nn.Sequential, batch: Mapping[str, Tensor], names: list[str], *, head: nn.Module) -> Squares:
    """nngeometry's diagonal of the second moment of gradients, of the stack as convolutions (`convolutions`)."""
    from nngeometry.backend import TorchHooksJacobianBackend
    from nngeometry.layercollection import LayerCollection

    def per_example(hidden: Tensor, labels: Tensor) -> Tensor:  # (B, 1), its backend wants one output an example
        logits = head(model(hidden).transpose(1, 2))
        each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        return each.view(labels.shape).sum(1, keepdim=True)

    layers = LayerCollection.from_model(model)
    backend = TorchHooksJacobianBackend(layer_collection=layers, model=model, function=per_example)
    examples = (batch["hidden"].transpose(1, 2), batch["labels"])
    flat = backend.get_covariance_diag(examples) * len(batch["labels"])
    found, start = {}, 0
    for name, parameter in model.named_parameters():
        if name.endswith("weight"):
            found[f"body.{name}"] = flat[start : start + parameter.numel()].view(parameter.shape).squeeze(-1)
        start += parameter.numel()
    return {name: found[name] for name in names}


def convolutions(model: Stack) -> nn.Sequential:
    """The stack's body as convolutions with kernels of one over (B, d, T): the same map, the same weights."""
    layers = []
    for layer in model.body:
        if isinstance(layer, nn.Linear):
            turned = nn.Conv1d(layer.in_features, layer.out_features, 1)
            turned.load_state_dict({"weight": layer.weight[..., None], "bias": layer.bias})
            layer = turned
        layers.append(layer)
    return nn.Sequential(*layers)


def installed(package: str) -> bool:
    """Whether a peer is there (`benchmarks/requirements.txt`)."""
    return find_spec(package) is not None
