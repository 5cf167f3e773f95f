"""Make ONNX stand-ins with the inputs and outputs of an InsightFace pack.

None of them is a trained model.  They let insightface.app.FaceAnalysis load a
folder, find one face and compute an embedding, all deterministically:

  scrfd_10g_bnkps.onnx  (det_10g.onnx for buffalo_l)   1x3xHxW -> 9 outputs
      One confident face whose box takes the middle half of the (padded)
      detector input, with five keypoints in a face-like layout.  A picture
      with no bright pixel (every channel below about 6 % of full scale)
      yields no face, so the "no face detected" path can be driven with a
      black picture.
  glintr100.onnx        (w600k_r50.onnx)               Nx3x112x112 -> Nx512
      A fixed random projection of the 7x7 average-pooled crop.
  1k3d68.onnx                                          Nx3x192x192 -> Nx3309
  2d106det.onnx                                        Nx3x192x192 -> Nx212
  genderage.onnx                                       Nx3x96x96   -> Nx3

Use: python -m tests.comfyui.lab.faces INSIGHTFACE/models
Needs: numpy, onnx.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F = TensorProto.FLOAT


class G:
    def __init__(self):
        self.nodes, self.inits, self.n = [], [], 0

    def const(self, v, dtype):
        self.n += 1
        name = f"c{self.n}"
        self.inits.append(numpy_helper.from_array(np.asarray(v, dtype=dtype), name))
        return name

    def f(self, v):
        return self.const(v, np.float32)

    def i(self, v):
        return self.const(v, np.int64)

    def op(self, kind, *ins, out=None, **kw):
        self.n += 1
        out = out or f"t{self.n}"
        # insightface looks for node names that start with Sub/Mul/_minus/_mul
        # to guess the preprocessing; "n<k>" keeps its default (mean 127.5)
        self.nodes.append(helper.make_node(kind, list(ins), [out], name=f"n{self.n}", **kw))
        return out

    def save(self, path, ins, outs):
        g = helper.make_graph(self.nodes, "standin", ins, outs, self.inits)
        m = helper.make_model(
            g, opset_imports=[helper.make_opsetid("", 11)], producer_name="synthetic-standin"
        )
        m.ir_version = 7
        onnx.checker.check_model(m)
        onnx.save(m, path)


def vi(name, shape):
    return helper.make_tensor_value_info(name, F, shape)


def detector(path):
    g = G()
    shape = g.op("Shape", "input.1")
    H = g.op("Gather", shape, g.i([2]), axis=0)
    W = g.op("Gather", shape, g.i([3]), axis=0)
    Hf, Wf = g.op("Cast", H, to=F), g.op("Cast", W, to=F)
    # is anything bright in the picture?  input is (x - 127.5) / 128
    top = g.op("ReduceMax", "input.1", keepdims=0)
    lit = g.op("Cast", g.op("Greater", top, g.f(-0.87)), to=F)
    outs = {}
    for stride in (8, 16, 32):
        s = g.i([stride])
        h, w = g.op("Div", H, s), g.op("Div", W, s)
        n = g.op("Mul", g.op("Mul", h, w), g.i([2]))
        n1 = g.op("Concat", n, g.i([1]), axis=0)
        idx = g.op(
            "Range",
            g.op("Squeeze", g.i([0]), axes=[0]),
            g.op("Squeeze", n, axes=[0]),
            g.op("Squeeze", g.i([1]), axes=[0]),
        )
        if stride == 32:
            cell = g.op("Add", g.op("Mul", g.op("Div", h, g.i([2])), w), g.op("Div", w, g.i([2])))
            hit = g.op("Cast", g.op("Equal", idx, g.op("Mul", cell, g.i([2]))), to=F)
            score = g.op("Mul", g.op("Mul", hit, g.f(0.95)), lit)
        else:
            score = g.op("Mul", g.op("Cast", idx, to=F), g.f(0.0))
        outs["score", stride] = g.op("Reshape", score, n1)
        one = g.op("Expand", g.f([[1.0]]), n1)  # n x 1
        wd, hd = g.op("Div", Wf, g.f([stride])), g.op("Div", Hf, g.f([stride]))

        def col(base, k, one=one):
            return g.op("Mul", one, g.op("Mul", base, g.f([k])))

        outs["bbox", stride] = g.op(
            "Concat", col(wd, 0.25), col(hd, 0.25), col(wd, 0.25), col(hd, 0.25), axis=1
        )
        pts = [(-0.10, -0.09), (0.10, -0.09), (0.0, 0.02), (-0.08, 0.12), (0.08, 0.12)]
        outs["kps", stride] = g.op(
            "Concat", *[c for x, y in pts for c in (col(wd, x), col(hd, y))], axis=1
        )
    infos = []
    names = iter(("448", "471", "494", "451", "474", "497", "454", "477", "500"))
    for kind, width in (("score", 1), ("bbox", 4), ("kps", 10)):
        for stride in (8, 16, 32):
            name = next(names)
            g.op("Identity", outs[kind, stride], out=name)
            infos.append(vi(name, [f"n{stride}", width]))
    g.save(path, [vi("input.1", [1, 3, "?h", "?w"])], infos)


def pooled(g, inp, size, cells):
    k = size // cells
    p = g.op("AveragePool", inp, kernel_shape=[k, k], strides=[k, k])
    return g.op("Reshape", p, g.i([-1, 3 * cells * cells]))


def recogniser(path, seed):
    r, g = np.random.default_rng(seed), G()
    x = pooled(g, "input.1", 112, 7)
    w = r.standard_normal((147, 512)).astype(np.float32)
    b = r.standard_normal((512,)).astype(np.float32) * 0.2
    y = g.op("Add", g.op("MatMul", x, g.f(w * 0.15)), g.f(b))
    g.op("Identity", y, out="683")
    g.save(path, [vi("input.1", [None, 3, 112, 112])], [vi("683", [None, 512])])


def constant_head(path, size, width, values, out, seed, wobble=0.002):
    """A fixed vector plus a very small picture-dependent part."""
    r, g = np.random.default_rng(seed), G()
    x = pooled(g, "data", size, 4)
    w = r.standard_normal((48, width)).astype(np.float32) * wobble
    g.op("Add", g.op("MatMul", x, g.f(w)), g.f(np.asarray(values, np.float32)), out=out)
    g.save(path, [vi("data", [None, 3, size, size])], [vi(out, [None, width])])


def landmarks3d(seed):
    """1103 points; insightface keeps the last 68.  Roughly a face-shaped shell."""
    r = np.random.default_rng(seed)
    p = r.uniform(-0.6, 0.6, (1103, 3))
    p[:, 2] = 0.5 - 0.6 * (p[:, 0] ** 2 + p[:, 1] ** 2)
    return p.reshape(-1)


def landmarks2d(seed):
    a = np.linspace(0, 2 * np.pi, 106, endpoint=False)
    return np.stack([0.6 * np.cos(a), 0.7 * np.sin(a)], 1).reshape(-1)


PACKS = {
    "antelopev2": ("scrfd_10g_bnkps.onnx", "glintr100.onnx"),
    "buffalo_l": ("det_10g.onnx", "w600k_r50.onnx"),
}
"""Pack -> file names of its detector and its recogniser."""


def write(pack: str, folder: Path) -> None:
    """Make one pack's five models in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    detector_name, recogniser_name = PACKS[pack]
    detector(folder / detector_name)
    recogniser(folder / recogniser_name, 7)
    constant_head(folder / "1k3d68.onnx", 192, 3309, landmarks3d(1), "fc1", 2)
    constant_head(folder / "2d106det.onnx", 192, 212, landmarks2d(1), "fc1", 3)
    constant_head(folder / "genderage.onnx", 96, 3, [1.0, -1.0, 0.3], "fc1", 4)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make stand-ins for InsightFace's model packs.")
    parser.add_argument("out", type=Path, help="the folder insightface/models")
    out = parser.parse_args().out
    for pack in PACKS:
        write(pack, out / pack)


if __name__ == "__main__":
    main()
