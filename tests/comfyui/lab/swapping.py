"""Stand-ins for what ComfyUI-ReActor loads: a detector of painted squares, a swapper, a classifier.

A face is a square of 32 pixels of full red on the grid of 32 pixels of a 640x640 picture. Its green
says how large the face around it is (half its side is 32 pixels at 0, 96 at 255), its blue whether
it is a man's (above 128). A swapped face is of one colour, which the source face decides.

Use:   python -m tests.comfyui.lab.swapping OUT     (OUT: ComfyUI's folder models)
Needs: numpy, onnx, torch, transformers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from tests.comfyui.lab.faces import F, G, constant_head, landmarks2d, landmarks3d, recogniser, vi

_STRIDES = (8, 16, 32)
_OUTPUTS = ("448", "471", "494", "451", "474", "497", "454", "477", "500")
_RED_FROM = 0.9
_CELL = 32
_POINTS = ((-0.3, -0.3), (0.3, -0.3), (0.0, 0.05), (-0.25, 0.35), (0.25, 0.35))
"""Eyes, nose and corners of the mouth, in halves of a face's side."""


def detector(path: Path) -> None:
    """Faces where a cell of the coarsest stride is red; two anchors a cell, of which one counts."""
    g = G()
    pool = {"kernel_shape": [_CELL, _CELL], "strides": [_CELL, _CELL]}
    cells = g.op("Transpose", g.op("AveragePool", "input.1", **pool), perm=[0, 2, 3, 1])
    cells = g.op("Reshape", cells, g.i([-1, 3]))
    red, green = (g.op("Gather", cells, g.i([channel]), axis=1) for channel in (0, 1))
    hit = g.op("Mul", g.op("Cast", g.op("Greater", red, g.f(_RED_FROM)), to=F), g.f(0.95))
    half = g.op("Add", g.op("Mul", g.op("Add", green, g.f(1.0)), g.f(1.0)), g.f(1.0))
    lower, upper = g.op("Sub", half, g.f(0.5)), g.op("Add", half, g.f(0.5))
    box = g.op("Concat", lower, lower, upper, upper, axis=1)
    points = g.op(
        "Concat",
        *(
            g.op("Add", g.op("Mul", half, g.f(place)), g.f(0.5))
            for point in _POINTS
            for place in point
        ),
        axis=1,
    )
    score = g.op("Concat", hit, g.op("Mul", hit, g.f(0.0)), axis=1)
    found = {
        ("score", 32): g.op("Reshape", score, g.i([-1, 1])),
        ("bbox", 32): g.op("Reshape", g.op("Concat", box, box, axis=1), g.i([-1, 4])),
        ("kps", 32): g.op("Reshape", g.op("Concat", points, points, axis=1), g.i([-1, 10])),
    }
    size = g.op("Shape", "input.1")
    for stride in _STRIDES[:2]:
        sides = g.op("Div", g.op("Slice", size, g.i([2]), g.i([4])), g.i([stride]))
        count = g.op("Mul", g.op("ReduceProd", sides, keepdims=1), g.i([2]))
        for kind, width in (("score", 1), ("bbox", 4), ("kps", 10)):
            shape = g.op("Concat", count, g.i([width]), axis=0)
            found[kind, stride] = g.op("Expand", g.f([[0.0]]), shape)
    infos, names = [], iter(_OUTPUTS)
    for kind, width in (("score", 1), ("bbox", 4), ("kps", 10)):
        for stride in _STRIDES:
            name = next(names)
            g.op("Identity", found[kind, stride], out=name)
            infos.append(vi(name, [f"n{stride}", width]))
    g.save(path, [vi("input.1", [1, 3, "?h", "?w"])], infos)


def gender(path: Path) -> None:
    """A man by the blue in the middle of the crop, levels 0 to 255."""
    g = G()
    blue = g.op("Slice", "data", g.i([2, 44, 44]), g.i([3, 52, 52]), g.i([1, 2, 3]))
    level = g.op("Sub", g.op("ReduceMean", blue, axes=[1, 2, 3], keepdims=0), g.f(128.0))
    level = g.op("Reshape", level, g.i([-1, 1]))
    g.op("Concat", g.op("Neg", level), level, g.op("Abs", level), axis=1, out="fc1")
    g.save(path, [vi("data", [None, 3, 96, 96])], [vi("fc1", [None, 3])])


def swapper(path: Path) -> None:
    """A picture of one colour: the first three numbers of the source face."""
    g = G()
    first = g.op("Slice", "source", g.i([0]), g.i([3]), g.i([1]))
    colour = g.op("Sigmoid", g.op("Mul", first, g.f(40.0)))
    colour = g.op("Reshape", colour, g.i([1, 3, 1, 1]))
    blank = g.op("Mul", "target", g.f(0.0))
    face = np.eye(512, dtype=np.float32)
    g.op("Add", blank, colour, out="output")
    g.f(face)  # the last initializer: what a face's embedding is multiplied with
    g.save(
        path,
        [vi("target", [1, 3, 128, 128]), vi("source", [1, 512])],
        [vi("output", [1, 3, 128, 128])],
    )


def classifier(folder: Path) -> None:
    """The pack's filter, which is sure of nothing."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(3)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        id2label={0: "sfw", 1: "nsfw"},
        label2id={"sfw": 0, "nsfw": 1},
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def write(models: Path) -> None:
    """Make every file below ComfyUI's folder models."""
    pack = models / "insightface" / "models" / "buffalo_l"
    pack.mkdir(parents=True, exist_ok=True)
    detector(pack / "det_10g.onnx")
    gender(pack / "genderage.onnx")
    recogniser(pack / "w600k_r50.onnx", 7)
    constant_head(pack / "1k3d68.onnx", 192, 3309, landmarks3d(1), "fc1", 2)
    constant_head(pack / "2d106det.onnx", 192, 212, landmarks2d(1), "fc1", 3)
    swapper(models / "insightface" / "inswapper_128.onnx")
    classifier(models / "nsfw_detector" / "vit-base-nsfw-detector")
    restorers = models / "facerestore_models"
    restorers.mkdir(exist_ok=True)
    (restorers / "GFPGANv1.4.pth").touch()  # listed, so that the pack fetches none


def main() -> None:
    parser = argparse.ArgumentParser(description="Make what ComfyUI-ReActor loads.")
    parser.add_argument("out", type=Path, help="ComfyUI's folder models")
    write(parser.parse_args().out)


if __name__ == "__main__":
    main()
