"""A model as the estimators need it for a while, and afterwards exactly as it was found."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def borrowed(model: nn.Module, *, training: bool, seed: int, trainable: Collection[str] = ()) -> Iterator[None]:
    """Put the model into training or evaluation mode with only the `trainable` parameters requiring gradients, and
    seed the global random numbers (dropout, layer-drop).

    On leaving, also by an error, all of it is restored: every module's mode, every parameter's `requires_grad`, and
    the state of the random numbers. Gradients in `.grad` are not touched.
    """
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    devices = range(torch.cuda.device_count())
    try:
        with torch.random.fork_rng(devices=devices), torch.enable_grad():
            torch.manual_seed(seed)
            model.train(training)
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(name in trainable)
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
