"""A1111's reference_* modules: a picture's own features join the self-attention, in plain torch.

Source of the rules: sd-webui-controlnet v1.1.455 (`hook.py`). At every call the UNet first runs on
the reference latent, noised to the call's level, and its self-attention inputs (and, for AdaIN, the
mean and variance of its blocks' outputs) are kept; then it runs on the picture, which attends to
them as well (and takes their mean and variance). Whoever runs next without keeping such features
reads them, and takes them away: of two units of different modules that is the second one's run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .noise import like

KINDS: Mapping[str, tuple[bool, bool]] = {
    "reference_only": (True, False),
    "reference_adain": (False, True),
    "reference_adain+attn": (True, True),
}
"""Module -> whether it reaches the self-attention, and whether it passes on mean and variance."""

BATCH = "a1111_batch"
"""Key in transformer_options under which A1111Guider passes a `WholeBatch`."""

_LEAST_FIDELITY = 1e-5
_LEAST_VARIANCE = 1e-6
_REACH = 2.0
"""AdaIN reaches every block at half the weight at which self-attention reaches every layer."""

_ADAIN_INPUTS: Mapping[bool, Sequence[int]] = {
    False: (4, 5, 7, 8, 10, 11),
    True: (4, 5, 7, 8),
}
_ADAIN_OUTPUTS: Mapping[bool, Sequence[int]] = {False: tuple(range(8)), True: tuple(range(6))}
"""Numbers of the blocks that AdaIN works on, without and with SDXL's shape."""


@dataclass(frozen=True, eq=False)
class Reference:
    """One reference unit in one pass.

    Attributes:
        kind: a key of `KINDS`.
        latent: `[1, 4, h, w]`, in the VAE's scale.
        weight: how many layers take part: those whose place (0 to 1) is below it.
        fidelity: 0..1: how far the negative prompt is left alone.
        start, end: ComfyUI's percents of the noise schedule between which it acts.
    """

    kind: str
    latent: Tensor
    weight: float
    fidelity: float
    start: float
    end: float

    def levels(self, sampling: Any) -> tuple[float, float]:
        """The model's noise levels from which and down to which it acts."""
        first, last = map(sampling.percent_to_sigma, (self.start, self.end))
        return float(first), float(last)


@dataclass(frozen=True)
class WholeBatch:
    """What A1111 would run in one call, of which ComfyUI may run parts one after the other.

    Attributes:
        call: the number of the denoiser's call, from 0 in every pass; None where nobody counts.
        part, parts: which AND part the positive rows are of, and how many there are.
        has_negative: whether the negative prompt is run.
        step: A1111's step counter at the call.
        level: whether both prompts are of one length, so that A1111 runs them in one batch.
    """

    call: int | None = None
    part: int = 0
    parts: int = 1
    has_negative: bool = True
    level: bool = False
    step: int = 0

    def size(self, images: int) -> int:
        """Rows of the whole batch."""
        return images * (self.parts + self.has_negative)

    def rows(self, kinds: Sequence[int], images: int) -> list[int]:
        """Which rows of the whole batch a part of it holds.

        A1111 has the positive rows first, the AND parts of an image beside each other, then the
        negative ones.

        Args:
            kinds: per chunk of the part, 0 for positive and 1 for negative.
        """
        positive = [image * self.parts + self.part for image in range(images)]
        negative = [images * self.parts + image for image in range(images)]
        return [row for kind in kinds for row in (negative if kind else positive)]


class NoiseStream:
    """The noise of the reference runs, from the generator that A1111 seeds with an image's seed.

    Args:
        seed: the seed; None draws without one, as A1111 does with another source of noise.
        drawn: numbers that were drawn from it before, by the encoder of control pictures.
    """

    def __init__(self, seed: int | None, drawn: int) -> None:
        self._seed = seed
        self._drawn = drawn
        self._generators: dict[str, torch.Generator] = {}

    def next(self, shape: Sequence[int], device: torch.device) -> Tensor:
        generator = self._generators.get(device.type) or self._start(device)
        return torch.randn(tuple(shape), generator=generator, device=device)

    def _start(self, device: torch.device) -> torch.Generator:
        generator = torch.Generator(device)
        self._generators[device.type] = generator
        if self._seed is None:
            generator.seed()
            return generator
        generator.manual_seed(self._seed)
        if device.type == "cpu" and self._drawn:  # the encoder draws on the CPU
            torch.randn(self._drawn, generator=generator)
        return generator


@dataclass(eq=False)
class Bank:
    """What the reference runs of a call left in one place of the UNet."""

    kept: list[Any] = field(default_factory=list)
    fidelities: list[float] = field(default_factory=list)

    @property
    def fidelity(self) -> float:
        return sum(self.fidelities) / len(self.fidelities)

    def clear(self) -> None:
        self.kept, self.fidelities = [], []

    def taken(self) -> tuple[list[Any], float]:
        """What is kept and its fidelity, which whoever reads takes away."""
        found = self.kept, self.fidelity
        self.clear()
        return found


class State:
    """What the patched places of a UNet share during a call.

    Attributes:
        writing: the reference whose run this is; None in the picture's own run.
        negative: rows of the batch that belong to the negative prompt, where they are told apart.
    """

    def __init__(self) -> None:
        self.writing: Reference | None = None
        self.negative: list[int] = []
        self.banks: list[Bank] = []

    def bank(self) -> Bank:
        bank = Bank()
        self.banks.append(bank)
        return bank

    def clear(self) -> None:
        for bank in self.banks:
            bank.clear()


def attention(
    state: State, bank: Bank, place: float, inner: Callable[..., Tensor]
) -> Callable[..., Tensor]:
    """A self-attention's forward that keeps the reference's input, or attends to it.

    Args:
        place: 0..1, the layer's place in the order in which layers take part.
        inner: the forward it replaces: (x, context=..., ...).
    """

    def forward(x: Tensor, context: Tensor | None = None, **more: Any) -> Tensor:
        more.pop("value", None)
        writing = state.writing
        if writing is not None and KINDS[writing.kind][0]:
            if writing.weight > place:
                bank.kept.append(x.detach().clone())
                bank.fidelities.append(writing.fidelity)
            return inner(x, context=context, **more)
        if not bank.kept:
            return inner(x, context=context, **more)
        kept, fidelity = bank.taken()
        free = inner(x, context=torch.cat([x, *kept], dim=1), **more)
        if not state.negative or fidelity <= _LEAST_FIDELITY:
            return free
        faithful = free.clone()
        rows = x[state.negative]
        faithful[state.negative] = inner(rows, context=rows, **more)
        return fidelity * faithful + (1.0 - fidelity) * free

    return forward


def adain(
    state: State, bank: Bank, place: float, inner: Callable[..., Tensor]
) -> Callable[..., Tensor]:
    """A block's last layer's forward that keeps mean and variance, or takes on the reference's."""

    def forward(*args: Any, **more: Any) -> Tensor:
        x = inner(*args, **more)
        writing = state.writing
        if writing is not None and KINDS[writing.kind][1]:
            if writing.weight > place:
                bank.kept.append(torch.var_mean(x, dim=(2, 3), keepdim=True, correction=0))
                bank.fidelities.append(writing.fidelity)
            return x
        if not bank.kept:
            return x
        kept, fidelity = bank.taken()
        free = _restyled(x, kept)
        if not state.negative or fidelity <= _LEAST_FIDELITY:
            return free.to(x.dtype)
        faithful = free.clone()
        faithful[state.negative] = x[state.negative].to(free.dtype)
        return (fidelity * faithful + (1.0 - fidelity) * free).to(x.dtype)

    return forward


def _restyled(x: Tensor, kept: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Features with the mean of the kept means, and the spread of the kept variances' mean."""
    variance, mean = torch.var_mean(x, dim=(2, 3), keepdim=True, correction=0)
    wanted_mean = sum(item[1] for item in kept) / len(kept)
    wanted_variance = sum(item[0] for item in kept) / len(kept)
    spread, wanted = (
        torch.maximum(item, torch.full_like(item, _LEAST_VARIANCE)) ** 0.5
        for item in (variance, wanted_variance)
    )
    return (x - mean) / spread * wanted + wanted_mean


def attention_places(widths: Sequence[int]) -> list[float]:
    """The places of a UNet's transformer blocks, given their widths in the order of the UNet.

    The widest take part first, those of one width in order.
    """
    order = sorted(range(len(widths)), key=lambda index: -widths[index])
    places = [0.0] * len(widths)
    for position, index in enumerate(order):
        places[index] = position / len(widths)
    return places


def adain_places(is_sdxl: bool) -> Iterator[tuple[str, int, float]]:
    """(kind of block, number, place) of the blocks that AdaIN works on."""
    yield "middle", 0, 0.0
    inputs, outputs = _ADAIN_INPUTS[is_sdxl], _ADAIN_OUTPUTS[is_sdxl]
    for position, number in enumerate(inputs):
        yield "input", number, _REACH * (1.0 - position / len(inputs))
    for position, number in enumerate(outputs):
        yield "output", number, _REACH * position / len(outputs)


class References:
    """Runs a pass's reference units before every call of the model.

    Args:
        units: in order.
        seed: of the noise; None draws without one.
        drawn: numbers drawn before from the generator with that seed.
        state: what the patched UNet reads.
        tells_negative: whether rows of the negative prompt are told apart.
        inner: the model wrapper that was there before, or None.
    """

    def __init__(
        self,
        units: Sequence[Reference],
        seed: int | None,
        drawn: int,
        state: State,
        tells_negative: bool,
        inner: Callable[..., Any] | None,
    ) -> None:
        self._units = tuple(units)
        self._seed = seed
        self._drawn = drawn
        self._state = state
        self._tells_negative = tells_negative
        self._inner = inner
        self._stream = NoiseStream(seed, drawn)
        self._call: int | None = None
        self._noise: dict[Reference, Tensor] = {}
        self._levels: dict[Reference, tuple[float, float]] = {}

    def run(self, apply_model: Callable[..., Any], args: Mapping[str, Any]) -> Any:
        """A model wrapper's work: the references' runs, then the picture's own."""
        kinds: Sequence[int] = args["cond_or_uncond"]
        batch = args["c"]["transformer_options"].get(BATCH, WholeBatch())
        x: Tensor = args["input"]
        images = x.shape[0] // len(kinds)
        model = apply_model.__self__  # type: ignore[attr-defined]
        rows = batch.rows(kinds, images)
        level = args["c"]["transformer_options"].get("sigmas", args["timestep"])
        self._begin(batch, (batch.size(images), *x.shape[1:]), x, model, level)
        state = self._state
        state.clear()
        state.negative = [
            index for index in range(x.shape[0]) if kinds[index // images] and self._tells_negative
        ]
        try:
            for unit, noise in self._noise.items():
                state.writing = unit
                self._apply(apply_model, _in_place(args, unit, noise[rows], model))
            state.writing = None
            return self._apply(apply_model, args)
        finally:
            state.writing = None
            state.clear()

    def _begin(
        self, batch: WholeBatch, shape: Sequence[int], x: Tensor, model: Any, sigma: Tensor
    ) -> None:
        """Draw the noise of a new call of the denoiser: for all of its rows, unit by unit."""
        if batch.call is not None and batch.call == self._call:
            return
        if batch.call == 0:
            self._stream, self._levels = NoiseStream(self._seed, self._drawn), {}
        self._call = batch.call
        if not self._levels:  # read once a pass: reading them waits for the GPU
            self._levels = {unit: unit.levels(model.model_sampling) for unit in self._units}
        level = float(sigma[0])
        self._noise = {
            unit: self._stream.next(shape, x.device).to(x.dtype)
            for unit, (first, last) in self._levels.items()
            if last <= level <= first
        }

    def _apply(self, apply_model: Callable[..., Any], args: Mapping[str, Any]) -> Any:
        if self._inner is not None:
            return self._inner(apply_model, args)
        return apply_model(args["input"], args["timestep"], **args["c"])


def _in_place(
    args: Mapping[str, Any], unit: Reference, noise: Tensor, model: Any
) -> dict[str, Any]:
    """A call's arguments with the noised reference in the picture's place, and no ControlNet.

    ComfyUI scales the input of its model; that is taken back beforehand. An inpainting checkpoint
    gets an empty mask and the reference as its source.
    """
    sampling, sigma = model.model_sampling, args["timestep"][:1]
    latent = like(model.process_latent_in(unit.latent), noise)
    sigmas = getattr(sampling, "model_sigmas", sampling.sigmas)
    nearest = sampling.timestep(sigma).round().long().clamp(0, len(sigmas) - 1)
    abar = 1.0 / (sigmas[nearest.to(sigmas.device)].to(noise) ** 2 + 1.0)
    rows = abar.sqrt() * latent + (1.0 - abar).sqrt() * noise
    c = {key: value for key, value in args["c"].items() if key != "control"}
    if c.get("c_concat") is not None:
        source = latent.expand_as(noise)
        c["c_concat"] = torch.cat([torch.zeros_like(source[:, :1]), source], dim=1)
    return {**args, "input": rows * (sigma.to(noise) ** 2 + 1.0) ** 0.5, "c": c}
