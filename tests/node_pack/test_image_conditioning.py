"""What inpainting and editing checkpoints read beside the latent, against A1111's formulas."""

from __future__ import annotations

import sys
import types

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths import image_conditioning as maths  # noqa: E402
from custom_nodes.comfyui_a1111.nodes.image import A1111VAEEncode  # noqa: E402
from custom_nodes.comfyui_a1111.nodes.image_conditioning import (  # noqa: E402
    A1111ImageConditioning,
    for_region,
)

pytestmark = pytest.mark.torch


class Regularization(torch.nn.Module):
    """The mean of the posterior."""

    def forward(self, moments: torch.Tensor) -> tuple[torch.Tensor, None]:
        return moments.chunk(2, dim=1)[0], None


class FirstStage(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.regularization = Regularization()


class Vae:
    """Averages cells of 8 x 8 pixels: mean -1..1 in every channel, deviation 1."""

    def __init__(self) -> None:
        self.first_stage_model = FirstStage()

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        signed = pixels[..., :1].movedim(-1, 1) * 2 - 1
        mean = torch.nn.functional.avg_pool2d(signed, 8).repeat(1, 4, 1, 1)
        moments = torch.cat([mean, torch.zeros_like(mean)], dim=1)
        encoded: torch.Tensor = self.first_stage_model.regularization(moments)[0]
        return encoded

    def process_output(self, image: torch.Tensor) -> torch.Tensor:
        return ((image + 1) / 2).clamp(0, 1)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        image = torch.nn.functional.interpolate(latent[:, :3], scale_factor=8)
        return self.process_output(image).movedim(1, -1)


def made(**inputs: object) -> dict[str, torch.Tensor]:
    settings = {
        "vae": Vae(),
        "samples": {"samples": torch.zeros(1, 4, 2, 2)},
        "kind": "inpaint",
        "source": "pixels",
        "width": 16,
        "height": 16,
        "mask_weight": 1.0,
        "round": True,
        "signed": False,
        "posterior_seed": -1,
        "drawn": "[]",
    }
    return A1111ImageConditioning().make(**{**settings, **inputs})[0]


def test_what_is_masked_is_pulled_towards_grey_by_the_weight() -> None:
    pixels, mask = torch.rand(1, 4, 4, 3), torch.rand(1, 4, 4)
    signed = pixels * 2 - 1
    for weight in (0.0, 0.4, 1.0):
        levels = mask[..., None]
        wanted = torch.lerp(signed, signed * (1.0 - levels), weight)
        found = maths.without_masked(pixels, mask, weight) * 2 - 1
        assert torch.allclose(found, wanted, atol=1e-6)
    assert torch.allclose(maths.without_masked(pixels, None, 1.0), torch.full_like(pixels, 0.5))


def test_guidance_by_text_and_picture_adds_up_to_a1111s() -> None:
    text, image, plain = torch.randn(3, 1, 4, 2, 2)
    cfg, scale = 7.0, 1.5
    wanted = plain + cfg * (text - image) + scale * (image - plain)
    guided = image + cfg * (text - image)
    found = guided + maths.image_guidance(image, plain, scale)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_the_mask_goes_before_the_picture_and_is_the_nearest_pixel() -> None:
    mask = torch.zeros(1, 16, 16)
    mask[:, 0, 0] = mask[:, 8, 8] = 1
    cells = maths.latent_mask(mask, 2, 2)
    assert cells[0, 0].tolist() == [[1, 0], [0, 1]]
    beside = maths.channels(torch.full((2, 4, 2, 2), 3.0), cells)
    assert beside.shape == (2, 5, 2, 2)
    assert torch.equal(beside[1, 0], cells[0, 0])
    assert (beside[:, 1:] == 3).all()


def test_an_inpainting_checkpoint_gets_the_picture_around_the_mask() -> None:
    pixels = torch.ones(1, 16, 16, 3)
    mask = torch.zeros(1, 16, 16)
    mask[:, :8] = 0.8
    rounded = made(pixels=pixels, mask=mask)
    assert rounded["samples"][0, 0].tolist() == [[0, 0], [1, 1]]
    assert rounded["noise_mask"][0, 0].tolist() == [[1, 1], [0, 0]]
    soft = made(pixels=pixels, mask=mask, round=False)
    assert torch.allclose(soft["samples"][0, 0], torch.tensor([[0.2, 0.2], [1.0, 1.0]]))
    assert torch.allclose(soft["noise_mask"][0, 0], torch.tensor([[0.8, 0.8], [0.0, 0.0]]))
    half = made(pixels=pixels, mask=mask, mask_weight=0.5)
    assert half["samples"][0, 0].tolist() == [[0.5, 0.5], [1, 1]]


def test_txt2img_gets_an_even_grey_and_a_whole_mask() -> None:
    blank = made(source="blank", width=17, samples={"samples": torch.zeros(2, 4, 2, 2)})
    assert blank["samples"].shape == (2, 4, 2, 2)
    assert (blank["samples"] == 0).all()
    assert (blank["noise_mask"] == 1).all()


def test_hires_takes_its_picture_for_signed_and_a_latent_unclamped() -> None:
    pixels = torch.full((1, 16, 16, 3), 0.25)
    weighed = made(pixels=pixels, signed=True, mask_weight=0.2)
    assert torch.allclose(weighed["samples"], torch.full((1, 4, 2, 2), 0.8 * 0.25))
    beyond = {"samples": torch.full((1, 4, 2, 2), 2.0)}
    decoded = made(source="samples", samples=beyond, mask_weight=0.5)
    assert torch.allclose(decoded["samples"], torch.ones(1, 4, 2, 2))


def test_an_editing_checkpoint_gets_the_mean_of_the_whole_picture() -> None:
    pixels, mask = torch.ones(1, 16, 16, 3), torch.ones(1, 16, 16)
    edit = made(kind="edit", pixels=pixels, mask=mask, posterior_seed=5)
    assert "noise_mask" not in edit
    assert (edit["samples"] == 1).all()


def test_a_posterior_goes_on_where_torchs_generator_stands() -> None:
    blank = {"source": "blank", "samples": {"samples": torch.zeros(2, 4, 2, 2)}}
    generator = torch.Generator().manual_seed(5)
    draws = [torch.randn(1, 4, 2, 2, generator=generator) for _ in range(3)]
    first = made(**blank, posterior_seed=5)["samples"]
    assert torch.allclose(first, torch.cat(draws[:2]))
    later = made(**blank, posterior_seed=5, drawn="[[1,4,2,2]]")["samples"]
    assert torch.allclose(later, torch.cat(draws[1:]))


class Guider:
    """Notes what it is given; its model takes so many channels beside the latent."""

    def __init__(self, beside: int) -> None:
        self.beside = beside
        self.image: dict[str, torch.Tensor] | None = None

    def set_image(self, latent: dict[str, torch.Tensor]) -> None:
        self.image = latent


@pytest.mark.parametrize(("beside", "masked"), [(0, None), (4, False), (5, True)])
def test_a_region_gives_a_guider_what_its_model_takes(beside: int, masked: bool | None) -> None:
    guider = Guider(beside)
    pixels, mask = torch.ones(1, 16, 16, 3), torch.ones(1, 16, 16)
    latent = torch.zeros(1, 4, 2, 2)
    given = for_region(guider, Vae(), latent, pixels, mask, 1.0, posterior_seed=-1, drawn=()).image
    assert guider.image is None
    assert (None if given is None else "noise_mask" in given) == masked


def test_a_regions_picture_is_drawn_after_its_latent() -> None:
    pixels, mask = torch.full((1, 16, 16, 3), 0.5), torch.zeros(1, 16, 16)
    latent = torch.zeros(1, 4, 2, 2)
    given = for_region(
        Guider(5), Vae(), latent, pixels, mask, 1.0, posterior_seed=9, drawn=(latent.shape,)
    ).image
    generator = torch.Generator().manual_seed(9)
    torch.randn(1, 4, 2, 2, generator=generator)
    assert torch.allclose(given["samples"], torch.randn(1, 4, 2, 2, generator=generator))


class Loader:
    """Stands in for spandrel's: building a network fills it with random numbers."""

    def load_from_state_dict(self, weights: dict[str, torch.Tensor]) -> None:
        assert set(weights) == {"weight", "bias"}
        torch.nn.Linear(3, 2)


class Upscaler:
    scale = 2
    model = torch.nn.Linear(3, 2)


def test_an_upscaler_that_is_built_anew_draws_before_the_encoding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spandrel = types.ModuleType("spandrel")
    spandrel.ModelLoader = Loader  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spandrel", spandrel)
    pixels = torch.full((2, 16, 16, 3), 0.5)
    before = torch.random.get_rng_state()
    (latent,) = A1111VAEEncode().encode(pixels, Vae(), 5, "[[1,4,2,2]]", Upscaler(), "[8,8]")
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        torch.randn(1, 4, 2, 2)
        for _ in range(2):  # a run for each picture
            torch.nn.Linear(3, 2)
        expected = torch.cat([torch.randn(1, 4, 2, 2) for _ in range(2)])
    assert torch.allclose(latent["samples"], expected)
