"""A1111's upscaler names."""

from __future__ import annotations

import pytest

from translator.comfy.catalog import Catalog
from translator.models import upscalers
from translator.models.names import ModelFile
from translator.plan.starts import ImageUpscale, LatentUpscale
from translator.report import Report
from translator.request.a1111_options import A1111Options

FILES = ("sub/RealESRGAN_x4plus.pth", "4x-UltraSharp.pth", "scunet_color_real_psnr.pth")


@pytest.fixture
def catalog() -> Catalog:
    return Catalog(nodes={}, folders={upscalers.FOLDER: FILES})


def model(found: LatentUpscale | ImageUpscale | None) -> str:
    assert isinstance(found, ImageUpscale)
    assert isinstance(found.model, ModelFile)
    return found.model.name


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Latent", LatentUpscale("bilinear", False)),
        ("Latent (antialiased)", LatentUpscale("bilinear", True)),
        ("Latent (bicubic)", LatentUpscale("bicubic", False)),
        ("Latent (bicubic antialiased)", LatentUpscale("bicubic", True)),
        ("Latent (nearest)", LatentUpscale("nearest", False)),
        ("Latent (nearest-exact)", LatentUpscale("nearest-exact", False)),
        ("None", ImageUpscale("none", None)),
        ("Lanczos", ImageUpscale("lanczos", None)),
        ("Nearest", ImageUpscale("nearest", None)),
        ("latent", None),
        ("4x-ultrasharp", None),
        ("", None),
    ],
)
def test_names_are_matched_exactly(
    name: str, found: LatentUpscale | ImageUpscale | None, catalog: Catalog
) -> None:
    assert upscalers.find(name, catalog) == found


def test_table_names_find_their_file_in_any_folder(catalog: Catalog) -> None:
    assert model(upscalers.find("R-ESRGAN 4x+", catalog)) == "sub/RealESRGAN_x4plus.pth"


def test_every_file_is_a_name(catalog: Catalog) -> None:
    assert model(upscalers.find("4x-UltraSharp", catalog)) == "4x-UltraSharp.pth"


def test_tiles_come_from_the_options_of_the_family(catalog: Catalog) -> None:
    settings = A1111Options.with_defaults(ESRGAN_tile=256, ESRGAN_tile_overlap=16, SCUNET_tile=128)
    esrgan = upscalers.find("R-ESRGAN 4x+", catalog, settings)
    scunet = upscalers.find("ScuNET PSNR", catalog, settings)
    plain = upscalers.find("4x-UltraSharp", catalog)
    assert isinstance(esrgan, ImageUpscale)
    assert isinstance(scunet, ImageUpscale)
    assert isinstance(plain, ImageUpscale)
    assert (esrgan.tile, esrgan.tile_overlap) == (256, 16)
    assert (scunet.tile, scunet.tile_overlap) == (128, 8)
    assert (plain.tile, plain.tile_overlap) == (192, 8)


def test_obstacles_are_named(catalog: Catalog) -> None:
    assert upscalers.find("DAT x4", catalog) is None
    assert "DAT_x4.pth" in str(upscalers.obstacle("DAT x4", catalog))
    assert "diffusion model" in str(upscalers.obstacle("LDSR", catalog))
    assert upscalers.obstacle("R-ESRGAN 4x+", catalog) is None
    assert upscalers.obstacle("no such upscaler", catalog) is None


def test_names_are_those_that_can_be_found(catalog: Catalog) -> None:
    names = upscalers.names(catalog)
    assert {"Latent", "None", "R-ESRGAN 4x+", "4x-UltraSharp"} < set(names)
    assert {"DAT x2", "LDSR", "ESRGAN_4x"}.isdisjoint(names)
    assert all(upscalers.find(name, catalog) for name in names)


def test_an_open_catalog_takes_any_name() -> None:
    everything = Catalog(nodes={}, open=True)
    assert model(upscalers.find("R-ESRGAN 4x+", everything)) == "RealESRGAN_x4plus.pth"
    assert model(upscalers.find("anything", everything)) == "anything.pth"
    assert upscalers.find("LDSR", everything) is None


def test_esrgan_4x_is_a_name_only_while_there_is_no_other_model() -> None:
    alone = Catalog(nodes={}, folders={upscalers.FOLDER: ()})
    assert upscalers.obstacle("ESRGAN_4x", alone) is not None
    beside = Catalog(nodes={}, folders={upscalers.FOLDER: ("4x_other.pth",)})
    assert upscalers.obstacle("ESRGAN_4x", beside) is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("RealESRGAN_x4plus_anime_6B", ', did you mean "R-ESRGAN 4x+ Anime6B"?'),
        ("SwinIR_4x", ', did you mean "SwinIR 4x"?'),
        ("4x_ultrasharp", ', did you mean "4x-UltraSharp"?'),
        (
            "4x_foolhardy_Remacri",
            "; put its file into ComfyUI's upscale_models folder, or name one",
        ),
        ("", "; name one of GET sdapi/v1/upscalers"),
    ],
)
def test_an_unknown_name_is_told_what_to_do(name: str, said: str, catalog: Catalog) -> None:
    assert upscalers.remedy(name, catalog, Report()).startswith(said)
