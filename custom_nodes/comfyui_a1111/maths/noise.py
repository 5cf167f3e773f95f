"""A1111's noise: one random stream per image, on CPU, GPU or an emulated NVIDIA generator.

A1111 draws the start noise of image ``i`` as the first draw of a generator seeded with that image's
seed and continues the same generator for the noise of every step (``modules/rng.py`` of v1.10.1).
An image therefore does not depend on the batch it is made in. `NoiseSettings` says how,
`ImageNoise` is the running state of one sampling pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from .model_sampling import scaled_linear_abar

SOURCES = ("GPU", "CPU", "NV")

_PHILOX_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_PHILOX_KEY_STEPS = (np.uint32(0x9E3779B9), np.uint32(0xBB67AE85))
_PHILOX_ROUNDS = 10
_WORD = np.uint64(32)
_LOW = 0xFFFFFFFF
_UNIFORM_SCALE = np.float32(2.3283064e-10)
_ANGLE_SCALE = np.float32(2.3283064e-10 * 6.2831855)
_LAST_TIMESTEP = 999


def like(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Values with x's device and type; on their way to a GPU nothing waits for the GPU."""
    if values.device.type == "cpu" and x.device.type == "cuda":
        values = values.pin_memory()
    return values.to(x, non_blocking=True)


class Generator(Protocol):
    """A random stream: every call of `normal` is the next draw."""

    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        """Draw N(0, 1) numbers of that shape, float32, on the CPU or the stream's own device."""
        ...


class TorchGenerator:
    """torch's own generator of one device (Mersenne Twister on the CPU, Philox on CUDA)."""

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self._generator = torch.Generator(device).manual_seed(int(seed))

    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        device = self._generator.device
        return torch.randn(tuple(shape), device=device, generator=self._generator)


class PhiloxGenerator:
    """The CUDA generator emulated, in numpy for the CPU and in torch for a GPU.

    Philox4x32-10 with key = seed and a Box-Muller transform. Counter words are (draw number, 0,
    element index, 0); the first two output words give one number
    by the sine branch of Box-Muller. Source: Salmon et al., "Parallel random numbers: as easy as 1,
    2, 3" (2011) and the test vector of A1111: seed 0, shape (3, 4) starts -0.92466259, -0.42534415,
    -2.6438457, 0.14518388.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self._seed = int(seed)
        self._device = torch.device(device)
        self._draws = 0

    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        count, draw = math.prod(shape), self._draws
        self._draws += 1
        if self._device.type == "cuda":
            return philox_normal(self._seed, draw, count, self._device).reshape(tuple(shape))
        words = _philox(self._seed, draw, count)
        noise = torch.from_numpy(_box_muller(words[0], words[1]).reshape(tuple(shape)))
        return like(noise, torch.empty(0, device=self._device))


def philox_normal(seed: int, draw: int, count: int, device: torch.device | str) -> torch.Tensor:
    """The numbers of one draw of `PhiloxGenerator`, float32 (count,), made on the device itself.

    Words of 32 bits are held in int64: a product of two wraps around in 64 bits, which leaves its
    lower and (after the shift is masked) its upper word as they are.
    """
    index = torch.arange(count, dtype=torch.int64, device=device)
    zeros = torch.zeros_like(index)
    counter = [zeros + (draw & _LOW), zeros, index, zeros]
    key = [seed & _LOW, seed >> 32 & _LOW]
    for _ in range(_PHILOX_ROUNDS):
        low, high = (counter[i] * int(m) for i, m in zip((0, 2), _PHILOX_MULTIPLIERS, strict=True))
        counter = [
            (high >> 32 & _LOW) ^ counter[1] ^ key[0],
            high & _LOW,
            (low >> 32 & _LOW) ^ counter[3] ^ key[1],
            low & _LOW,
        ]
        key = [word + int(step) & _LOW for word, step in zip(key, _PHILOX_KEY_STEPS, strict=True)]
    u, v = (
        word.double() * float(scale) + float(scale / np.float32(2))
        for word, scale in zip(counter, (_UNIFORM_SCALE, _ANGLE_SCALE), strict=False)
    )
    return (torch.sqrt(-2.0 * torch.log(u)) * torch.sin(v)).float()


def _philox(seed: int, draw: int, count: int) -> list[np.ndarray]:
    """Four output words, uint32 arrays, for the elements 0..count-1 of one draw."""
    zeros = np.zeros(count, dtype=np.uint32)
    counter = [zeros + np.uint32(draw), zeros, np.arange(count, dtype=np.uint32), zeros]
    key = [np.full(1, seed & 0xFFFFFFFF, np.uint32), np.full(1, seed >> 32 & 0xFFFFFFFF, np.uint32)]
    for _ in range(_PHILOX_ROUNDS):
        low, high = (
            counter[i].astype(np.uint64) * m
            for i, m in zip((0, 2), _PHILOX_MULTIPLIERS, strict=True)
        )
        counter = [
            (high >> _WORD).astype(np.uint32) ^ counter[1] ^ key[0],
            high.astype(np.uint32),
            (low >> _WORD).astype(np.uint32) ^ counter[3] ^ key[1],
            low.astype(np.uint32),
        ]
        key = [word + step for word, step in zip(key, _PHILOX_KEY_STEPS, strict=True)]
    return counter


def _box_muller(radius_word: np.ndarray, angle_word: np.ndarray) -> np.ndarray:
    u = radius_word.astype(np.float64) * _UNIFORM_SCALE + _UNIFORM_SCALE / np.float32(2)
    v = angle_word.astype(np.float64) * _ANGLE_SCALE + _ANGLE_SCALE / np.float32(2)
    return (np.sqrt(-2.0 * np.log(u)) * np.sin(v)).astype(np.float32)


def make_generator(source: str, seed: int, device: torch.device | str) -> Generator:
    """A fresh stream for `seed`; `device`, where sampling runs, counts only for the source GPU.

    Raises ValueError for an unknown source.
    """
    if source == "NV":
        return PhiloxGenerator(seed, device)
    if source == "CPU":
        return TorchGenerator(seed)
    if source == "GPU":
        return TorchGenerator(seed, device)
    raise ValueError(f"noise source {source!r} is none of {', '.join(SOURCES)}")


def slerp(strength: float, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Spherical interpolation of two noises (C, H, W) as A1111 does it: vectors run along H.

    Nearly parallel noises (mean cosine above 0.9995) are mixed linearly with the weights the other
    way round; that is A1111's own order and decides the picture when seed and subseed are equal.
    """
    low_unit = low / torch.norm(low, dim=1, keepdim=True)
    high_unit = high / torch.norm(high, dim=1, keepdim=True)
    cosine = (low_unit * high_unit).sum(1)
    if cosine.mean() > 0.9995:
        return low * strength + high * (1 - strength)
    omega = torch.acos(cosine)
    scale = torch.sin(omega)
    low_weight = (torch.sin((1.0 - strength) * omega) / scale).unsqueeze(1)
    high_weight = (torch.sin(strength * omega) / scale).unsqueeze(1)
    return low_weight * low + high_weight * high


def paste_centred(canvas: torch.Tensor, patch: torch.Tensor) -> torch.Tensor:
    """Put `patch` (C, h, w) in the middle of `canvas` (C, H, W), cropping what does not fit."""
    dx = (canvas.shape[2] - patch.shape[2]) // 2
    dy = (canvas.shape[1] - patch.shape[1]) // 2
    width = patch.shape[2] if dx >= 0 else patch.shape[2] + 2 * dx
    height = patch.shape[1] if dy >= 0 else patch.shape[1] + 2 * dy
    to_x, to_y = max(dx, 0), max(dy, 0)
    from_x, from_y = max(-dx, 0), max(-dy, 0)
    result = canvas.clone()
    result[:, to_y : to_y + height, to_x : to_x + width] = patch[
        :, from_y : from_y + height, from_x : from_x + width
    ]
    return result


def over_latent(noise: torch.Tensor, latent: torch.Tensor | None) -> torch.Tensor:
    """A latent noised to the last timestep, as inpaint_only+lama has A1111 start and go on.

    Source: sd-webui-controlnet v1.1.455 (`HackedImageRNG`), whose every draw in the first pass is
    sqrt(abar) * latent + sqrt(1 - abar) * noise with the abar of timestep 999. A latent of another
    size than the noise (B, C, H, W) counts for nothing.
    """
    if latent is None or latent.shape[2:] != noise.shape[2:]:
        return noise
    abar = float(scaled_linear_abar()[_LAST_TIMESTEP])
    return math.sqrt(abar) * latent.to(noise) + math.sqrt(1.0 - abar) * noise


@dataclass(frozen=True)
class NoiseSettings:
    """What decides the noise of a batch.

    seeds, subseeds: one per image; a missing subseed counts as 0. subseed_strength: 0 (off) to 1.
    resize_from: (height, width) in pixels of the size the seed was first used at, either <= 0 for
    off. seed_delta: A1111's eta_noise_seed_delta (ENSD). multiplier: factor of the start noise
    (initial_noise_multiplier). steps_repeat_start: whether the first step's noise is the start
    noise once more, as in "img2img alternative test". latent: what ControlNet's inpaint_only+lama
    mixes into every draw of its size, (1, C, H, W) in the model's scale, or None.
    """

    seeds: tuple[int, ...]
    subseeds: tuple[int, ...] = ()
    subseed_strength: float = 0.0
    resize_from: tuple[int, int] = (0, 0)
    source: str = "GPU"
    seed_delta: int = 0
    multiplier: float = 1.0
    steps_repeat_start: bool = False
    latent: torch.Tensor | None = field(default=None, compare=False)

    def start(self, shape: Sequence[int], device: torch.device | str) -> ImageNoise:
        """Begin the streams of one sampling pass for latents of that shape (B, C, H, W)."""
        return ImageNoise(self, shape, device)

    def after_start(self, shape: Sequence[int], device: torch.device | str) -> ImageNoise:
        """The streams of one sampling pass as its steps find them."""
        streams = self.start(shape, device)
        if not self.steps_repeat_start:
            streams.next()
        return streams


class ImageNoise:
    """The noise streams of one sampling pass.

    `next` gives the start noise first, then one draw of every stream per call.
    """

    def __init__(
        self, settings: NoiseSettings, shape: Sequence[int], device: torch.device | str
    ) -> None:
        """Begin the streams for latents of `shape` (B, C, H, W).

        Raises ValueError unless there is a seed for each of the B images.
        """
        if len(settings.seeds) != shape[0]:
            raise ValueError(
                f"{len(settings.seeds)} seeds were given for a batch of {shape[0]} images"
            )
        self.settings = settings
        self._shape = tuple(shape[1:])
        self._device = device
        self._generators = [self._generator(seed) for seed in settings.seeds]
        self._started = False

    def next(self) -> torch.Tensor:
        """The next noise of every image, stacked to (B, C, H, W), float32."""
        if self._started:
            drawn = [generator.normal(self._shape) for generator in self._generators]
            return over_latent(torch.stack(drawn), self.settings.latent)
        self._started = True
        first = torch.stack([self._first(index) for index in range(len(self._generators))])
        first = over_latent(first, self.settings.latent)
        if self.settings.seed_delta:
            self._generators = [
                self._generator(seed + self.settings.seed_delta) for seed in self.settings.seeds
            ]
        return first * self.settings.multiplier

    def _generator(self, seed: int) -> Generator:
        return make_generator(self.settings.source, seed, self._device)

    def _first(self, index: int) -> torch.Tensor:
        settings = self.settings
        shape = self._first_shape()
        resized = shape != self._shape
        stream = self._generators[index]
        noise = (self._generator(settings.seeds[index]) if resized else stream).normal(shape)
        if settings.subseeds and settings.subseed_strength != 0:
            subseed = settings.subseeds[index] if index < len(settings.subseeds) else 0
            noise = slerp(settings.subseed_strength, noise, self._generator(subseed).normal(shape))
        return paste_centred(stream.normal(self._shape), noise) if resized else noise

    def _first_shape(self) -> tuple[int, ...]:
        height, width = self.settings.resize_from
        if height <= 0 or width <= 0:
            return self._shape
        return (self._shape[0], height // 8, width // 8)


class NoiseSeed(int):
    """The first image's seed as an int, with the settings of the whole batch's noise.

    ComfyUI hands a NOISE object's seed down to the sampler, which is how A1111Sampler learns of the
    streams it has to continue; every other reader sees a plain number.
    """

    settings: NoiseSettings

    def __new__(cls, settings: NoiseSettings) -> NoiseSeed:
        seed = super().__new__(cls, settings.seeds[0])
        seed.settings = settings
        return seed
