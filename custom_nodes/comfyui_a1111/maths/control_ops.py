"""What A1111's ControlNet does to predictions and to attention patches, in plain torch.

Source of the rules: sd-webui-controlnet v1.1.455 (`hook.py`). Latents are `[B, 4, h, w]` in the
model's scale.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional
from numpy.typing import NDArray
from torch import Tensor

Change = Callable[[Tensor], Tensor]

FACE_DETECTION = (640, 640)
"""Pixels that A1111's InsightFace sees a picture at."""

REVISION_STEPS = 1000
_REVISION_FIRST_BETA, _REVISION_LAST_BETA = 1e-4, 2e-2


def box_blur(latent: Tensor, radius: int) -> Tensor:
    """Mean over (2 * radius + 1) squared cells, the border repeated."""
    padded = torch.nn.functional.pad(latent, (radius,) * 4, mode="replicate")
    return torch.nn.functional.avg_pool2d(padded, radius * 2 + 1, stride=1)


def color_fix(source: Tensor, radius: int, weight: float, sharpness: float = 0.0) -> Change:
    """Give a prediction the low frequencies of the source.

    Args:
        radius: of the blur that parts low from high, in latent cells.
        weight: share of the change, 0..1.
        sharpness: share of the blurred result that is mixed in: for the negative prompt of
            ``+sharp``, which drives the positive away from blur.
    """

    def change(predicted: Tensor) -> Tensor:
        fixed = predicted - box_blur(predicted, radius) + box_blur(source, radius)
        if sharpness:
            fixed = sharpness * box_blur(fixed, radius) + (1 - sharpness) * fixed
        return fixed * weight + predicted * (1 - weight)

    return change


def latent_mask(mask: Tensor) -> Tensor:
    """A mask in pixels `[B, 1, 8h, 8w]` -> cells that hold or touch a masked pixel."""
    return torch.nn.functional.max_pool2d(mask, (10, 10), stride=(8, 8), padding=1)


def keep_source(source: Tensor, mask: Tensor, weight: float) -> Change:
    """Keep the source where the mask (`[B, 1, h, w]`, 1 = made anew) is 0."""

    def change(predicted: Tensor) -> Tensor:
        kept = predicted * mask + source * (1 - mask)
        return kept * weight + predicted * (1 - weight)

    return change


@dataclass(frozen=True, eq=False)
class PredictionChange:
    """What a unit does to both predictions of a call, before they are guided.

    Attributes:
        late: whether it comes after those that do not: inpaint_only's, after every colour fix.
        made: from ComfyUI's arguments of a post-CFG function to the change of the positive and
            of the negative prompt's prediction.
    """

    late: bool
    made: Callable[[Mapping[str, Any]], tuple[Change, Change]]


def with_change(functions: Sequence[Any], added: PredictionChange) -> list[Any]:
    """Post-CFG functions of a model with one more change; the changes are one function.

    It is the last of the functions. A plain function: ComfyUI copies a model's options deeply, but
    functions it leaves alone.
    """
    others = [item for item in functions if not hasattr(item, "prediction_changes")]
    before = [item for item in functions if hasattr(item, "prediction_changes")]
    changes = [change for item in before for change in item.prediction_changes]
    ordered = sorted([*changes, added], key=lambda change: change.late)

    def change(args: Mapping[str, Any]) -> Tensor:
        return guided(args, [item.made(args) for item in ordered])

    change.prediction_changes = ordered  # type: ignore[attr-defined]
    return [*others, change]


def guided(args: Mapping[str, Any], changes: Sequence[tuple[Change, Change]]) -> Tensor:
    """Change both predictions, one change after the other, and guide again.

    Args:
        args: of ComfyUI's post-CFG function.
        changes: of the positive and of the negative prompt's prediction.
    """
    cond, uncond = args["cond_denoised"], args["uncond_denoised"]
    if args["uncond"] is None or uncond is None:
        found: Tensor = args["denoised"]
        for positive, _ in changes:
            found = positive(found)
        return found
    for positive, negative in changes:
        cond, uncond = positive(cond), negative(uncond)
    result: Tensor = uncond + args["cond_scale"] * (cond - uncond)
    return result


def own_attention(patches: Mapping[Any, Any]) -> dict[Any, Any]:
    """Copies of cross-attention patches, so that adding to one changes no other model.

    The packs for image prompts keep several adapters of a block in one object, and add to it in
    place. IPAdapter_plus files the middle block under ("middle", 1, ...), which ComfyUI never
    looks up; those patches move to ("middle", 0, ...).
    """
    owned: dict[Any, Any] = {}
    for key, patch in patches.items():
        place = ("middle", 0, *key[2:]) if key[:2] == ("middle", 1) else key
        if place in owned:
            owned[place].callback.extend(patch.callback)
            owned[place].kwargs.extend(patch.kwargs)
        else:
            owned[place] = _own_patch(patch)
    return owned


def average_prompts(
    patches: Mapping[Any, Any], others: Mapping[Any, Any], count: int
) -> dict[Any, Any]:
    """Patches whose last image prompt has the mean of its tokens and another's.

    Args:
        patches, others: of models that differ in the picture of their last image prompt only.
        count: pictures of which `patches` have the mean already.
    """
    averaged, further = own_attention(patches), own_attention(others)
    for place, patch in averaged.items():
        if not hasattr(patch, "kwargs"):
            continue
        last, other = patch.kwargs[-1], further[place].kwargs[-1]
        patch.kwargs[-1] = {
            **last,
            "cond": running_mean(last["cond"], other["cond"], count),
            "uncond": running_mean(last["uncond"], other["uncond"], count),
        }
    return averaged


def running_mean(mean: Tensor, other: Tensor, count: int) -> Tensor:
    """The mean of one more tensor than the `count` of which there is a mean."""
    return (mean * count + other) / (count + 1)


def _own_patch(patch: Any) -> Any:
    if not (hasattr(patch, "callback") and hasattr(patch, "kwargs")):
        return patch
    owned = copy.copy(patch)
    owned.callback = list(patch.callback)
    owned.kwargs = list(patch.kwargs)
    return owned


def largest_first(faces: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Faces of InsightFace (``bbox``: left, top, right, bottom) by falling area.

    Of equal ones the last comes first, as in the extension.
    """

    def area(face: Mapping[str, Any]) -> float:
        left, top, right, bottom = (float(side) for side in face["bbox"])
        return (right - left) * (bottom - top)

    return sorted(faces, key=area)[::-1]


def face_in(analysis: Any, picture: NDArray[Any]) -> Any:
    """The largest face that InsightFace's analysis finds in a picture, uint8 `[H, W, RGB]`.

    Raises:
        ValueError: it finds none.
    """
    analysis.det_model.input_size = FACE_DETECTION
    faces = analysis.get(np.ascontiguousarray(picture[..., ::-1]))
    if not faces:
        raise ValueError("Insightface: No face detected in the image.")
    return largest_first(faces)[0]


@dataclass(frozen=True)
class FaceTokens:
    """What an image prompt by FaceID makes its tokens of.

    Attributes:
        face: the embedding of the face, of length 1, `[1, 512]`.
        seen: CLIP's last but one layer of the whole picture, `[1, tokens, channels]`, which
            FaceID plus reads; None where there is none.
        shortcut: whether FaceID plus adds the tokens of the face alone, as its second version does.
    """

    face: Tensor
    seen: Tensor | None
    shortcut: bool

    def put_into(self, patches: Mapping[Any, Any]) -> dict[Any, Any]:
        """Patches whose last image prompt has these tokens for the positive prompt."""
        changed = own_attention(patches)
        made: dict[int, Tensor] = {}
        for patch in changed.values():
            if not hasattr(patch, "kwargs"):
                continue
            last = patch.kwargs[-1]
            adapter = last["ipadapter"]
            if id(adapter) not in made:
                made[id(adapter)] = self._tokens(adapter, last["cond"])
            patch.kwargs[-1] = {**last, "cond": made[id(adapter)]}
        return changed

    def _tokens(self, adapter: Any, like: Tensor) -> Tensor:
        project = adapter.image_proj_model
        face = self.face.to(like)
        with torch.no_grad():
            if not adapter.is_plus:
                return project(face)
            if self.seen is None:
                raise ValueError("FaceID plus reads what CLIP sees: give it clip_vision_output")
            return project(face, self.seen.to(like), scale=1.0, shortcut=self.shortcut)


def rows_as_positive(options: Mapping[str, Any]) -> dict[str, Any]:
    """Transformer options under which image prompts take every row for the positive prompt's.

    Other patches still see what the rows are.
    """
    replaced = options.get("patches_replace", {})
    patches = {place: _as_positive(patch) for place, patch in replaced.get("attn2", {}).items()}
    return {**options, "patches_replace": {**replaced, "attn2": patches}}


def _as_positive(patch: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def positive(q: Tensor, k: Tensor, v: Tensor, options: Mapping[str, Any]) -> Tensor:
        kinds = [0] * len(options["cond_or_uncond"])
        return patch(q, k, v, {**options, "cond_or_uncond": kinds})

    return positive


def with_kept_tokens(
    options: Mapping[str, Any], images: int, *, negative_first: bool, negative_now: bool
) -> dict[str, Any]:
    """Transformer options under which image prompts read what the extension kept of its first call.

    It keeps the keys and values of all rows of that call. A call without the negative prompt's rows
    has half as many and reads two of those rows in one; a call with them, after a first one
    without, half a row in each.

    Args:
        images: rows of one prompt.
        negative_first: whether the first call had the negative prompt's rows.
        negative_now: whether this one has.
    """
    replaced = options.get("patches_replace", {})
    changed = own_attention(replaced.get("attn2", {}))
    for patch in changed.values():
        if hasattr(patch, "kwargs"):
            patch.kwargs = [
                _kept(values, images, negative_first, negative_now) for values in patch.kwargs
            ]
    return {**options, "patches_replace": {**replaced, "attn2": changed}}


def _kept(
    values: Mapping[str, Any], images: int, negative_first: bool, negative_now: bool
) -> dict[str, Any]:
    """One image prompt's settings with other tokens; as they are where rows come out uneven."""
    if "ipadapter" not in values:
        return dict(values)
    cond, uncond = values["cond"][:1], values["uncond"][:1]
    rows = [cond] * images + [uncond] * (images if negative_first else 0)
    now = images * (2 if negative_now else 1)
    if len(rows) * cond.shape[1] % now:
        return dict(values)
    kept = torch.cat(rows).reshape(now, -1, cond.shape[-1])
    of_negative = kept[images:] if negative_now else kept
    return {**values, "cond": kept[:images], "uncond": of_negative, "unfold_batch": True}


def revision_pooled(
    embedding: Tensor, strength: float, augmentation: float, seed: int, drawn: int = 0
) -> Tensor:
    """An image embedding `[1, 1280]` as revision feeds it to SDXL in place of the pooled text.

    Args:
        augmentation: 0..1: the noise level of a linear schedule (1e-4 to 2e-2) it is noised to.
        seed: of the generator that the noise comes from.
        drawn: numbers that were drawn from it before.
    """
    level = min(max(int(augmentation * REVISION_STEPS), 0), REVISION_STEPS - 1)
    first, last = _REVISION_FIRST_BETA**0.5, _REVISION_LAST_BETA**0.5
    betas = torch.linspace(first, last, REVISION_STEPS, dtype=torch.float64) ** 2
    abar = float(torch.cumprod(1.0 - betas, dim=0)[level])
    generator = torch.Generator(embedding.device).manual_seed(seed)
    if drawn:
        torch.randn(drawn, generator=generator, device=embedding.device)
    noise = torch.randn(embedding.shape, generator=generator, device=embedding.device)
    return strength * (abar**0.5 * embedding + (1 - abar) ** 0.5 * noise.to(embedding))


def add_residuals(
    first: Mapping[str, list[Tensor | None]] | None,
    second: Mapping[str, list[Tensor | None]] | None,
) -> Mapping[str, list[Tensor | None]] | None:
    """The sum of two ControlNets' residuals, block by block."""
    if first is None or second is None:
        return second if first is None else first
    total: dict[str, list[Tensor | None]] = {}
    for key in {**first, **second}:
        longer, shorter = sorted((first.get(key, []), second.get(key, [])), key=len, reverse=True)
        padded = [*shorter, *[None] * (len(longer) - len(shorter))]
        total[key] = [
            one if other is None else other if one is None else one + other
            for one, other in zip(longer, padded, strict=True)
        ]
    return total


def control_chain(control: Any) -> Iterator[Any]:
    """A prompt's ControlNets: the last one, then each before it; None has none."""
    while control is not None:
        yield control
        control = control.previous_controlnet


def tokens_of_batch(cond: Tensor, uncond: Tensor, cond_or_uncond: list[int], batch: int) -> Tensor:
    """Face tokens for each row of a batch that holds positive (0) and negative (1) parts.

    Args:
        cond, uncond: `[1, tokens, channels]`.
        batch: rows of the whole batch.
    """
    rows = batch // len(cond_or_uncond)
    parts = [uncond if kind else cond for kind in cond_or_uncond]
    return torch.cat([part.repeat(rows, 1, 1) for part in parts])
