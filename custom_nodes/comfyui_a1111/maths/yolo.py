"""YOLOv8 detectors as plain torch functions over a file's tensors.

A network of three parts: a backbone (layers 0..9) that halves the picture five times, a neck
(10..21) that carries the coarse levels back to the finer ones and down again, and a head (22) that
says for every cell of the levels 8, 16 and 32 how far the sides of a box lie (each as a
distribution over 16 steps) and how much each class is there. Segmentation models add 32 mask
prototypes and their coefficients for every cell; YOLO-World models compare the cells with
embeddings of class names. Sizes and depths are read off the tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from .detector_files import DetectorWeights

STRIDES = (8, 16, 32)
BINS = 16
"""Steps of the distribution of a box side's distance, in cells."""

_BATCH_NORM_EPS = 1e-3
_HEAD = "model.22"
_DOWN = frozenset(f"model.{layer}" for layer in (0, 1, 3, 5, 7, 16, 19))
"""Convolutions that halve the sides."""

_BACKBONE_BLOCKS = (2, 4, 6, 8)
"""Blocks whose bottlenecks add their input; the neck's do not."""


class UnknownDetectorError(ValueError):
    """A detector whose network is none of those that are known here."""


@dataclass(frozen=True)
class Output:
    """What the network says of one picture.

    Attributes:
        boxes: centre x, centre y, width, height in pixels of the input, [4, cells].
        scores: of every class, 0..1, [classes, cells].
        coefficients: of the mask prototypes, [32, cells]; None for a detector without masks.
        prototypes: [32, height / 4, width / 4], or None.
    """

    boxes: Tensor
    scores: Tensor
    coefficients: Tensor | None
    prototypes: Tensor | None


class Yolo:
    """A YOLOv8 network.

    Raises:
        UnknownDetectorError: the tensors are those of another network.
    """

    def __init__(self, weights: DetectorWeights, device: torch.device) -> None:
        tensors = weights.tensors
        for name in ("model.0.conv.weight", "model.21.cv1.conv.weight", f"{_HEAD}.cv2.0.2.weight"):
            if name not in tensors:
                raise UnknownDetectorError(
                    "this detector is no YOLOv8; ComfyUI-Impact-Subpack reads others"
                )
        self._tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        self._vocabulary = weights.vocabulary
        self._device = device

    @property
    def has_masks(self) -> bool:
        return f"{_HEAD}.proto.cv1.conv.weight" in self._tensors

    @property
    def _is_world(self) -> bool:
        return f"{_HEAD}.cv4.0.logit_scale" in self._tensors

    @torch.inference_mode()
    def __call__(self, picture: Tensor) -> Output:
        """Look at a picture [1, 3, height, width], RGB in 0..1, both sides multiples of 32."""
        levels = self._levels(picture.to(self._device))
        raw = [self._head(index, level) for index, level in enumerate(levels)]
        flat = torch.cat([level.flatten(2) for level in raw], 2)[0]
        coefficients = prototypes = None
        if self.has_masks:
            masks = [self._branch(f"{_HEAD}.cv4.{index}", x) for index, x in enumerate(levels)]
            coefficients = torch.cat([level.flatten(2) for level in masks], 2)[0]
            prototypes = self._prototypes(levels[0])[0]
        return Output(
            _boxes(flat[: 4 * BINS], [(level.shape[2], level.shape[3]) for level in levels]),
            flat[4 * BINS :].sigmoid(),
            coefficients,
            prototypes,
        )

    # --- layers ----------------------------------------------------------------------------------

    def _levels(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The features of the strides 8, 16 and 32."""
        conv, block = self._convolve, self._block
        x = block(2, conv("model.1", conv("model.0", x)))
        fine = block(4, conv("model.3", x))
        middle = block(6, conv("model.5", fine))
        coarse = self._pooled(block(8, conv("model.7", middle)))
        middle = block(12, torch.cat([_doubled(coarse), middle], 1))
        fine = block(15, torch.cat([_doubled(middle), fine], 1))
        middle = block(18, torch.cat([conv("model.16", fine), middle], 1))
        coarse = block(21, torch.cat([conv("model.19", middle), coarse], 1))
        return fine, middle, coarse

    def _convolve(self, name: str, x: Tensor, activate: bool = True) -> Tensor:
        """Convolution and batch norm in one, then SiLU."""
        weight, bias = self._fused[name]
        stride = 2 if name in _DOWN else 1
        x = functional.conv2d(x, weight, bias, stride, weight.shape[-1] // 2)
        return functional.silu(x) if activate else x

    @cached_property
    def _fused(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Every convolution with the batch norm behind it worked in: weight and bias."""
        tensors, fused = self._tensors, {}
        for name, weight in tensors.items():
            if not name.endswith(".conv.weight") or name.endswith(".dfl.conv.weight"):
                continue
            place = name.removesuffix(".conv.weight")
            gain = tensors[f"{place}.bn.weight"] / torch.sqrt(
                _BATCH_NORM_EPS + tensors[f"{place}.bn.running_var"]
            )
            shift = tensors[f"{place}.bn.bias"] - tensors[f"{place}.bn.running_mean"] * gain
            fused[place] = (weight * gain.view(-1, 1, 1, 1), shift)
        return fused

    def _block(self, layer: int, x: Tensor) -> Tensor:
        """Half of the channels goes through bottlenecks; all they put out is joined at the end."""
        name = f"model.{layer}"
        parts = list(self._convolve(f"{name}.cv1", x).chunk(2, 1))
        index = 0
        while f"{name}.m.{index}.cv1" in self._fused:
            inner = self._convolve(f"{name}.m.{index}.cv1", parts[-1])
            inner = self._convolve(f"{name}.m.{index}.cv2", inner)
            parts.append(parts[-1] + inner if layer in _BACKBONE_BLOCKS else inner)
            index += 1
        if f"{name}.attn.bias" in self._tensors:
            parts.append(self._text_attention(f"{name}.attn", parts[-1]))
        return self._convolve(f"{name}.cv2", torch.cat(parts, 1))

    def _pooled(self, x: Tensor) -> Tensor:
        """The picture at four widths of view: 1, 5, 9 and 13 cells."""
        steps = [self._convolve("model.9.cv1", x)]
        for _ in range(3):
            steps.append(functional.max_pool2d(steps[-1], 5, 1, 2))
        return self._convolve("model.9.cv2", torch.cat(steps, 1))

    def _branch(self, name: str, x: Tensor) -> Tensor:
        """Two convolutions and a plain one: a branch of the head."""
        x = self._convolve(f"{name}.1", self._convolve(f"{name}.0", x))
        weight, bias = self._tensors[f"{name}.2.weight"], self._tensors[f"{name}.2.bias"]
        return functional.conv2d(x, weight, bias)

    def _head(self, index: int, x: Tensor) -> Tensor:
        """Of one level: the sides' distributions, then a logit for every class."""
        kinds = self._branch(f"{_HEAD}.cv3.{index}", x)
        if self._is_world:
            kinds = self._compared(f"{_HEAD}.cv4.{index}", kinds)
        return torch.cat([self._branch(f"{_HEAD}.cv2.{index}", x), kinds], 1)

    def _prototypes(self, x: Tensor) -> Tensor:
        name = f"{_HEAD}.proto"
        x = self._convolve(f"{name}.cv1", x)
        weight, bias = (self._tensors[f"{name}.upsample.{part}"] for part in ("weight", "bias"))
        x = functional.conv_transpose2d(x, weight, bias, 2)
        return self._convolve(f"{name}.cv3", self._convolve(f"{name}.cv2", x))

    # --- YOLO-World ------------------------------------------------------------------------------

    @cached_property
    def _text(self) -> Tensor:
        """The class names' embeddings, [classes, channels], each of length 1."""
        if self._vocabulary is None:
            raise UnknownDetectorError("this YOLO-World model's file holds no class names")
        return functional.normalize(self._vocabulary.to(self._device), dim=-1)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"])

    def _text_attention(self, name: str, x: Tensor) -> Tensor:
        """Every head's channels weighed by how near a cell comes to its nearest class name."""
        bias = self._tensors[f"{name}.bias"]
        heads, (batch, _, height, width) = bias.numel(), x.shape
        guide = self._linear(f"{name}.gl", self._text)
        guide = guide.view(guide.shape[0], heads, -1)
        embedded = self._convolve(f"{name}.ec", x, False) if f"{name}.ec" in self._fused else x
        embedded = embedded.view(batch, heads, -1, height, width)
        near = torch.einsum("bmchw,nmc->bmhwn", embedded, guide).amax(-1)
        near = near / math.sqrt(guide.shape[-1]) + bias[None, :, None, None]
        weight = near.sigmoid() * self._tensors.get(f"{name}.scale", torch.ones(1)).to(x)
        projected = self._convolve(f"{name}.proj_conv", x, False)
        projected = projected.view(batch, heads, -1, height, width) * weight.unsqueeze(2)
        return projected.reshape(batch, -1, height, width)

    def _compared(self, name: str, x: Tensor) -> Tensor:
        """Logits: the likeness of a cell's embedding to each class name's."""
        tensors = self._tensors
        if f"{name}.norm.weight" in tensors:
            x = functional.batch_norm(
                x,
                tensors[f"{name}.norm.running_mean"],
                tensors[f"{name}.norm.running_var"],
                tensors[f"{name}.norm.weight"],
                tensors[f"{name}.norm.bias"],
                eps=_BATCH_NORM_EPS,
            )
        else:
            x = functional.normalize(x, dim=1)
        likeness = torch.einsum("bchw,kc->bkhw", x, self._text)
        return likeness * tensors[f"{name}.logit_scale"].exp() + tensors[f"{name}.bias"]


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def _boxes(sides: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
    """Boxes of all cells from their sides' distributions [4 * BINS, cells]."""
    steps = torch.arange(BINS, dtype=sides.dtype, device=sides.device)
    shares = sides.view(1, 4, BINS, -1).transpose(2, 1).softmax(1)
    distances = functional.conv2d(shares, steps.view(1, BINS, 1, 1)).view(4, -1)
    centres, strides = _cells(sizes, sides)
    low, high = centres - distances[:2], centres + distances[2:]
    return torch.cat([(low + high) / 2, high - low]) * strides


def _cells(sizes: list[tuple[int, int]], like: Tensor) -> tuple[Tensor, Tensor]:
    """Centres [2, cells] of all cells in units of their own stride, and the strides [1, cells]."""
    centres, strides = [], []
    for (height, width), stride in zip(sizes, STRIDES, strict=True):
        y, x = torch.meshgrid(
            torch.arange(height).to(like) + 0.5, torch.arange(width).to(like) + 0.5, indexing="ij"
        )
        centres.append(torch.stack([x.flatten(), y.flatten()]))
        strides.append(torch.full((1, height * width), float(stride)).to(like))
    return torch.cat(centres, 1), torch.cat(strides, 1)
