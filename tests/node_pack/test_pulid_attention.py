"""PuLID's attention: the pack's patches become A1111's, by its formula worked out apart."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths import pulid_attention  # noqa: E402
from custom_nodes.comfyui_a1111.nodes.faces import A1111StrictFaceAnalysis  # noqa: E402
from custom_nodes.comfyui_a1111.nodes.image_prompts import (  # noqa: E402
    A1111ControlNetAttention,
)

pytestmark = pytest.mark.torch

HEADS, WIDTH, PLACES, TOKENS, TEXT = 2, 8, 6, 13, 5


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layers() -> Any:
    linear = {}
    for number, kind in enumerate(("k", "v")):
        weight = random(WIDTH, TEXT, seed=number)
        linear[f"7_to_{kind}_ip"] = lambda tokens, weight=weight: tokens @ weight.T
    return SimpleNamespace(ip_layers=SimpleNamespace(to_kvs=linear))


FACE = {
    "module_key": "7",
    "pulid": layers(),
    "cond": random(1, TOKENS, TEXT, seed=3),
    "uncond": random(1, TOKENS, TEXT, seed=4),
    "weight": 0.7,
    "sigma_start": 99.0,
    "sigma_end": 0.0,
}
Q, FED = random(2, PLACES, WIDTH, seed=5), random(2, PLACES, WIDTH, seed=6)
OPTIONS = {
    "n_heads": HEADS,
    "cond_or_uncond": [1, 0],
    "original_shape": (2, 4, 4, 6),
    "a1111_attention_input": FED,
}


def by_hand(row: int, tokens: torch.Tensor, mode: str) -> torch.Tensor:
    """One row's share, head by head in plain sums."""
    key, value = (FACE["pulid"].ip_layers.to_kvs[f"7_to_{kind}_ip"](tokens[0]) for kind in "kv")
    size = WIDTH // HEADS
    parts, heeds = [], []
    for head in range(HEADS):
        cut = slice(head * size, (head + 1) * size)
        scores = Q[row][:, cut] @ key[:, cut].T
        parts.append((scores / size**0.5).softmax(-1) @ value[:, cut])
        heeds.append(scores.softmax(-1)[:, :5].sum(-1))
    face, heed = torch.cat(parts, dim=1), sum(heeds) / HEADS
    along = torch.stack(
        [
            (FED[row][:, channel] @ face[:, channel])
            / (FED[row][:, channel] @ FED[row][:, channel])
            * FED[row][:, channel]
            for channel in range(WIDTH)
        ],
        dim=1,
    )
    if mode == "ortho":
        return 0.7 * (face - along)
    if mode == "ortho_v2":
        return 0.7 * (face + (heed[:, None] - 1) * along)
    return 0.7 * face


@pytest.mark.parametrize("mode", ["ortho", "ortho_v2", "neither"])
def test_the_share_of_a_face(mode: str) -> None:
    modes = {"ortho": mode == "ortho", "ortho_v2": mode == "ortho_v2"}
    made = pulid_attention.attend(Q, Q, Q, Q, OPTIONS, **FACE, **modes)
    for row, tokens in ((0, FACE["uncond"]), (1, FACE["cond"])):
        torch.testing.assert_close(made[row], by_hand(row, tokens, mode))


@pytest.mark.parametrize(("height", "width"), [(4, 6), (3, 5)])
def test_a_region_leaves_the_rest_alone(height: int, width: int) -> None:
    mask = torch.zeros(1, height * 8, width * 8)
    mask[..., : width * 4] = 1.0
    options = {**OPTIONS, "original_shape": (2, 4, height, width)}
    modes = {"ortho": False, "ortho_v2": False}
    whole = pulid_attention.attend(Q, Q, Q, Q, options, **FACE, **modes)
    part = pulid_attention.attend(Q, Q, Q, Q, options, **FACE, **modes, mask=mask)
    columns = part.view(2, -(-height // 2), -(-width // 2), WIDTH)
    assert not columns[:, :, -1].any()
    assert torch.equal(columns[:, :, 0], whole.view(columns.shape)[:, :, 0])


def pulid_attention_of_the_pack() -> None:
    raise AssertionError("the pack's function is not called")


pulid_attention_of_the_pack.__name__ = "pulid_attention"


class Patch:
    """An attention patch as IPAdapter_plus and PuLID_ComfyUI keep it."""

    def __init__(self, *callbacks: Any) -> None:
        self.callback, self.kwargs = list(callbacks), [{} for _ in callbacks]


class Model:
    def __init__(self, attn2: dict[Any, Any]) -> None:
        self.model_options: dict[str, Any] = {
            "transformer_options": {"patches_replace": {"attn2": attn2}}
        }

    def clone(self) -> Model:
        return Model(self.model_options["transformer_options"]["patches_replace"]["attn2"])

    def set_model_attn2_patch(self, patch: Any) -> None:
        patches = self.model_options["transformer_options"].setdefault("patches", {})
        patches.setdefault("attn2_patch", []).append(patch)


def image_prompt() -> None:
    raise AssertionError("not called")


def test_the_packs_function_is_replaced_on_copies_and_the_input_kept_once() -> None:
    faces, other = Patch(image_prompt, pulid_attention_of_the_pack), Patch(image_prompt)
    model = Model({("middle", 1, 0): faces, ("input", 4, 0): other})
    (own,) = A1111ControlNetAttention().own(model, "sampling")
    options = own.model_options["transformer_options"]
    patches = options["patches_replace"]["attn2"]
    assert patches["middle", 0, 0].callback == [image_prompt, pulid_attention.attend]
    assert patches["input", 4, 0].callback == [image_prompt]
    assert faces.callback[1] is pulid_attention_of_the_pack
    assert options["patches"]["attn2_patch"] == [pulid_attention.remember_input]


def test_without_pulid_the_model_has_no_patch_more() -> None:
    (own,) = A1111ControlNetAttention().own(Model({("input", 4, 0): Patch(image_prompt)}), "x")
    assert "patches" not in own.model_options["transformer_options"]


def test_the_input_is_kept_as_it_is() -> None:
    options: dict[str, Any] = {}
    assert pulid_attention.remember_input(FED, Q, Q, options) == (FED, Q, Q)
    assert options["a1111_attention_input"] is FED


def test_a_picture_without_a_face_is_an_error() -> None:
    found: list[Any] = []
    detector = SimpleNamespace(input_size=None)
    inner = SimpleNamespace(get=lambda image: found, det_model=detector)
    (strict,) = A1111StrictFaceAnalysis().wrap(inner)
    assert strict.det_model is detector
    with pytest.raises(ValueError, match="No face detected"):
        strict.get("picture")
    assert detector.input_size == (640, 640)
    small, large = {"bbox": (0, 0, 4, 4)}, {"bbox": (0, 0, 9, 9)}
    found.extend([small, large])
    assert strict.get("picture") == [large, small]
