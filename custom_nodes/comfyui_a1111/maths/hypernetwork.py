"""Hypernetworks as A1111 builds them from a file: ``modules/hypernetworks/hypernetwork.py``.

ComfyUI's own loader takes an activation for missing where A1111 has one (and the other way round
beside layer norms), leaves dropout switched on, and knows nine activations.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

_OLD_NAMES = {"linear1": "linear.0", "linear2": "linear.1"}

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "leakyrelu": nn.LeakyReLU,
    "elu": nn.ELU,
    "swish": nn.Hardswish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
} | {
    name.lower(): kind
    for name, kind in inspect.getmembers(torch.nn.modules.activation, inspect.isclass)
    if kind.__module__ == "torch.nn.modules.activation"
}
"""A1111's name of an activation -> what it is."""


class HypernetworkPatch:
    """Changes keys and values of every attention whose context has a size of the file.

    Args:
        content: the file's: the size of a context -> tensors for keys and for values, beside what
            tells how the layers go together.

    Raises:
        ValueError: an activation that A1111 does not know.
    """

    def __init__(self, content: Mapping[Any, Any], strength: float) -> None:
        self.strength = strength
        self.networks = {
            size: nn.ModuleList(_network(tensors, content) for tensors in pair)
            for size, pair in content.items()
            if isinstance(size, int)
        }

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor, Tensor]:
        del options
        networks = self.networks.get(key.shape[-1])
        if networks is not None:
            key = key + networks[0](key) * self.strength
            value = value + networks[1](value) * self.strength
        return query, key, value

    def to(self, *args: Any, **more: Any) -> HypernetworkPatch:
        """Move the networks, or change their type: ComfyUI does so with the model."""
        for networks in self.networks.values():
            networks.to(*args, **more)
        return self


def _network(tensors: Mapping[str, Tensor], content: Mapping[Any, Any]) -> nn.Sequential:
    """The layers of one side; what dropout there was does nothing after training."""
    name = content.get("activation_func") or "linear"
    if name not in ACTIVATIONS:
        raise ValueError(f'A1111 knows no activation "{name}"')
    pairs = list(_layers(tensors))
    linears = sum(weight.ndim == 2 for weight, _ in pairs)
    activated = linears if content.get("activate_output", True) else linears - 1
    layers: list[nn.Module] = []
    place = 0
    for weight, bias in pairs:
        if weight.ndim == 2:
            layers.append(_filled(nn.Linear(weight.shape[1], weight.shape[0]), weight, bias))
            if place < activated:
                layers.append(ACTIVATIONS[name]())
            place += 1
        else:
            layers.append(_filled(nn.LayerNorm(weight.shape[0]), weight, bias))
    return nn.Sequential(*layers).eval().requires_grad_(False)


def _layers(tensors: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Weight and bias of each layer that has them, first to last."""
    renamed = {}
    for name, tensor in tensors.items():
        stem, _, kind = name.rpartition(".")
        renamed[f"{_OLD_NAMES.get(stem, stem)}.{kind}"] = tensor
    for place in sorted({int(name.split(".")[1]) for name in renamed}):
        yield renamed[f"linear.{place}.weight"], renamed[f"linear.{place}.bias"]


def _filled(layer: nn.Module, weight: Tensor, bias: Tensor) -> nn.Module:
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer
