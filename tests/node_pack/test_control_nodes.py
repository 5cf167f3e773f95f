"""ControlNet nodes: preprocessors, finishing, what units do to predictions."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")
ndimage = pytest.importorskip("scipy.ndimage")

from custom_nodes.comfyui_a1111.maths import control_ops, controlnet_ops, preprocess_ops  # noqa: E402
from custom_nodes.comfyui_a1111.nodes import control  # noqa: E402

pytestmark = pytest.mark.torch


def photo(height: int = 96, width: int = 64, seed: int = 3) -> np.ndarray:
    """A smooth colourful picture, uint8."""
    small = np.random.RandomState(seed).uniform(0, 255, (8, 6, 3)).astype(np.float32)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def tensor(levels: np.ndarray) -> Any:
    return torch.from_numpy(levels.astype(np.float32) / 255.0)[None]


def levels(image: Any) -> np.ndarray:
    return np.rint(image[0].numpy() * 255).astype(np.uint8)


def preprocess(module: str, image: np.ndarray, **values: Any) -> np.ndarray:
    given = {"resolution": 64, "threshold_a": 1.0, "seed": 0, **values}
    return levels(
        control.A1111ControlNetPreprocessor().preprocess(tensor(image), module, **given)[0]
    )


class TestPreprocessors:
    def test_threshold_is_white_where_the_darkest_channel_is_above(self) -> None:
        image = photo()
        found = preprocess("threshold", image, threshold_a=100.0)
        expected = np.zeros_like(image)
        expected[np.min(image, axis=2) > 100] = 255
        assert (found == expected).all()
        assert 0 < found.mean() < 255

    def test_blur_works_on_the_scaled_image(self) -> None:
        image = photo()
        found = preprocess("blur_gaussian", image, resolution=32, threshold_a=2.5)
        small = controlnet_ops.scale_short_side(image, 32)
        assert found.shape == (48, 32, 3)
        assert (found == cv2.GaussianBlur(small, (0, 0), 2.5)).all()

    def test_invert_gives_whole_levels(self) -> None:
        image = np.arange(256, dtype=np.uint8).reshape(16, 16)[..., None].repeat(3, axis=2)
        assert (preprocess("invert", image) == 255 - image).all()

    def test_canny_works_on_the_padded_image(self) -> None:
        image = photo()
        found = preprocess("canny", image, resolution=50, threshold_a=60.0, threshold_b=120.0)
        small = controlnet_ops.scale_short_side(image, 50)
        padded = controlnet_ops.pad_to_multiple(small)
        expected = cv2.Canny(padded, 60, 120)[: small.shape[0], : small.shape[1]]
        assert (found == expected[..., None]).all()
        assert expected.any()

    def test_xdog_marks_what_is_darker_than_its_surroundings(self) -> None:
        image = np.full((64, 64, 3), 200, np.uint8)
        image[30:34] = 160
        found = preprocess("scribble_xdog", image, threshold_a=32.0)
        assert found[31, 32].tolist() == [255, 255, 255]
        assert found[5, 32].tolist() == [0, 0, 0]

    def test_lineart_brightens_by_the_median_of_what_is_dark(self) -> None:
        image = np.full((64, 64, 3), 200, np.uint8)
        image[30:34] = 120
        found = preprocess("lineart_standard", image)
        blurred = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 6.0)
        darker = (blurred - image).min(axis=2).clip(0, 255)
        level = max(16, np.median(darker[darker > 8]))
        expected = (darker / level * 127).clip(0, 255).astype(np.uint8)
        assert (found == expected[..., None]).all()
        assert preprocess("lineart_standard", np.full((64, 64, 3), 9, np.uint8)).max() == 0

    def test_anyline_lays_patches_of_the_faintest_lines_over_its_edges(self) -> None:
        image, resolution = photo(), 128
        image[:48] = np.linspace(20, 60, 64).astype(np.uint8)[:, None]
        edges = np.full((192, 128, 3), 90, np.uint8)
        made = control.A1111ControlNetAnyline().lay(tensor(image), tensor(edges), resolution)[0]
        drawing = preprocess("lineart_standard", image, resolution=resolution)[..., 0]
        patches, count = ndimage.label(drawing == 1)
        sizes = np.bincount(patches.ravel(), minlength=count + 1)
        kept = (patches > 0) & (sizes[patches] >= 12)
        assert 0 < kept.sum() < (drawing == 1).sum()
        assert (levels(made) == np.where(kept, 1, 90)[..., None]).all()

    def test_soft_edges_become_a_scribble_of_thick_lines(self) -> None:
        edges = np.zeros((64, 64, 3), np.uint8)
        edges[20:44] = 255
        found = preprocess("scribble_of_edges", edges)
        assert set(np.unique(found)) == {0, 255}
        assert found[32, 32, 0] == 255 and found[4, 32, 0] == 0

    def test_transparency_is_cut_to_whole_levels(self) -> None:
        colours = np.full((2, 2, 3), 101, np.uint8)
        alpha = np.array([[0, 255], [128, 7]], np.uint8)
        mask = torch.from_numpy(1.0 - alpha.astype(np.float32) / 255.0)[None]
        (laid,) = control.A1111ControlNetOnWhite().lay(tensor(colours), mask)
        assert levels(laid)[..., 0].tolist() == [[255, 101], [177, 250]]

    def test_shuffle_repeats_numpys_global_generator(self) -> None:
        image = photo(300, 280)
        np.random.seed(77)
        fields = []
        for extent in (279, 299):
            noise = np.random.uniform(low=0, high=1, size=(300 // 256 + 2, 280 // 256 + 2, 1))
            noise = cv2.resize(noise, (280 + 512, 300 + 512), interpolation=cv2.INTER_CUBIC)
            noise = noise[256 : 256 + 300, 256 : 256 + 280]
            noise -= np.min(noise)
            noise /= np.max(noise)
            fields.append(noise * float(extent))
        flow = np.stack(fields, axis=2).astype(np.float32)
        expected = cv2.remap(image, flow, None, cv2.INTER_LINEAR)
        assert (preprocess("shuffle", image, resolution=280, seed=77) == expected).all()

    @pytest.mark.parametrize(("rate", "size"), [(1.0, (96, 64)), (1.09, (96, 64)), (2.5, (38, 25))])
    def test_tile_makes_smaller_from_a_rate_of_1_1_on(
        self, rate: float, size: tuple[int, int]
    ) -> None:
        found = preprocess("tile_resample", photo(), threshold_a=rate)
        assert found.shape[:2] == size

    def test_tile_averages_areas(self) -> None:
        image = photo()
        expected = cv2.resize(image, (25, 38), interpolation=cv2.INTER_AREA)
        assert (preprocess("tile_resample", image, threshold_a=2.5) == expected).all()

    @pytest.mark.parametrize(
        ("module", "conversion", "channel"),
        [
            ("recolor_luminance", cv2.COLOR_BGR2LAB, 0),
            ("recolor_intensity", cv2.COLOR_BGR2HSV, 2),
        ],
    )
    def test_recolor_maps(self, module: str, conversion: int, channel: int) -> None:
        image = photo()
        plain = cv2.cvtColor(image, conversion)[..., channel].astype(np.float32) / 255.0
        expected = ((plain**1.7) * 255.0).clip(0, 255).astype(np.uint8)
        found = preprocess(module, image, threshold_a=1.7)
        assert (found == expected[..., None]).all()

    @pytest.mark.parametrize("resolution", [100, 256, 512, 768])
    def test_anime_faces_are_shown_as_torchvision_resizes_them(self, resolution: int) -> None:
        """A short side of 512 pixels, after scaling and padding; the long side cut to a pixel."""
        image = photo()
        short = min(image.shape[:2])
        size = [round(side * resolution / short) for side in image.shape[:2]]
        method = cv2.INTER_CUBIC if resolution > short else cv2.INTER_AREA
        scaled = cv2.resize(image, size[::-1], interpolation=method)
        padding = [(0, -side % 64) for side in size]
        padded = np.pad(scaled, [*padding, (0, 0)], mode="edge")
        transforms = pytest.importorskip("torchvision.transforms")
        bicubic = transforms.InterpolationMode.BICUBIC
        expected = np.asarray(transforms.Resize(512, bicubic)(Image.fromarray(padded)))
        assert (preprocess("anime_face_input", image, resolution=resolution) == expected).all()

    def test_every_module_of_the_node_is_listed(self) -> None:
        options = control.A1111ControlNetPreprocessor.INPUT_TYPES()["required"]["module"][0]
        assert set(options) == set(preprocess_ops.MODULES)


class TestDrawing:
    @pytest.mark.parametrize(
        ("mask", "drawing"),
        [
            (np.zeros((4, 4)), False),
            (np.full((4, 4), 5), False),
            (np.full((4, 4), 250), False),
            (np.full((4, 4), 6), True),
            (np.eye(4) * 255, True),
        ],
    )
    def test_a_mask_is_a_drawing_unless_nearly_black_or_white(
        self, mask: np.ndarray, drawing: bool
    ) -> None:
        image = torch.full((1, 4, 4, 3), 0.25)
        drawn = torch.from_numpy(mask.astype(np.float32) / 255.0)[None]
        (chosen,) = control.A1111ControlNetInput().choose(image, drawn)
        assert torch.equal(chosen, image) != drawing
        if drawing:
            assert (levels(chosen)[..., 0] == mask).all()


class TestFinishing:
    @pytest.mark.parametrize(
        ("channel", "there", "back", "index"),
        [
            ("luminance", cv2.COLOR_RGB2LAB, cv2.COLOR_LAB2RGB, 0),
            ("intensity", cv2.COLOR_RGB2HSV, cv2.COLOR_HSV2RGB, 2),
        ],
    )
    def test_recolor_keeps_the_pictures_colour_and_the_maps_light(
        self, channel: str, there: int, back: int, index: int
    ) -> None:
        image, light = photo(seed=1), photo(seed=2)
        (found,) = control.A1111ControlNetRecolor().recolor(tensor(image), tensor(light), channel)
        expected = cv2.cvtColor(image, there)
        expected[..., index] = light[..., 0]
        assert (levels(found) == cv2.cvtColor(expected, back)).all()

    def test_paste_grows_and_softens_the_mask(self) -> None:
        image, source = tensor(photo(seed=1)), tensor(photo(seed=2))
        mask = torch.zeros(1, 96, 64)
        mask[:, 30:60, 20:40] = 1
        (found,) = control.A1111ControlNetPaste().paste(image, source, mask, 7)
        grown = cv2.dilate(mask[0].numpy(), np.ones((7, 7), dtype=np.uint8))
        soft = cv2.blur(grown, (7, 7))[..., None]
        expected = soft * image[0].numpy() + (1 - soft) * source[0].numpy()
        assert np.allclose(found[0].numpy(), expected, atol=1e-6)
        assert torch.equal(found[0, 0, 0], source[0, 0, 0])
        assert torch.allclose(found[0, 45, 30], image[0, 45, 30])

    def test_without_blur_the_mask_is_hard(self) -> None:
        image, source = tensor(photo(seed=1)), tensor(photo(seed=2))
        mask = torch.zeros(1, 96, 64)
        mask[:, :48] = 1
        (found,) = control.A1111ControlNetPaste().paste(image, source, mask, 0)
        assert torch.equal(found[0, :48], image[0, :48])
        assert torch.equal(found[0, 48:], source[0, 48:])


class FakeModel:
    """A MODEL that keeps its post-CFG functions."""

    def __init__(self) -> None:
        self.model_options: dict[str, Any] = {"transformer_options": {}}

    def clone(self) -> FakeModel:
        copied = FakeModel()
        copied.model_options = dict(self.model_options)
        return copied

    def function(self, args: dict[str, Any]) -> Any:
        """The one post-CFG function's answer."""
        (function,) = self.model_options["sampler_post_cfg_function"]
        return copy.deepcopy(function)(args)


def guidance(scale: float = 7.0, *, uncond: bool = True) -> dict[str, Any]:
    """What ComfyUI hands to a post-CFG function, for latents of 4x8x6."""
    random = torch.Generator().manual_seed(5)
    cond, other = (torch.randn(2, 4, 8, 6, generator=random) for _ in range(2))
    return {
        "cond_denoised": cond,
        "uncond_denoised": other if uncond else None,
        "uncond": [{}] if uncond else None,
        "denoised": other + scale * (cond - other) if uncond else cond,
        "cond_scale": scale,
        "model": SimpleNamespace(process_latent_in=lambda latent: latent * 0.5),
    }


SOURCE = {"samples": torch.randn(1, 4, 8, 6, generator=torch.Generator().manual_seed(9))}


class TestPredictions:
    def reference(self, predicted: Any, radius: int, weight: float, sharpness: float) -> Any:
        """The extension's colour fix, on one prediction."""
        blur = control_ops.box_blur
        origin = SOURCE["samples"] * 0.5
        fixed = predicted - blur(predicted, radius) + blur(origin, radius)
        fixed = sharpness * blur(fixed, radius) + (1 - sharpness) * fixed
        return fixed * weight + predicted * (1 - weight)

    @pytest.mark.parametrize("sharpness", [0.0, 2.0])
    def test_color_fix_is_what_changing_both_predictions_before_guidance_gives(
        self, sharpness: float
    ) -> None:
        (model,) = control.A1111ControlNetColorFix().patch(FakeModel(), SOURCE, 3, sharpness, 0.6)
        args = guidance()
        cond = self.reference(args["cond_denoised"], 3, 0.6, 0.0)
        uncond = self.reference(args["uncond_denoised"], 3, 0.6, sharpness * 0.01)
        assert torch.allclose(model.function(args), uncond + 7.0 * (cond - uncond), atol=1e-5)

    def test_color_fix_without_a_negative_prompt(self) -> None:
        (model,) = control.A1111ControlNetColorFix().patch(FakeModel(), SOURCE, 3, 2.0, 1.0)
        args = guidance(uncond=False)
        expected = self.reference(args["cond_denoised"], 3, 1.0, 0.0)
        assert torch.allclose(model.function(args), expected, atol=1e-6)

    @pytest.mark.parametrize("inpaint_first", [False, True])
    def test_changes_of_several_units_follow_one_another(self, inpaint_first: bool) -> None:
        """Every colour fix, then every inpaint_only, whatever the units' order."""
        mask = torch.zeros(1, 64, 48)
        mask[:, 20:40, 10:30] = 1
        other = {"samples": SOURCE["samples"].flip(2)}

        def inpaint(model: Any) -> Any:
            return control.A1111ControlNetInpaintOnly().patch(model, other, mask, 0.8)[0]

        model: Any = inpaint(FakeModel()) if inpaint_first else FakeModel()
        for radius, weight in ((3, 0.6), (2, 0.5)):
            (model,) = control.A1111ControlNetColorFix().patch(model, SOURCE, radius, 2.0, weight)
        model = model if inpaint_first else inpaint(model)
        args = guidance()
        cells = control_ops.latent_mask(mask[None])

        def changed(predicted: Any, sharpness: float) -> Any:
            predicted = self.reference(predicted, 3, 0.6, sharpness)
            predicted = self.reference(predicted, 2, 0.5, sharpness)
            kept = predicted * cells + other["samples"] * 0.5 * (1 - cells)
            return kept * 0.8 + predicted * 0.2

        cond, uncond = changed(args["cond_denoised"], 0.0), changed(args["uncond_denoised"], 0.02)
        assert torch.allclose(model.function(args), uncond + 7.0 * (cond - uncond), atol=1e-5)
        alone = changed(args["cond_denoised"], 0.0)
        assert torch.allclose(model.function(guidance(uncond=False)), alone, atol=1e-5)

    def test_the_box_blur_repeats_the_border(self) -> None:
        latent = torch.zeros(1, 1, 5, 5)
        latent[..., 0, 0] = 9.0
        blurred = control_ops.box_blur(latent, 1)
        assert float(blurred[0, 0, 0, 0]) == pytest.approx(4.0)
        assert float(blurred[0, 0, 1, 1]) == pytest.approx(1.0)

    def test_inpaint_only_keeps_the_source_outside_of_the_mask(self) -> None:
        mask = torch.zeros(1, 64, 48)
        mask[:, 20:40, 10:30] = 1
        (model,) = control.A1111ControlNetInpaintOnly().patch(FakeModel(), SOURCE, mask, 1.0)
        args = guidance()
        found = model.function(args)
        cells = control_ops.latent_mask(mask[None])
        origin = (SOURCE["samples"] * 0.5).expand(2, -1, -1, -1)
        outside = (cells == 0).expand_as(found)
        assert torch.allclose(found[outside], origin[outside], atol=1e-5)
        assert torch.allclose(found[~outside], args["denoised"][~outside], atol=1e-5)
        assert 0 < float(cells.mean()) < 1

    def test_a_cell_is_masked_if_it_or_its_border_is(self) -> None:
        mask = torch.zeros(1, 1, 64, 48)
        mask[..., 7, 15] = 1
        cells = control_ops.latent_mask(mask)
        assert cells.shape == (1, 1, 8, 6)
        found = {tuple(index) for index in torch.nonzero(cells[0, 0]).tolist()}
        assert found == {(0, 1), (1, 1), (0, 2), (1, 2)}
