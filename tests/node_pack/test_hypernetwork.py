"""Hypernetworks: the layers that a file's words make of its tensors."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths.hypernetwork import HypernetworkPatch  # noqa: E402

pytestmark = pytest.mark.torch

SIZE = 4


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def side(seed: int, *names: str, norms: bool = False) -> dict[str, torch.Tensor]:
    """Two linear layers of one side, named as they stand in a file, each with a norm or none."""
    tensors = {}
    for place, name in enumerate(names):
        is_norm = norms and place % 2 == 1
        first = place < (2 if norms else 1)
        given, made = (SIZE, 2 * SIZE) if first else (2 * SIZE, SIZE)
        shape = (made,) if is_norm else (made, given)
        tensors[f"{name}.weight"] = drawn(*shape, seed=seed + place)
        tensors[f"{name}.bias"] = drawn(made, seed=seed + 10 + place)
    return tensors


def changed(content: dict[Any, Any], strength: float = 0.7) -> tuple[Any, Any, Any]:
    given = drawn(2, 3, SIZE, seed=1), drawn(2, 5, SIZE, seed=2), drawn(2, 5, SIZE, seed=3)
    found = HypernetworkPatch(content, strength)(*given, {})
    assert torch.equal(found[0], given[0])
    return given[1], found[1], found[2]


def linear(x: Any, tensors: dict[str, Any], name: str) -> Any:
    return torch.nn.functional.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])


@pytest.mark.parametrize(
    ("words", "activation", "at_the_end"),
    [
        ({}, None, True),
        ({"activation_func": None}, None, True),
        ({"activation_func": "relu"}, torch.relu, True),
        ({"activation_func": "relu", "activate_output": False}, torch.relu, False),
        ({"activation_func": "gelu", "use_dropout": True}, torch.nn.functional.gelu, True),
        ({"activation_func": "swish"}, torch.nn.functional.hardswish, True),
    ],
)
@pytest.mark.parametrize("names", [("linear.0", "linear.2"), ("linear1", "linear2")])
def test_two_layers(words: dict[str, Any], activation: Any, at_the_end: bool, names: Any) -> None:
    keys, values = side(100, *names), side(200, *names)
    key, found, _ = changed({SIZE: (keys, values), "layer_structure": [1, 2, 1], **words})
    act = activation or (lambda x: x)
    expected = linear(act(linear(key, keys, names[0])), keys, names[1])
    expected = act(expected) if at_the_end else expected
    assert torch.allclose(found, key + 0.7 * expected, atol=1e-6)


def test_layer_norms_follow_the_activation() -> None:
    names = ("linear.0", "linear.2", "linear.3", "linear.4")
    keys, values = side(100, *names, norms=True), side(200, *names, norms=True)
    words = {"activation_func": "tanh", "is_layer_norm": True, "activate_output": False}
    key, found, _ = changed({SIZE: (keys, values), **words})

    def norm(x: Any, name: str) -> Any:
        weight, bias = keys[f"{name}.weight"], keys[f"{name}.bias"]
        return torch.nn.functional.layer_norm(x, weight.shape, weight, bias)

    hidden = norm(torch.tanh(linear(key, keys, "linear.0")), "linear.2")
    expected = norm(linear(hidden, keys, "linear.3"), "linear.4")
    assert torch.allclose(found, key + 0.7 * expected, atol=1e-6)


def test_values_have_a_network_of_their_own_and_other_sizes_none() -> None:
    keys, values = side(100, "linear.0", "linear.1"), side(200, "linear.0", "linear.1")
    _, key, value = changed({SIZE: (keys, values)})
    assert not torch.allclose(key, value)
    key, same, _ = changed({SIZE + 1: (keys, values)})
    assert torch.equal(key, same)


def test_an_activation_that_a1111_does_not_know_is_refused() -> None:
    sides = side(100, "linear.0", "linear.1"), side(200, "linear.0", "linear.1")
    with pytest.raises(ValueError, match='no activation "nope"'):
        changed({SIZE: sides, "activation_func": "nope"})
