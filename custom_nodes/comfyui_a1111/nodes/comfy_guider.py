"""A1111's denoiser as a subclass of ComfyUI's CFGGuider.

Imported inside ComfyUI only; the maths is in guider.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import comfy.conds
import comfy.ldm.modules.attention
import comfy.model_base
import comfy.model_patcher
import comfy.sampler_helpers
import comfy.samplers
import comfy.utils
import torch
from torch import Tensor

from ..maths import image_conditioning
from ..maths.and_parts import CALCULATE, TRANSFORMER, WRAPPER, may_run_together, predict_parts
from ..maths.control_ops import rows_as_positive, with_kept_tokens
from ..maths.control_slots import SLOTS, SLOTS_SDXL, by_slots
from ..maths.counted_ranges import CountedRanges
from ..maths.guider import (
    CALL,
    Call,
    Entry,
    Guidance,
    current_entries,
    length_of,
    level_parts,
    pad_apart,
    prompt_parts,
)
from ..maths.reference import BATCH, WholeBatch
from ..maths.regional import HALVES, SHARES, half_heads
from ..maths.tiled_control import TILES, Postponed

_KEEP_UNCOND = "disable_cfg1_optimization"


@dataclass(frozen=True)
class Refiner:
    """Checkpoint (MODEL) to change to in mid-sampling, and its text encoder's conditioning."""

    model: Any
    conds: dict[str, list[Entry]]


@dataclass(frozen=True)
class Prompts:
    """What a call of the model runs: entries and weight of every AND part, and the negative's.

    Attributes:
        shares: where each part counts, `[height, width]`; empty where all do everywhere.
    """

    positives: list[list[Entry]]
    weights: list[float]
    negative: list[Entry]
    shares: list[Tensor] = field(default_factory=list)

    @property
    def level(self) -> bool:
        """Whether both prompts are of one length, so that A1111 runs them in one batch."""
        return length_of(self.positives[0]) == length_of(self.negative)


@dataclass(frozen=True)
class PassInputs:
    """What a pass was started with, for conditioning that is prepared later."""

    noise: Tensor
    device: torch.device
    latent_image: Tensor
    denoise_mask: Tensor | None
    seed: int | None
    newer: Mapping[str, Any]


class A1111CFGGuider(comfy.samplers.CFGGuider):
    """Guidance by A1111's rules; what counts calls is made anew for every pass."""

    def __init__(self, model: Any, positive: Any, negative: Any, guidance: Guidance) -> None:
        super().__init__(model)
        self.guidance = guidance
        self.set_conds(positive, negative)
        self.set_cfg(guidance.cfg)
        self._refiner: Refiner | None = None
        self._empty_prompt: Tensor | None = None
        self._image: Mapping[str, Any] | None = None

    def set_image(self, latent: Mapping[str, Any]) -> None:
        """What an inpainting or editing checkpoint reads beside the latent.

        Args:
            latent: as A1111ImageConditioning makes it, with a ``noise_mask`` for inpainting.
        """
        self._image = latent

    @property
    def beside(self) -> int:
        """How many channels the model takes beside the latent: 5 for inpainting, 4 for editing."""
        return _beside_latent(self.model_patcher.model)

    def set_empty_prompt(self, conditioning: Any) -> None:
        """The encoding of an empty prompt, for ``padding`` with it."""
        self._empty_prompt = conditioning[0][0]

    def set_refiner(self, model: Any, positive: Any, negative: Any) -> None:
        convert = comfy.sampler_helpers.convert_cond
        self._refiner = Refiner(
            model, {"positive": convert(positive), "negative": convert(negative)}
        )

    def outer_sample(self, *args: Any, **kwargs: Any) -> Tensor:
        self._begin()
        try:
            return super().outer_sample(*args, **kwargs)
        finally:
            if self._active_refiner is not None:
                self._active_refiner.clean_up()
            self._begin()  # ComfyUI's cache keeps the guider, which keeps nothing on the GPU

    def _begin(self) -> None:
        """Know nothing of any pass."""
        self._calls = 0
        self._pictured: dict[str, list[Entry]] | None = None
        self._active_refiner: ActiveRefiner | None = None
        self._table: Tensor | None = None
        self._part_shares: list[Tensor] = []

    def inner_sample(
        self,
        noise: Tensor,
        latent_image: Tensor,
        device: torch.device,
        sampler: Any,
        sigmas: Tensor,
        denoise_mask: Tensor | None,
        callback: Any,
        disable_pbar: bool,
        seed: int | None,
        **newer: Any,
    ) -> Tensor:
        """Sample as CFGGuider does; `newer` is what later versions of ComfyUI pass besides."""
        self._inputs = PassInputs(noise, device, latent_image, denoise_mask, seed, newer)
        run = (noise, latent_image, device, sampler, sigmas, denoise_mask)
        try:
            return super().inner_sample(*run, callback, disable_pbar, seed, **newer)
        finally:
            del self._inputs

    def predict_noise(
        self,
        x: Tensor,
        timestep: Tensor,
        model_options: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> Tensor:
        """The guided clean latent for x (B, C, H, W) at sigma `timestep` (B,); counts one call."""
        options = dict(model_options or {})
        call = options.pop(CALL, None) or Call(float(timestep[0]))
        if self._switches(call):
            self._start_refiner()
        if self._active_refiner is not None:
            options = self._active_refiner.options(options)
        if self._image is not None:
            self._show_image()
        number, self._calls = self._calls, self._calls + 1
        prompts = self._current_prompts(number)
        prompts = replace(prompts, shares=self._shares(options.pop(SHARES, None), x, prompts))
        together = may_run_together(options, prompts.positives)
        if self.guidance.counted_steps:
            prompts = self._by_counter(prompts, call, options)
        if options.pop(TILES, False):
            prompts = _with_postponed_control(prompts)
        scale = self._set_scale(options, prompts, number, call)
        self._set_wrappers(options, prompts, x.shape[0])
        calculate = options.get(CALCULATE, _calc_cond_batch)
        options[CALCULATE] = functools.partial(
            predict_parts,
            prompts.positives,
            prompts.weights,
            call,
            calculate,
            together,
            shares=prompts.shares,
        )
        guided = comfy.samplers.sampling_function(
            self.inner_model,
            x,
            timestep,
            prompts.negative,
            prompts.positives[0],
            scale,
            model_options=options,
            seed=seed,
        )
        if not self._edits:
            return guided
        options[CALCULATE] = calculate
        return self._guided_by_image(guided, call, (x, timestep, prompts.negative, options))

    def _current_prompts(self, number: int) -> Prompts:
        """What is meant for a call (from 0), its texts made of equal length where A1111 does so."""
        parts = prompt_parts(self.conds["positive"])
        positives = level_parts([current_entries(entries, number) for _, entries in parts])
        negative = current_entries(self.conds["negative"], number)
        positives, negative = pad_apart(
            positives, negative, self.guidance.padding, self._empty_prompt
        )
        return Prompts(positives, [weight for weight, _ in parts], negative)

    def _by_counter(self, prompts: Prompts, call: Call, options: dict[str, Any]) -> Prompts:
        """What acts of the prompts by A1111's step counter; patches are told by a wrapper."""
        sampling = self.inner_model.model_sampling
        ranges = CountedRanges(sampling, call.step, self.guidance.counted_steps)
        options[WRAPPER] = ranges.wrapper(options.get(WRAPPER))
        return replace(
            prompts,
            positives=[ranges.acting(entries) for entries in prompts.positives],
            negative=ranges.acting(prompts.negative),
        )

    def _set_scale(
        self, options: dict[str, Any], prompts: Prompts, number: int, call: Call
    ) -> float:
        """The CFG scale of a call, and in the options whether the negative prompt is run."""
        skips = not self._edits and self.guidance.skips_uncond(number, call.level)
        if skips:
            options[_KEEP_UNCOND] = False
        elif prompts.weights != [1.0] or prompts.shares or call.wants_uncond or self._edits:
            options[_KEEP_UNCOND] = True
        batch = WholeBatch(number, 0, len(prompts.positives), not skips, prompts.level, call.step)
        options[TRANSFORMER] = {**options.get(TRANSFORMER, {}), BATCH: batch}
        return 1.0 if skips else self.cfg * call.cfg_factor

    def _shares(
        self, find: Callable[[int, int], list[Tensor]] | None, x: Tensor, prompts: Prompts
    ) -> list[Tensor]:
        """Where each AND part of a latent `[B, C, H, W]` counts; empty where all do everywhere.

        Raises:
            ValueError: there are more parts than regions.
        """
        if find is None:
            return []
        if not self._part_shares:
            self._part_shares = [share.to(x) for share in find(x.shape[-2], x.shape[-1])]
        count, parts = len(self._part_shares), len(prompts.positives)
        if count < parts:
            raise ValueError(f"the prompt has {parts} parts for {count} regions")
        return self._part_shares[:parts]

    def _set_wrappers(self, options: dict[str, Any], prompts: Prompts, images: int) -> None:
        """Change the model's patches where regions, image prompts or ControlNets need it.

        Args:
            images: how many are sampled.
        """
        transformer = options[TRANSFORMER]
        halves = transformer.get(HALVES)
        if halves is not None:
            transformer = without_image_prompts(transformer)
            if halves(transformer[BATCH]):
                transformer = with_half_heads(transformer)
        elif _has_image_prompts(transformer):
            transformer = self._with_image_prompts(transformer, prompts, images)
        options[TRANSFORMER] = transformer
        if _is_short(self.inner_model):
            options[WRAPPER] = by_slots(
                options.get(WRAPPER), _blocks(self.inner_model), _slots(self.inner_model)
            )

    def _with_image_prompts(
        self, transformer: dict[str, Any], prompts: Prompts, images: int
    ) -> dict[str, Any]:
        """Transformer options under which image prompts read the tokens that they have in A1111.

        A1111 runs prompts of unequal length one after the other, the positive one first. The
        extension keeps the tokens of the first call, so the negative prompt gets the positive one's
        then; and where calls leave out the negative prompt, rows read what `with_kept_tokens` says.
        """
        if not prompts.level:
            return rows_as_positive(transformer)
        first = self.guidance.skip_early_cond == 0
        now = transformer[BATCH].has_negative
        if len(prompts.positives) > 1 or first == now:
            return transformer
        return with_kept_tokens(transformer, images, negative_first=first, negative_now=now)

    def _guided_by_image(
        self, guided: Tensor, call: Call, run: tuple[Tensor, Tensor, list[Entry], dict[str, Any]]
    ) -> Tensor:
        """A prediction that the text guides, guided by the picture of an editing checkpoint."""
        with_image = call.uncond
        call.uncond = self._without_image(*run)
        return guided + image_conditioning.image_guidance(
            with_image, call.uncond, self.guidance.image_cfg_scale
        )

    @property
    def _edits(self) -> bool:
        """Whether the picture guides beside the text."""
        return (
            self._image is not None
            and "noise_mask" not in self._image
            and self.guidance.image_cfg_scale != 1
        )

    def _show_image(self) -> None:
        """Give every prompt the picture, once for a model, if that takes one."""
        if self._pictured is self.conds:
            return
        assert self._image is not None
        latent, mask = self._image["samples"], self._image.get("noise_mask")
        if mask is not None:  # an editing checkpoint takes the latent as the VAE made it
            latent = self.inner_model.process_latent_in(latent)
        beside = image_conditioning.channels(latent, mask)
        taken = _beside_latent(self.inner_model)
        if taken and beside.shape[1] != taken:
            raise ValueError(
                f"A1111Guider: the model takes {taken} channels beside the latent, and its "
                f"image_conditioning has {beside.shape[1]}"
            )
        if taken:
            self.conds = {
                key: [_beside(entry, beside) for entry in entries]
                for key, entries in self.conds.items()
            }
        self._pictured = self.conds

    def _without_image(
        self, x: Tensor, timestep: Tensor, negative: Sequence[Entry], options: dict[str, Any]
    ) -> Tensor:
        """The prediction of the negative prompt for an empty picture."""
        blank = torch.zeros_like(x)
        calculate = options.pop(CALCULATE)
        args = {
            "model": self.inner_model,
            "conds": [None, [_beside(entry, blank) for entry in negative]],
            "input": x,
            "sigma": timestep,
            "model_options": options,
        }
        prediction: Tensor = calculate(args)[1]
        return prediction

    def _switches(self, call: Call) -> bool:
        """Whether the refiner takes over at this call.

        A sigma counts by its nearest entry in the model's table.
        """
        if self._refiner is None or self._active_refiner is not None:
            return False
        if call.timestep is not None:
            return self.guidance.wants_refiner(self._calls, int(call.timestep))
        if self._table is None:
            self._table = self.inner_model.model_sampling.sigmas.cpu()
        nearest = int(torch.argmin(torch.abs(self._table - call.sigma)))
        return self.guidance.wants_refiner(self._calls, nearest)

    def _start_refiner(self) -> None:
        active = ActiveRefiner(self._refiner, self.conds, self._inputs)
        self._active_refiner = active
        self.inner_model, self.conds = active.inner_model, active.conds


class ActiveRefiner:
    """The refiner in the base model's place, prepared as CFGGuider prepares a model."""

    def __init__(
        self, refiner: Refiner, base_conds: dict[str, list[Entry]], inputs: PassInputs
    ) -> None:
        self._patcher = refiner.model
        self._base_conds = base_conds
        self._options = comfy.model_patcher.create_model_options_clone(refiner.model.model_options)
        conds = {key: [entry.copy() for entry in entries] for key, entries in refiner.conds.items()}
        comfy.samplers.preprocess_conds_hooks(conds)
        comfy.sampler_helpers.prepare_model_patcher(self._patcher, conds, self._options)
        comfy.samplers.filter_registered_hooks_on_conds(conds, self._options)
        self.inner_model, conds, self._loaded = comfy.sampler_helpers.prepare_sampling(
            self._patcher, inputs.noise.shape, conds, self._options
        )
        dtype = self._patcher.model_dtype()
        comfy.samplers.cast_to_load_options(self._options, device=inputs.device, dtype=dtype)
        self._patcher.pre_run()
        self.conds = comfy.samplers.process_conds(
            self.inner_model,
            inputs.noise,
            conds,
            inputs.device,
            inputs.latent_image,
            inputs.denoise_mask,
            inputs.seed,
            **inputs.newer,
        )

    def options(self, base_options: Mapping[str, Any]) -> dict[str, Any]:
        """The refiner's own options, with the pass's sigmas for patches that look them up."""
        options = comfy.model_patcher.create_model_options_clone(self._options)
        sigmas = base_options["transformer_options"]["sample_sigmas"]
        options.setdefault("transformer_options", {})["sample_sigmas"] = sigmas
        return options

    def clean_up(self) -> None:
        self._patcher.cleanup()
        comfy.sampler_helpers.cleanup_models(self._base_conds, self._loaded)


def _beside_latent(model: Any) -> int:
    """Channels that a model takes beside the latent."""
    latent: int = model.latent_format.latent_channels
    return max(0, getattr(model.diffusion_model, "in_channels", latent) - latent)


def _beside(entry: Entry, picture: Tensor) -> Entry:
    """A prompt's entry with a picture `[B, C, h, w]` that is joined to the latent."""
    beside = comfy.conds.CONDNoiseShape(picture)
    return {**entry, "model_conds": {**entry["model_conds"], "c_concat": beside}}


def _blocks(model: Any) -> int:
    """How many blocks the encoder of a model's UNet has; 0 where it is no UNet."""
    return len(getattr(model.diffusion_model, "input_blocks", ()))


def _slots(model: Any) -> int:
    return SLOTS_SDXL if isinstance(model, comfy.model_base.SDXL) else SLOTS


def _is_short(model: Any) -> bool:
    """Whether a UNet has fewer blocks than its architecture's usual one."""
    return 0 < _blocks(model) < _slots(model) - 1


def _has_image_prompts(transformer: Mapping[str, Any]) -> bool:
    """Whether something adds to the cross-attention, as IP-Adapter and InstantID do."""
    return bool(transformer.get("patches_replace", {}).get("attn2"))


def _with_postponed_control(prompts: Prompts) -> Prompts:
    """Prompts whose ControlNets wait for who runs the model; equal ones stay equal."""
    known: dict[int, Postponed] = {}

    def postponed(entry: Entry) -> Entry:
        control = entry.get("control")
        if control is None:
            return entry
        own = known.setdefault(id(control), Postponed(control, _upscaled))
        return {**entry, "control": own}

    return replace(
        prompts,
        positives=[[postponed(entry) for entry in entries] for entries in prompts.positives],
        negative=[postponed(entry) for entry in prompts.negative],
    )


def _upscaled(hint: Tensor, width: int, height: int, how: str) -> Tensor:
    scaled: Tensor = comfy.utils.common_upscale(hint, width, height, how, "center")
    return scaled


def with_half_heads(transformer: Mapping[str, Any]) -> dict[str, Any]:
    """Transformer options in which no block of a UNet has all its heads in cross-attention."""
    replaced = half_heads(comfy.ldm.modules.attention.optimized_attention)
    blocks = [(name, number) for name in ("input", "middle", "output") for number in range(24)]
    patches = transformer.get("patches_replace", {})
    own = {**dict.fromkeys(blocks, replaced), **patches.get("attn2", {})}
    return {**transformer, "patches_replace": {**patches, "attn2": own}}


def without_image_prompts(transformer: Mapping[str, Any]) -> dict[str, Any]:
    """Transformer options without what image prompts add to the cross-attention.

    In A1111 Regional Prompter puts its own cross-attention in the place of ControlNet's.
    """
    replaced = transformer.get("patches_replace", {})
    kept = {name: patches for name, patches in replaced.items() if name != "attn2"}
    return {**transformer, "patches_replace": kept}


def _calc_cond_batch(args: Mapping[str, Any]) -> list[Tensor]:
    return comfy.samplers.calc_cond_batch(
        args["model"], args["conds"], args["input"], args["sigma"], args["model_options"]
    )
