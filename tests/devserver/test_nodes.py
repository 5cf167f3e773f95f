"""The node table against the signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from devserver.files import Files
from devserver.nodes import TABLE
from devserver.nodes.sampling import schedule_length
from devserver.nodes.table import merge
from devserver.signatures import InputSpec, NodeSpec, read_specs
from devserver.values import (
    Conditioning,
    Guider,
    Image,
    Inputs,
    Latent,
    Mask,
    Noise,
    Opaque,
    Overlay,
    Picture,
    Regions,
    Sigmas,
)
from tests import captioning
from translator.tables import read_table

SPECS = read_specs(captioning.documents(captioning.NODES), TABLE)
PICTURES = (Picture(), Picture(seed=4, index=1))
LINKED: dict[str, Any] = {
    "IMAGE": Image(200, 120, PICTURES),
    "LATENT": Latent(64, 72, PICTURES),
    "MASK": Mask(200, 120, 2),
    "CONDITIONING": Conditioning("a cat"),
    "SIGMAS": Sigmas(7),
    "NOISE": Noise((4, 5), per_image=True),
    "GUIDER": Guider("a cat"),
    "A1111_REGIONS": Regions(2),
    "A1111_OVERLAY": Overlay(Image(200, 120, PICTURES), crops=True),
}
"""A value for each type of link that is not opaque."""
SIMPLE: dict[str, type] = {"INT": int, "STRING": str}
TEXTS = {
    "A1111ImageConditioning.drawn": "[]",
    "A1111InpaintLatent.seeds": "[1, 2]",
    "A1111JoinTiles.columns": "[0, 72]",
    "A1111JoinTiles.rows": "[0]",
    "A1111Noise.seeds": "[1, 2]",
    "A1111Noise.subseeds": "[]",
    "A1111Sigmas.sigmas": "[14.6, 3.0, 0.0]",
    "A1111TextEncode.prompt": '{"parts": [{"weight": 1.0, "schedule": [[20, [["a cat", 1.0]]]]}]}',
    "LoadImage.image": "picture.png",
    "LoadImageMask.image": "picture.png",
    "A1111DetailRegions.prompts": "[0]",
    "A1111DetailEachRegion.prompts": "[0]",
}
ONE_PICTURE = {
    "A1111DetectRegions",
    "A1111RegionPicture",
    "A1111DetailRegions",
    "A1111DetailEachRegion",
}
"""Nodes that take no batch."""
FOLDER_FILE = "model.safetensors"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    from PIL import Image as Pillow

    root: Path = tmp_path_factory.mktemp("comfy")
    folders = {
        folder: [FOLDER_FILE]
        for spec in SPECS.values()
        for item in spec.inputs.values()
        for folder in item.folders
    }
    made = Files(root, folders)
    Pillow.new("RGB", (30, 20), (9, 9, 99)).save(root / "input" / "picture.png")
    return made


def value_for(spec: NodeSpec, item: InputSpec) -> Any:
    if item.type in ("INT", "FLOAT"):
        default = item.settings.get("default", 1)
        return int(default) if item.type == "INT" else float(default)
    match item.type:
        case "BOOLEAN":
            return True
        case "STRING":
            return TEXTS.get(f"{spec.name}.{item.name}", "")
        case "COMBO":
            named = TEXTS.get(f"{spec.name}.{item.name}")
            return named or (FOLDER_FILE if item.folders else item.options[0])
    if item.type == "IMAGE" and spec.name in ONE_PICTURE:
        return Image(200, 120, PICTURES[:1])
    return LINKED.get(item.type, Opaque(item.type, "4x_model"))


@pytest.mark.parametrize("name", sorted(TABLE))
def test_outputs_are_what_the_signature_says(name: str, files: Files) -> None:
    spec = SPECS[name]
    values = {item.name: value_for(spec, item) for item in spec.inputs.values()}
    result = TABLE[name](Inputs(spec, values, files))
    assert len(result.outputs) == len(spec.outputs)
    for value, (kind, _) in zip(result.outputs, spec.outputs, strict=True):
        if kind in LINKED:
            assert isinstance(value, type(LINKED[kind]))
        elif kind in SIMPLE:
            assert isinstance(value, SIMPLE[kind])
        else:
            assert value == Opaque(kind, value.name)
    if spec.output_node:
        assert result.save is not None or result.ui
    else:
        assert result.save is None


@pytest.mark.parametrize(
    ("resize_mode", "only_masked", "result", "mask"),
    [(0, True, (64, 48), (64, 48)), (3, True, (64, 48), (64, 48)), (3, False, (96, 80), (64, 48))],
)
def test_only_a_part_of_a_picture_comes_back_to_its_size(
    files: Files,
    resize_mode: int,
    only_masked: bool,
    result: tuple[int, int],
    mask: tuple[int, int],
) -> None:
    """resize_mode 3 resizes the latent, so that a whole picture and its results differ in size."""

    def run(name: str, **given: Any) -> tuple[Any, ...]:
        spec = SPECS[name]
        usual = {item.name: value_for(spec, item) for item in spec.inputs.values()}
        return TABLE[name](Inputs(spec, {**usual, **given}, files)).outputs

    size = {"width": 96, "height": 80, "resize_mode": resize_mode, "only_masked": only_masked}
    _, _, overlay = run("A1111Inpaint", image=Image(64, 48, PICTURES), **size)
    image, of_overlay, _ = run("A1111Overlay", image=Image(96, 80, PICTURES), overlay=overlay)
    assert (image.width, image.height) == result
    assert (of_overlay.width, of_overlay.height) == mask


def test_a_node_stands_in_one_table_only() -> None:
    with pytest.raises(ValueError, match="KSampler"):
        merge({"KSampler": TABLE["KSampler"]}, {"KSampler": TABLE["KSampler"]})


@pytest.mark.parametrize(
    ("scheduler", "steps", "sigmas"),
    [("normal", 20, 21), ("ddim_uniform", 20, 21), ("ddim_uniform", 30, 32), ("karras", 1, 2)],
)
def test_schedule_length(scheduler: str, steps: int, sigmas: int) -> None:
    assert schedule_length(scheduler, steps) == sigmas


def test_every_node_of_our_pack_has_a_rule() -> None:
    assert read_table("signatures-a1111-pack")["nodes"].keys() - TABLE.keys() == set()
