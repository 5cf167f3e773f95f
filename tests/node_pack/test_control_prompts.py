"""ControlNet's image prompts, revision and faces: what the nodes make of tokens and patches."""

from __future__ import annotations

import base64
import io
import sys
import types
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths import control_ops  # noqa: E402
from custom_nodes.comfyui_a1111.nodes import faces, image_prompts  # noqa: E402
from tests.node_pack.test_control_nodes import FakeModel, photo, tensor  # noqa: E402

pytestmark = pytest.mark.torch


class Face(dict):  # type: ignore[type-arg]
    """InsightFace's: a dictionary whose values are attributes as well."""

    __getattr__ = dict.__getitem__


class TestPrompts:
    def test_an_image_prompt_of_several_pictures_has_the_mean_of_their_tokens(self) -> None:
        class Patch:
            def __init__(self, *values: float) -> None:
                self.callback: list[Any] = [None] * len(values)
                self.kwargs: list[Any] = [
                    {"cond": torch.tensor([value]), "uncond": torch.tensor([-value]), "weight": 1}
                    for value in values
                ]

        class Model:
            def __init__(self, patch: Patch) -> None:
                replaced = {"patches_replace": {"attn2": {("input", 4): patch}}}
                self.model_options: dict[str, Any] = {"transformer_options": replaced}

            def clone(self) -> Any:
                made = Model(Patch())
                made.model_options = {**self.model_options}
                return made

        def numbers(model: Any) -> list[Any]:
            attn2 = model.model_options["transformer_options"]["patches_replace"]["attn2"]
            kwargs = attn2["input", 4].kwargs
            return [(float(item["cond"]), float(item["uncond"]), item["weight"]) for item in kwargs]

        average = image_prompts.A1111AverageImagePrompts().average
        one, two, three = (Model(Patch(9.0, value)) for value in (1.0, 2.0, 6.0))
        first, _ = average(one, two, 1)
        face = {"cond": torch.ones(1), "uncond": torch.zeros(1)}
        other = {"cond": torch.full((1,), 4.0), "uncond": torch.zeros(1)}
        both, tokens = average(first, three, 2, face, other)
        assert numbers(both) == [(9.0, -9.0, 1), (3.0, -3.0, 1)]
        assert numbers(one) == [(9.0, -9.0, 1), (1.0, -1.0, 1)], "the first model stays"
        assert float(tokens["cond"]) == 2.0

    def test_of_several_faces_the_largest_comes_first(self) -> None:
        boxes = [(0, 0, 9, 9), (5, 5, 30, 20), (0, 0, 4, 4), (40, 0, 65, 15)]
        analysis = SimpleNamespace(
            get=lambda image: [{"bbox": box} for box in boxes],
            det_model=SimpleNamespace(input_size=(320, 320)),
        )
        (wrapped,) = faces.A1111LargestFace().wrap(analysis)
        found = [face["bbox"] for face in wrapped.get(None)]
        assert found == [boxes[3], boxes[1], boxes[0], boxes[2]]
        assert wrapped.det_model.input_size == (640, 640)

    @pytest.mark.parametrize("normed", [False, True])
    def test_a_faces_tensor_is_what_torch_saves(self, normed: bool) -> None:
        seen: list[Any] = []

        def get(image: np.ndarray) -> list[Any]:
            seen.append(image)
            return [face(0, 9, 1.0), face(5, 40, 2.0)]

        def face(left: int, right: int, value: float) -> Any:
            numbers = np.full(512, value, np.float32)
            return Face(bbox=(left, 0, right, 9), embedding=numbers, normed_embedding=numbers / 4)

        analysis = SimpleNamespace(get=get, det_model=SimpleNamespace(input_size=None))
        image = photo()
        (text,) = faces.A1111FaceTensor().embed(tensor(image), normed, insightface=analysis)
        found = torch.load(io.BytesIO(base64.b64decode(text)))
        expected = torch.full((1, 512), 0.5) if normed else torch.full((512,), 2.0)
        assert found.shape == expected.shape and torch.equal(found, expected)
        assert (seen[0] == image[..., ::-1]).all()
        assert analysis.det_model.input_size == (640, 640)
        nobody = SimpleNamespace(get=lambda image: [], det_model=SimpleNamespace())
        with pytest.raises(ValueError, match="No face detected"):
            faces.A1111FaceTensor().embed(tensor(image), normed, faceanalysis=nobody)


class Patch:
    """An attention patch as the packs keep it."""

    def __init__(self, name: str) -> None:
        self.callback = [name]
        self.kwargs = [{"of": name}]


class TestAttention:
    def test_the_middle_block_is_filed_where_comfyui_looks(self) -> None:
        patches = {("input", 4, 0): Patch("a"), ("middle", 1, 3): Patch("b"), ("middle", 1): 5}
        owned = control_ops.own_attention(patches)
        assert set(owned) == {("input", 4, 0), ("middle", 0, 3), ("middle", 0)}

    def test_patches_of_both_packs_for_the_middle_block_are_joined(self) -> None:
        patches = {("middle", 0, 3): Patch("face"), ("middle", 1, 3): Patch("image")}
        owned = control_ops.own_attention(patches)
        assert owned[("middle", 0, 3)].callback == ["face", "image"]
        assert patches[("middle", 0, 3)].callback == ["face"]

    def test_adding_to_an_owned_patch_leaves_the_first_model_alone(self) -> None:
        model = FakeModel()
        first = {("input", 4, 0): Patch("a")}
        model.model_options = {"transformer_options": {"patches_replace": {"attn2": first}}}
        (owned,) = image_prompts.A1111ControlNetAttention().own(model, "next")
        replaced = owned.model_options["transformer_options"]["patches_replace"]["attn2"]
        replaced[("input", 4, 0)].callback.append("b")
        assert first[("input", 4, 0)].callback == ["a"]


class TestRevision:
    conditioning = ([torch.ones(1, 77, 8), {"pooled_output": torch.full((1, 1280), 2.0)}],)

    def revise(self, image: Any = None, **fields: Any) -> Any:
        given = {
            "strength": 0.5,
            "noise_augmentation": 0.0,
            "seed": 1,
            "add": False,
            "zero_text": False,
            **fields,
        }
        vision = None if image is None else SimpleNamespace(image_embeds=image)
        (revised,) = image_prompts.A1111Revision().revise(
            list(self.conditioning), clip_vision_output=vision, **given
        )
        return revised[0]

    def test_the_image_stands_in_for_the_pooled_text(self) -> None:
        image = torch.full((1, 1280), 3.0)
        text, values = self.revise(image)
        assert torch.equal(text, self.conditioning[0][0])
        assert float(values["pooled_output"].mean()) == pytest.approx(1.5, abs=0.01)
        assert float(values["pooled_output"].std()) == pytest.approx(0.005, rel=0.2)

    def test_a_second_image_is_added(self) -> None:
        _, values = self.revise(torch.full((1, 1280), 3.0), add=True)
        assert float(values["pooled_output"].mean()) == pytest.approx(3.5, abs=0.01)

    def test_without_an_image_the_pooled_text_is_nothing(self) -> None:
        _, values = self.revise()
        assert not values["pooled_output"].any()
        assert self.conditioning[0][1]["pooled_output"].all()

    def test_the_text_can_go_too(self) -> None:
        assert not self.revise(zero_text=True)[0].any()

    def test_full_augmentation_is_all_noise(self) -> None:
        found = control_ops.revision_pooled(torch.full((1, 1280), 3.0), 1.0, 1.0, 4)
        later = control_ops.revision_pooled(torch.full((1, 1280), 3.0), 1.0, 1.0, 4, 1280)
        generator = torch.Generator().manual_seed(4)
        first, second = (torch.randn(1, 1280, generator=generator) for _ in range(2))
        assert torch.corrcoef(torch.cat([found, first]))[0, 1] > 0.99
        assert torch.corrcoef(torch.cat([later, second]))[0, 1] > 0.99
        assert abs(float(found.mean())) < 0.2
        assert float(found.std()) == pytest.approx(1.0, abs=0.1)


class TestResiduals:
    def test_sums_block_by_block(self) -> None:
        one = {"output": [torch.ones(1), None], "middle": [torch.ones(1)]}
        two = {"output": [torch.ones(1), torch.ones(1), torch.ones(1)], "input": [None]}
        total = control_ops.add_residuals(one, two)
        assert total is not None
        assert [None if item is None else float(item) for item in total["output"]] == [2, 1, 1]
        assert float(total["middle"][0]) == 1
        assert total["input"] == [None]

    def test_nothing_adds_nothing(self) -> None:
        one = {"output": [torch.ones(1)]}
        assert control_ops.add_residuals(None, one) is one
        assert control_ops.add_residuals(one, None) is one
        assert control_ops.add_residuals(None, None) is None

    def test_tokens_follow_the_rows_of_the_batch(self) -> None:
        cond, uncond = torch.full((1, 2, 3), 1.0), torch.zeros(1, 2, 3)
        tokens = control_ops.tokens_of_batch(cond, uncond, [1, 0], 4)
        assert tokens[:, 0, 0].tolist() == [0, 0, 1, 1]
        assert control_ops.tokens_of_batch(cond, uncond, [0], 3).shape == (3, 2, 3)


class FakeControlBase:
    """As much of ComfyUI's ControlBase as a link in the chain needs."""

    def __init__(self) -> None:
        self.previous_controlnet: Any = None

    def set_previous_controlnet(self, control: Any) -> Any:
        self.previous_controlnet = control
        return self


class FakeNet(FakeControlBase):
    """A ControlNet whose one residual is the mean of the text it read."""

    def __init__(self) -> None:
        super().__init__()
        self.hints: list[Any] = []

    def copy(self) -> FakeNet:
        return FakeNet()

    def set_cond_hint(self, hint: Any, strength: float, window: tuple[float, float]) -> FakeNet:
        self.hints.append((tuple(hint.shape), strength, window))
        return self

    def get_control(self, x: Any, t: Any, cond: dict[str, Any], n: int, options: Any) -> Any:
        text = cond.get("crossattn_controlnet", cond["c_crossattn"])
        return {"output": [text.mean(dim=(1, 2))]}


class TestFaces:
    @pytest.fixture(autouse=True)
    def comfy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        controlnet = types.ModuleType("comfy.controlnet")
        controlnet.ControlBase = FakeControlBase  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "comfy", types.ModuleType("comfy"))
        monkeypatch.setitem(sys.modules, "comfy.controlnet", controlnet)
        monkeypatch.delitem(
            sys.modules, "custom_nodes.comfyui_a1111.nodes.face_control", raising=False
        )

    def apply(self, value: float, positive: Any, negative: Any, strength: float = 1.0) -> Any:
        face = {"cond": torch.full((1, 16, 4), value), "uncond": torch.zeros(1, 16, 4)}
        return faces.A1111InstantIDControlNet().apply(
            face, FakeNet(), torch.zeros(1, 64, 48, 3), positive, negative, strength, 0.0, 0.5
        )

    def test_each_face_reaches_its_own_controlnet_and_the_prompt_the_others(self) -> None:
        plain = FakeNet()
        positive = [[torch.zeros(1), {"control": plain}]]
        negative = [[torch.zeros(1), {"control": plain}]]
        positive, negative = self.apply(2.0, positive, negative)
        positive, negative = self.apply(5.0, positive, negative)
        control = positive[0][1]["control"]
        assert control is negative[0][1]["control"]
        prompt = {"c_crossattn": torch.full((2, 7, 4), 100.0)}
        options = {"cond_or_uncond": [1, 0]}
        found = control.get_control(torch.zeros(2, 4, 8, 6), None, prompt, 2, options)
        assert found["output"][0].tolist() == [100.0, 107.0]

    def test_positive_only_gives_the_negative_prompt_the_same_face(self) -> None:
        face = {"cond": torch.full((1, 3, 4), 2.0), "uncond": torch.full((1, 3, 4), 9.0)}
        found = {}
        for positive_only in (False, True):
            positive, negative = [[torch.zeros(1), {}]], [[torch.zeros(1), {}]]
            image = torch.zeros(1, 64, 48, 3)
            bound, _ = faces.A1111InstantIDControlNet().apply(
                face, FakeNet(), image, positive, negative, 1.0, 0.0, 1.0, positive_only
            )
            prompt = {"c_crossattn": torch.zeros(2, 7, 4)}
            options = {"cond_or_uncond": [1, 0]}
            control = bound[0][1]["control"]
            residuals = control.get_control(torch.zeros(2, 4, 8, 6), None, prompt, 2, options)
            found[positive_only] = residuals["output"][0].tolist()
        assert found == {False: [9.0, 2.0], True: [2.0, 2.0]}

    def test_no_strength_is_no_controlnet(self) -> None:
        positive, negative = [[torch.zeros(1), {}]], [[torch.zeros(1), {}]]
        assert self.apply(2.0, positive, negative, strength=0.0) == (positive, negative)
