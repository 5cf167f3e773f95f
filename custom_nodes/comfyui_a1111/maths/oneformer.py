"""What seg_ofade20k and seg_ofcoco draw: classes in their data set's colours, outlined.

Source of the rules: sd-webui-controlnet v1.1.455 (OneFormer's demo and detectron2's visualizer):
the picture's short side is brought to a fixed size, the network's masks are weighed by its classes,
and the class map is drawn by matplotlib with white outlines, which antialiasing blends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from . import controlnet_ops

Array = NDArray[Any]
Colour = tuple[float, ...]

_ADE20K = """
787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d
787846 08ff33 ff0652 8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0
0907e6 dcdcdc ff095c 7009ff 08ffd6 07ffe0 ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06
ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff eb0cff a09614 00a3ff 8c8c8c fa0a0f 14ff00 1fff00
ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff 0bc8c8 ff5200 00fff5 003dff 00ff70
00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad 0a00ff adff00 00ff99
ff5c00 ff00ff ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2 00ff52
000aff 0070ff 3300ff 00c2ff 007aff 00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00
08b8aa 8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070 5cff00 00e0ff 70e0ff 46b8a0 a300ff
9900ff 47ff00 ff00a3 ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500 0abed4 d6ff00
00ccff 1400ff ffff00 0099ff 0029ff 00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8
005cff b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff
"""
"""Colours (RRGGBB) of the 150 classes of ADE20K, by class."""

_COCO = """
dc143c 770b20 00008e 0000e6 6a00e4 003c64 005064 000046 0000c0 faaa1e 64aa1e dcdc00 af74af
fa001e a52a2a ff4dff 00e2fc b6b6ff 005200 78a69d 6e4c00 ae39ff c76400 480076 ffb3f0 007d5c
d10097 bcd0b6 00dcb0 ff63a4 5c0049 8581ff 4eb4ff 00e400 aefff3 2d59ff 868667 9194ae ffd0ba
c5e2ff ab8601 6d3f36 cf8aff 97005f 09503d 546933 4a4169 a6c466 d0c3d2 ff6d41 008f95 b300c2
d1636a 057900 e3ffcd 93bad0 994501 035fa1 a3ff00 7700aa 00b6c7 00a578 b78258 5f2000 827287
6e8185 a64a76 db8eb9 4fd272 b25a3e 41460f 7fa773 3b696a 8e6c2d c4ac00 5f3650 804cff c93901
f6007a bfa2d0 ffff80 93d3cb 966464 a8abac 9270c6 d2aa64 5c8859 da58b8 f18100 d911ff 7c4ab5
464646 ffe4ff 9ad000 c1005c 4c5b71 ffb4c3 6a9ab0 e6968c 3c8fff 804080 5c5237 fed47c 494dae
ffa062 ffffff 68546d a9a483 e1c7ff 89364a 879edf 07f6e7 6bffc8 3a2995 b7798e ff4961 6b8e23
be9999 928b8d 4682b4 86c79c d1e28c 60246c 606060 40aa40 98fb98 d0e5e4 cebaab 98a140 747000
00728f 66669c fa8dff
"""
"""Colours of COCO's 133 panoptic classes, things before stuff."""

TASK_TOKENS = (49406, 518, 10549, 533, 29119, 49407)
"""CLIP's tokens of "the task is semantic", start and end included."""

_TASK_LENGTH = 77
_DIVISOR = 32
"""Sides are padded to multiples of this many pixels."""

_MEAN = (123.675, 116.280, 103.530)
_DEVIATION = (58.395, 57.120, 57.375)
_OUTLINE = (1.0, 1.0, 1.0)
_FEWEST_POINTS = 3
_POINTS_A_LINE = 1.0
"""Width of an outline, in points of matplotlib."""


@dataclass(frozen=True)
class DataSet:
    """What a network was trained on: the size it sees, and its classes' colours (0..1).

    shortest, longest: pixels that the picture's short side gets, and the long side at most.
    """

    shortest: int
    longest: int
    colours: tuple[Colour, ...]


def _colours(text: str) -> tuple[Colour, ...]:
    return tuple(tuple(level / 255 for level in bytes.fromhex(item)) for item in text.split())


DATA_SETS: Mapping[int, DataSet] = {
    150: DataSet(640, 2560, _colours(_ADE20K)),
    133: DataSet(800, 1333, _colours(_COCO)),
}
"""Number of a network's classes -> its data set."""


def segmented(picture: Array, resolution: int, network: Any, device: torch.device | str) -> Array:
    """The map of a picture `[H, W, 3]` uint8, its short side `resolution` pixels long.

    Args:
        network: transformers' OneFormerForUniversalSegmentation.

    Raises:
        ValueError: the network has the classes of no known data set.
        RuntimeError: matplotlib is not there.
    """
    data_set = DATA_SETS.get(network.config.num_labels)
    if data_set is None:
        raise ValueError(f"OneFormer with {network.config.num_labels} classes is not known")
    scaled = controlnet_ops.scale_short_side(picture, resolution)
    padded = controlnet_ops.pad_to_multiple(scaled)
    drawn = draw(classes(padded, network, data_set, device), data_set.colours)
    return drawn[: scaled.shape[0], : scaled.shape[1]]


def classes(
    picture: Array, network: Any, data_set: DataSet, device: torch.device | str
) -> NDArray[np.int64]:
    """The class of every pixel `[H, W]` of a picture `[H, W, 3]` uint8."""
    size = seen_size(*picture.shape[:2], data_set)
    resized = Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    levels = torch.from_numpy(np.array(resized, dtype=np.float32)).permute(2, 0, 1)
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (_MEAN, _DEVIATION))
    beyond = [-side % _DIVISOR for side in size]
    pixels = torch.nn.functional.pad((levels - mean) / deviation, (0, beyond[1], 0, beyond[0]))
    task = torch.zeros(1, _TASK_LENGTH)
    task[0, : len(TASK_TOKENS)] = torch.tensor(TASK_TOKENS, dtype=task.dtype)
    with torch.inference_mode():
        found = network(pixel_values=pixels[None].to(device), task_inputs=task.to(device))
        masks = _resized(found.masks_queries_logits, tuple(pixels.shape[1:]))
        masks = _resized(masks[..., : size[0], : size[1]], picture.shape[:2])[0].sigmoid()
        likely = found.class_queries_logits[0].softmax(dim=-1)[:, :-1]
        scores = torch.einsum("qc,qhw->chw", likely, masks)
    return np.asarray(scores.argmax(dim=0).cpu().numpy())


def seen_size(height: int, width: int, data_set: DataSet) -> tuple[int, int]:
    """Height and width of what the network sees of a picture, before it is padded."""
    scale = data_set.shortest / min(height, width)
    scale *= min(1.0, data_set.longest / (scale * max(height, width)))
    return int(height * scale + 0.5), int(width * scale + 0.5)


def _resized(planes: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    return torch.nn.functional.interpolate(planes, size=size, mode="bilinear", align_corners=False)


def draw(found: NDArray[np.int64], colours: Sequence[Colour]) -> Array:
    """A class map `[H, W]` as a picture `[H, W, 3]` uint8.

    The largest class is drawn first. One without holes has an outline; one with holes has none, and
    lies below all others.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RuntimeError("seg_ofade20k and seg_ofcoco are drawn by matplotlib") from error
    height, width = found.shape
    figure = Figure(frameon=False)
    dpi = figure.get_dpi()
    figure.set_size_inches((width + 0.01) / dpi, (height + 0.01) / dpi)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.axis("off")
    axes.imshow(
        np.full((height, width, 3), 255, np.uint8),
        extent=(0, width, height, 0),
        interpolation="nearest",
    )
    labels, areas = np.unique(found, return_counts=True)
    for label in labels[np.argsort(-areas)]:
        _draw_class(axes, (found == label).astype(np.uint8), colours[label])
    buffer, (across, down) = canvas.print_to_buffer()
    return np.frombuffer(buffer, np.uint8).reshape(down, across, 4)[..., :3].copy()


def _draw_class(axes: Any, mask: Array, colour: Colour) -> None:
    import cv2
    from matplotlib.patches import Polygon

    contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if (hierarchy.reshape(-1, 4)[:, 3] >= 0).any():
        height, width = mask.shape
        plane = np.zeros((height, width, 4), np.float32)
        plane[..., :3] = colour
        plane[..., 3] = mask
        axes.imshow(plane, extent=(0, width, height, 0))
        return
    for contour in contours:
        if len(contour) >= _FEWEST_POINTS:
            axes.add_patch(
                Polygon(
                    contour.reshape(-1, 2) + 0.5,
                    fill=True,
                    facecolor=(*colour, 1.0),
                    edgecolor=(*_OUTLINE, 1.0),
                    linewidth=_POINTS_A_LINE,
                )
            )
