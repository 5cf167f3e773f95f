"""The image and latent nodes, with stand-ins for ComfyUI's models."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths import face_restore, latent_ops, tiling  # noqa: E402
from custom_nodes.comfyui_a1111.nodes import image as nodes  # noqa: E402

pytestmark = pytest.mark.torch


def random_latent(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("mode", "antialias"),
    [
        ("nearest", False),
        ("nearest-exact", False),
        ("bilinear", False),
        ("bilinear", True),
        ("bicubic", False),
        ("bicubic", True),
    ],
)
def test_latent_upscale_is_torchs_interpolation(mode: str, antialias: bool) -> None:
    samples = random_latent(2, 4, 8, 8)
    latent = {"samples": samples, "batch_index": [0, 1]}
    (result,) = nodes.A1111LatentUpscale().upscale(latent, 100, 47, mode, antialias)
    expected = torch.nn.functional.interpolate(
        samples, size=(5, 12), mode=mode, antialias=antialias
    )
    assert torch.equal(result["samples"], expected)
    assert result["batch_index"] == [0, 1]


def test_latent_crop() -> None:
    samples = random_latent(1, 4, 10, 12)
    (result,) = nodes.A1111LatentCrop().crop({"samples": samples}, 1, 2, 3, 0)
    assert torch.equal(result["samples"], samples[:, :, 2:, 1:9])
    with pytest.raises(ValueError, match="12x10"):
        nodes.A1111LatentCrop().crop({"samples": samples}, 6, 0, 6, 0)


class FakeAutoencoder(torch.nn.Module):
    """Moments are the pixels, twice: mean = pixel, log-variance = -2 * pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.regularization = torch.nn.Identity()
        self.mean_only = self.regularization

    def encode(self, pixels: torch.Tensor) -> Any:
        moments = torch.cat([pixels, -2 * pixels], dim=1)
        result = self.regularization(moments)
        return result[0] if isinstance(result, tuple) else moments[:, : pixels.shape[1]]


def fake_vae() -> SimpleNamespace:
    autoencoder = FakeAutoencoder()
    return SimpleNamespace(
        first_stage_model=autoencoder,
        encode=lambda pixels: torch.cat(
            [autoencoder.encode(image.movedim(-1, 0).unsqueeze(0)) for image in pixels]
        ),
    )


def test_vae_encode_draws_the_images_noise_from_one_stream() -> None:
    vae, pixels = fake_vae(), torch.rand(2, 8, 8, 4)
    (result,) = nodes.A1111VAEEncode().encode(pixels, vae, 7)
    stream = torch.Generator().manual_seed(7)
    for image, latent in zip(pixels[..., :3].movedim(-1, 1), result["samples"], strict=True):
        noise = torch.randn((1, 3, 8, 8), generator=stream)[0]
        assert torch.allclose(latent, image + torch.exp(-image) * noise, atol=1e-6)
    assert vae.first_stage_model.regularization is vae.first_stage_model.mean_only


def test_vae_encode_without_seed_takes_the_mean() -> None:
    pixels = torch.rand(1, 8, 8, 3)
    (result,) = nodes.A1111VAEEncode().encode(pixels, fake_vae(), -1)
    assert torch.equal(result["samples"], pixels.movedim(-1, 1))


def test_posterior_clamps_the_log_variance() -> None:
    moments = torch.tensor([1.0, 100.0]).view(1, 2, 1, 1)
    sampled = latent_ops.sample_posterior(moments, torch.ones(1, 1, 1, 1))
    assert sampled.item() == pytest.approx(1 + np.exp(10.0), rel=1e-6)


def convolutions() -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3, padding=1), torch.nn.ReLU())


def test_circular_padding_wraps_and_is_undone() -> None:
    network = convolutions()
    image = random_latent(1, 1, 6, 6)
    plain = network(image)
    with tiling.circular_padding(network):
        wrapped = network(torch.roll(image, 2, dims=-1))
        assert torch.allclose(torch.roll(wrapped, -2, dims=-1), network(image), atol=1e-6)
        assert not torch.allclose(network(image), plain)
    assert torch.equal(network(image), plain)


def test_circular_padding_is_undone_after_an_error() -> None:
    network = convolutions()
    with pytest.raises(RuntimeError), tiling.circular_padding(network):
        raise RuntimeError
    assert network[0].padding_mode == "zeros"


def test_a_tiled_vae_leaves_the_original_alone() -> None:
    network = convolutions()
    vae = SimpleNamespace(first_stage_model=network)
    vae.decode = vae.encode = vae.encode_tiled = vae.decode_tiled = network
    image = random_latent(1, 1, 6, 6)
    plain = vae.decode(image)
    tiled = tiling.tile_vae(vae)
    assert not torch.allclose(tiled.decode(image), plain)
    assert torch.equal(vae.decode(image), plain)


def test_image_scale_keeps_the_batch() -> None:
    (result,) = nodes.A1111ImageScale().scale(torch.rand(3, 16, 24, 3), 48, 32, "lanczos")
    assert result.shape == (3, 32, 48, 3)
    assert torch.equal(result, (result * 255).round() / 255)


def test_control_image_reports_the_size_before_padding() -> None:
    image, width, height = nodes.A1111ControlNetImage().prepare(torch.rand(2, 50, 75, 3), 100, True)
    assert (width, height) == (150, 100)
    assert image.shape == (2, 128, 192, 3)


def test_control_fit_with_mask() -> None:
    image, mask = torch.rand(2, 16, 32, 3), torch.zeros(1, 16, 32)
    mask[:, :, 16:] = 1.0
    fitted, alpha = nodes.A1111ControlNetFit().fit(image, 64, 32, "Just Resize", mask)
    assert fitted.shape == (2, 32, 64, 3) and alpha.shape == (2, 32, 64)
    assert alpha[:, :, :30].max() == 0 and alpha[:, :, 34:].min() == 1
    with pytest.raises(ValueError, match="mask of 32x16 pixels"):
        nodes.A1111ControlNetFit().fit(torch.rand(1, 8, 8, 3), 64, 32, "Just Resize", mask)


def test_control_fit_without_mask_answers_an_empty_one() -> None:
    fitted, alpha = nodes.A1111ControlNetFit().fit(torch.rand(1, 16, 16, 3), 32, 32, "Just Resize")
    assert fitted.shape == (1, 32, 32, 3) and alpha.max() == 0


def test_grid_takes_batches_and_links_in_order() -> None:
    def flat(level: float) -> torch.Tensor:
        return torch.full((1, 8, 8, 3), level)

    batch = torch.cat([flat(0.0), flat(0.2)])
    legend = json.dumps({"columns": [[""]] * 4, "rows": [[""]], "margin": 2})
    (grid,) = nodes.A1111ImageGrid().arrange(
        batch, 1, legend, "#ffffff", image_10=flat(0.6), image_2=flat(0.4)
    )
    assert grid.shape == (1, 8, 8 * 4 + 2 * 3, 3)
    levels = [round(grid[0, 4, 4 + 10 * column, 0].item(), 1) for column in range(4)]
    assert levels == [0.0, 0.2, 0.4, 0.6]


def test_face_restore_names_what_is_missing(tmp_path: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"codeformer-v0\.1\.0\.pth is missing"):
        restorer = face_restore.RESTORERS["CodeFormer"]
        face_restore.find_file(tmp_path, restorer.folders, restorer.name)
    with pytest.raises(RuntimeError, match="Python package no_such_package"):
        face_restore.require_packages(("no_such_package",))


def test_signatures_need_no_comfyui() -> None:
    classes = [value for name, value in vars(nodes).items() if name.startswith("A1111")]
    assert len(classes) == 10
    for node in classes:
        inputs = node.INPUT_TYPES()
        assert set(inputs) <= {"required", "optional"}
        assert hasattr(node, node.FUNCTION)
