"""The preprocessors of comfyui_controlnet_aux (commit e8b689a): each gives a map per image.

Sizes are read from the pack: a map's short side is the ``resolution`` input (512 where it is not
given), with the picture's proportions; the exceptions stand in `_SIZES`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

from devserver.nodes.table import NodeFunction, Nodes
from devserver.settings import Work
from devserver.values import Image, Inputs, Mask, Opaque, Result

Size = tuple[int, int]

_DEFAULT_RESOLUTION, _LOWEST_RESOLUTION = 512, 64
_BY_SHORT_SIDE = (
    "AnimalPosePreprocessor",
    "AnimeFace_SemSegPreprocessor",
    "AnimeLineArtPreprocessor",
    "AnyLineArtPreprocessor_aux",
    "BAE-NormalMapPreprocessor",
    "BinaryPreprocessor",
    "CannyEdgePreprocessor",
    "ColorPreprocessor",
    "DWPreprocessor",
    "DensePosePreprocessor",
    "DepthAnythingPreprocessor",
    "DepthAnythingV2Preprocessor",
    "DiffusionEdge_Preprocessor",
    "FakeScribblePreprocessor",
    "HEDPreprocessor",
    "ImageIntensityDetector",
    "ImageLuminanceDetector",
    "LeReS-DepthMapPreprocessor",
    "LineArtPreprocessor",
    "LineartStandardPreprocessor",
    "M-LSDPreprocessor",
    "MediaPipe-FaceMeshPreprocessor",
    "MeshGraphormer-DepthMapPreprocessor",
    "Metric3D-DepthMapPreprocessor",
    "Metric3D-NormalMapPreprocessor",
    "MiDaS-DepthMapPreprocessor",
    "MiDaS-NormalMapPreprocessor",
    "OneFormer-ADE20K-SemSegPreprocessor",
    "OneFormer-COCO-SemSegPreprocessor",
    "OpenposePreprocessor",
    "PiDiNetPreprocessor",
    "PyraCannyPreprocessor",
    "SAMPreprocessor",
    "ScribblePreprocessor",
    "Scribble_PiDiNet_Preprocessor",
    "Scribble_XDoG_Preprocessor",
    "SemSegPreprocessor",
    "ShufflePreprocessor",
    "TEEDPreprocessor",
    "UniFormer-SemSegPreprocessor",
    "Zoe-DepthMapPreprocessor",
    "Zoe_DepthAnythingPreprocessor",
)
_NEEDED = {
    "M-LSDPreprocessor": ("score_threshold", "dist_threshold"),
    "PiDiNetPreprocessor": ("safe",),
    "TTPlanet_TileGF_Preprocessor": ("scale_factor", "blur_strength", "radius", "eps"),
    "TTPlanet_TileSimple_Preprocessor": ("scale_factor", "blur_strength"),
    "TilePreprocessor": ("pyrUp_iters",),
}
"""Inputs declared as optional that the node's function has no default for: it raises without."""
_NO_PROGRESS = frozenset({"InpaintPreprocessor", "MeshGraphormer-DepthMapPreprocessor"})
_POSES = frozenset({"AnimalPosePreprocessor", "DWPreprocessor", "OpenposePreprocessor"})


def short_side(image: Image, resolution: int) -> Size:
    """Width and height with the short side at `resolution`, rounded half to even."""
    factor = resolution / min(image.width, image.height)
    return round(image.width * factor), round(image.height * factor)


def _resolution(x: Inputs) -> int:
    value = x.optional("resolution", int)
    return value if value is not None and value >= _LOWEST_RESOLUTION else _DEFAULT_RESOLUTION


def _by_short_side(x: Inputs) -> Size:
    return short_side(x.image(), _resolution(x))


def _unchanged(x: Inputs) -> Size:
    image = x.image()
    return image.width, image.height


def _padded(x: Inputs) -> Size:
    """DSINE returns its map with the padding to multiples of 64 still on."""
    width, height = _by_short_side(x)
    return math.ceil(width / 64) * 64, math.ceil(height / 64) * 64


def _multiple_of_256(x: Inputs) -> Size:
    """The manga line model works at the next multiple of 256."""
    return short_side(x.image(), 256 * math.ceil(_resolution(x) / 256))


def _pyramid(x: Inputs) -> Size:
    """The picture at the nearest multiples of 64, halved and doubled again n times."""
    image, steps = x.image(), x.integer("pyrUp_iters")
    step = 2**steps
    width, height = (round(side / 64) * 64 // step * step for side in (image.width, image.height))
    return width, height


_SIZES: dict[str, Callable[[Inputs], Size]] = {
    **dict.fromkeys(_BY_SHORT_SIDE, _by_short_side),
    "DSINE-NormalMapPreprocessor": _padded,
    "InpaintPreprocessor": _unchanged,
    "Manga2Anime_LineArt_Preprocessor": _multiple_of_256,
    "TTPlanet_TileGF_Preprocessor": _unchanged,
    "TTPlanet_TileSimple_Preprocessor": _unchanged,
    "TilePreprocessor": _pyramid,
}


def _preprocessor(size: Callable[[Inputs], Size]) -> NodeFunction:
    def function(x: Inputs) -> Result:
        x.need(*_NEEDED.get(x.spec.name, ()))
        width, height = size(x)
        maps = _maps(x).sized(width, height)
        others = tuple(_second_output(kind, maps) for kind, _ in x.spec.outputs[1:])
        ui = {"openpose_json": [_poses(x.image())]} if x.spec.name in _POSES else {}
        steps = 0 if x.spec.name in _NO_PROGRESS else len(maps.pictures)
        return Result((maps, *others), Work.DETECT, steps=steps, ui=ui)

    return function


def _maps(x: Inputs) -> Image:
    """What the node makes: Canny's edges of a picture that was sent, else a drawing."""
    image = x.image().rgb()
    if x.spec.name != "CannyEdgePreprocessor":
        return image.made(x.spec.name)
    low, high = (x.optional(f"{name}_threshold", int) for name in ("low", "high"))
    edges = (100 if low is None else low, 200 if high is None else high)
    pictures = tuple(
        replace(picture, text=x.spec.name, edges=edges) if picture.file else found
        for picture, found in zip(image.pictures, image.made(x.spec.name).pictures, strict=True)
    )
    return replace(image, pictures=pictures)


def _second_output(kind: str, maps: Image) -> Mask | Opaque:
    if kind == "MASK":
        return Mask(maps.width, maps.height, len(maps.pictures))
    return Opaque(kind)


def _poses(image: Image) -> str:
    """What a pose estimator says of pictures in which it finds nobody."""
    nobody = {"people": [], "canvas_height": image.height, "canvas_width": image.width}
    return json.dumps([nobody] * len(image.pictures), indent=4)


NODES = Nodes({name: _preprocessor(size) for name, size in _SIZES.items()})
