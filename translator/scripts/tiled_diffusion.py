"""The always-on scripts Tiled Diffusion and Forge's MultiDiffusion Integrated.

Source: multidiffusion-upscaler-for-automatic1111 ``scripts/tilediffusion.py`` (process) and
``tile_utils/utils.py`` (splitable); Forge 2025-06. Lengths of tiles are cells of the latent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from translator import prompt as prompts
from translator.control.units import ControlUnit
from translator.geometry import LATENT_CELL
from translator.models import upscalers
from translator.plan.patches import TiledDiffusion, TiledRegion
from translator.plan.pictures import EnlargedBy, Made, Sent, placeholder
from translator.plan.values import ImageUpscale, Plan
from translator.prompt import PromptError
from translator.report import Report, show
from translator.request.images import ImageReader
from translator.request.img2img import Decoding, Inversion
from translator.request.schema import Tab
from translator.scope import Scope
from translator.scripts.expansion import Fields

METHODS = ("MultiDiffusion", "Mixture of Diffusers")

NODE = "A1111TiledDiffusion"
"""The node of our pack that it cannot do without."""

KINDS = ("Background", "Foreground")
"""Of regions: one more tile, or laid over all of them."""

_NONE = "None"
_MAX_SIDE = 16384
_MOST_CELLS = 2048

_USUAL: Mapping[Tab, Sequence[Any]] = {
    "txt2img": (False, METHODS[0], False, True, 1024, 1024, 96, 96, 48, 4),
    "img2img": (False, METHODS[1], False, True, 1024, 1024, 96, 96, 8, 4),
}
"""The page's values of the first arguments."""

_UPSCALER, _SCALE, _INVERSION, _REGIONS = 10, 11, 12, 18
"""Positions of further arguments."""

_USUAL_SCALE = 2.0
_FORGE_USUAL = (False, METHODS[0], 768, 768, 64, 4)


@dataclass(frozen=True)
class RegionPrompts:
    """A region as the request has it.

    Attributes:
        place: left, top, width and height, as shares.
        prompt, negative: what is added to the request's.
        kind: one of `KINDS`.
        feather: which share of a foreground's edge fades.
        seed: without effect, since A1111 draws its noise by another function.
    """

    place: tuple[float, float, float, float]
    prompt: str
    negative: str
    kind: str
    feather: float
    seed: int

    @property
    def told(self) -> dict[str, Any]:
        """What it writes into the infotext."""
        return {
            "enable": True,
            **dict(zip("xywh", self.place, strict=True)),
            "prompt": self.prompt,
            "neg_prompt": self.negative,
            "blend_mode": self.kind,
            "feather_ratio": self.feather,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class TiledDiffusionScript:
    """What the script is asked for.

    Attributes:
        path: of its arguments.
        tiling: how latents are cut; its size is settled by the request.
        overwrites: width and height in place of txt2img's, or None.
        keeps_size: whether img2img's size is that of its picture.
        upscaler: what enlarges img2img's picture before, ``None`` for nothing.
        scale: by which factor.
        regions: prompts by region, those that are on, by their numbers from 1; None is off.
        draws_tiles: whether the request's own prompts count beside them.
        inversion: img2img's noise inversion, None where it is off, and its steps.
        integrated: whether it is Forge's own, which cuts every pass and has none of the above.
    """

    path: str
    tiling: TiledDiffusion
    overwrites: tuple[int, int] | None = None
    keeps_size: bool = False
    upscaler: str = _NONE
    scale: float = _USUAL_SCALE
    integrated: bool = False
    regions: Mapping[int, RegionPrompts] | None = None
    draws_tiles: bool = True
    inversion: Inversion | None = None
    inversion_steps: int = 0

    def patch(self, size: tuple[int, int]) -> TiledDiffusion | None:
        """The change of the model for a generation whose first pass has a size in pixels.

        None where one tile holds all of it.
        """
        cells = size[0] // LATENT_CELL, size[1] // LATENT_CELL
        if self.integrated:
            return self.tiling
        tile, overlap = self.tiling.tile, self.tiling.overlap
        if overlap >= min(tile):
            overlap = min(tile) - 4
        counts = [
            math.ceil((length - overlap) / (side - overlap))
            for length, side in zip(cells, tile, strict=True)
        ]
        if max(counts) <= 1 and self.regions is None and self.inversion is None:
            return None
        return replace(self.tiling, size=cells, draws_tiles=self.draws_tiles)

    def infotext(self, size: tuple[int, int], tab: Tab) -> dict[str, Any]:
        """What it writes into the infotext of a generation."""
        if self.integrated:
            return {}
        enlarges = tab == "img2img" and self.upscaler != _NONE
        first: dict[str, Any] = {}
        if enlarges:
            first["Tiled Diffusion upscaler"] = self.upscaler
            first["Tiled Diffusion scale factor"] = self.scale
        if self.patch(size) is None:
            return first
        tiling = self.tiling
        told: dict[str, Any] = {
            "Method": tiling.method,
            "Tile tile width": tiling.tile[0],
            "Tile tile height": tiling.tile[1],
            "Tile Overlap": tiling.overlap,
            "Tile batch size": tiling.batch,
        }
        if enlarges:
            told |= {"Upscaler": self.upscaler, "Upscale factor": self.scale}
        if tab == "img2img" and self.keeps_size:
            told["Keep input size"] = True
        if self.inversion is not None:
            told |= {
                "NoiseInv": True,
                "NoiseInv Steps": self.inversion_steps,
                "NoiseInv Retouch": self.inversion.retouch,
                "NoiseInv Renoise strength": self.inversion.strength,
                "NoiseInv Kernel size": self.inversion.kernel,
            }
        if self.regions is not None:
            told["Region control"] = {
                f"Region {number}": region.told for number, region in self.regions.items()
            }
        return {**first, "Tiled Diffusion": told}


def read_tiled_diffusion(
    args: Sequence[Any], path: str, tab: Tab, scope: Scope
) -> TiledDiffusionScript | None:
    """The arguments of Tiled Diffusion; None where it is off, or after a report."""
    usual = _USUAL[tab]
    given = [*args, *usual[len(args) :]]
    if not given[0] or not _has_node(path, scope):
        return None
    method = _method(given[1], f"{path}[1]", scope)
    numbers = [
        _whole(given[position], low, high, f"{path}[{position}]", scope)
        for position, (low, high) in enumerate(
            ((8, _MAX_SIDE),) * 2 + ((16, _MOST_CELLS),) * 2 + ((0, _MOST_CELLS), (1, 64)), 4
        )
    ]
    regions = _regions(given, path, scope)
    inversion = _inversion(given, path, tab, scope)
    if inversion is not None and regions:
        scope.report.unsupported(
            f"{path}[{_INVERSION}]",
            "noise inversion beside prompts by region is not done; send false for one of both",
            instead="it is left out",
        )
        inversion = None
    width, height, tile_width, tile_height, overlap, batch = (number or 0 for number in numbers)
    if method is None or None in numbers:
        return None
    return TiledDiffusionScript(
        path=path,
        tiling=TiledDiffusion(method, None, (tile_width, tile_height), overlap, batch),
        overwrites=(width, height) if given[2] else None,
        keeps_size=bool(given[3]),
        upscaler=str(given[_UPSCALER]) if len(given) > _UPSCALER else _NONE,
        scale=_scale(given, path, scope),
        regions=regions,
        inversion=inversion[1] if inversion else None,
        inversion_steps=inversion[0] if inversion else 0,
        draws_tiles=regions is None or (len(given) > _DRAWS and bool(given[_DRAWS])),
    )


def read_multi_diffusion(
    args: Sequence[Any], path: str, scope: Scope
) -> TiledDiffusionScript | None:
    """The arguments of Forge's own script, in pixels; None where it is off, or after a report."""
    given = [*args, *_FORGE_USUAL[len(args) :]]
    if not given[0] or not _has_node(path, scope):
        return None
    method = _method(given[1], f"{path}[1]", scope)
    most = _MOST_CELLS * LATENT_CELL
    numbers = [
        _whole(given[position], low, high, f"{path}[{position}]", scope)
        for position, (low, high) in enumerate(((64, most), (64, most), (0, most), (1, 64)), 2)
    ]
    if method is None or None in numbers:
        return None
    width, height, overlap, batch = (number or 0 for number in numbers)
    cells = (width // LATENT_CELL, height // LATENT_CELL)
    tiling = TiledDiffusion(method, None, cells, overlap // LATENT_CELL, batch)
    return TiledDiffusionScript(path=path, tiling=tiling, integrated=True)


def _inverting(script: TiledDiffusionScript, fields: Fields, scope: Scope) -> Fields:
    """A request whose picture is led back to noise first, where that is asked for."""
    if script.inversion is None:
        return fields
    if fields["sampler_name"] not in (None, "Euler"):
        scope.report.warn(
            "sampler_name",
            f"{fields['sampler_name']} is left for Euler, as the extension does beside noise "
            "inversion",
        )
    decoding = Decoding("", "", script.inversion_steps, 1.0, 0.0, False, script.inversion)
    return {**fields, "sampler_name": "Euler", "decoding": decoding}


_WHOLE = (
    *("reference_", "tile_colorfix", "inpaint_only", "ip-adapter", "revision_"),
    *("instant_id_face_embedding", "clip_vision"),
)
"""How the names of modules begin that change the model by the whole picture."""


def is_tile_bound(unit: ControlUnit) -> bool:
    """Whether a ControlNet unit cannot act on tiles."""
    return unit.module.name.startswith(_WHOLE)


def tiled_fields(
    script: TiledDiffusionScript, fields: Fields, tab: Tab, images: ImageReader, scope: Scope
) -> tuple[Fields, dict[str, Made]]:
    """A request with the size and the picture that the script gives it.

    Returns:
        The fields, and the enlarged picture by its name where there is one.
    """
    if script.integrated:
        return fields, {}
    if tab == "txt2img":
        width, height = script.overwrites or (fields["width"], fields["height"])
        return {**fields, "width": width, "height": height}, {}
    fields = _inverting(script, fields, scope)
    pictures = fields["init_images"]
    sent = images.read(pictures[0], "init_images[0]") if pictures else None
    if sent is None:
        return fields, {}
    size = (sent.width, sent.height)
    if script.upscaler == _NONE:
        kept = {"width": size[0], "height": size[1]} if script.keeps_size else {}
        return {**fields, **kept}, {}
    upscaler = _upscaler(script, scope)
    if upscaler is None:
        return fields, {}
    after = tuple(int(side * script.scale // LATENT_CELL * LATENT_CELL) for side in size)
    canvas = after if script.keeps_size else _scaled(fields, script.scale)
    if not all(LATENT_CELL <= side <= _MAX_SIDE for side in (*after, *canvas)):
        scope.report.invalid(
            f"{script.path}[{_SCALE}]", f"the picture would be {after[0]}x{after[1]} pixels"
        )
        return fields, {}
    name = "the picture that Tiled Diffusion enlarges"
    background = scope.a1111_options.img2img_background_color
    enlarged = EnlargedBy(
        Sent(sent, background), upscaler, script.scale, size, (after[0], after[1])
    )
    upload = placeholder(name, (after[0], after[1]))
    changed = {"width": canvas[0], "height": canvas[1], "init_images": [upload] * len(pictures)}
    return {**fields, **changed}, {name: enlarged}


def tiled_patches(
    script: TiledDiffusionScript | None, plan: Plan, report: Report
) -> tuple[TiledDiffusion, ...]:
    """What the script changes of a generation's models."""
    patch = None if script is None else script.patch(plan.requested_size)
    if script is None or patch is None:
        return ()
    name = plan.first.sampler.sampler.name
    if patch.method == METHODS[0] and name == "UniPC":
        report.invalid(f"{script.path}[1]", f"{patch.method} fails with UniPC; take {METHODS[1]}")
    regions = script.regions or {}
    if plan.first.prompt.networks and regions:
        report.warn(
            script.path,
            "a LoRA of the prompt acts everywhere; the extension loses it when the first region "
            "has been predicted",
        )
    return (replace(patch, regions=tuple(_prompted(regions.values(), plan, script.path, report))),)


def _prompted(
    regions: Iterable[RegionPrompts], plan: Plan, path: str, report: Report
) -> Iterator[TiledRegion]:
    """Regions with their prompts: the request's, and their own behind it."""
    first = plan.first
    calls = first.sampler.sampler.total_steps(first.steps)
    for region in regions:
        texts = [
            f"{text}, {own}" if own else text
            for text, own in (
                (first.prompt.text, region.prompt),
                (first.prompt.negative_text, region.negative),
            )
        ]
        try:
            positive = prompts.parse(texts[0], calls)
            negative = prompts.parse_negative(texts[1], calls)
        except PromptError as error:
            report.invalid(path, f"as prompts of regions: {error}")
            return
        yield TiledRegion(region.place, region.kind, region.feather, positive, negative)


def _scaled(fields: Fields, scale: float) -> tuple[int, int]:
    return int(scale * fields["width"]), int(scale * fields["height"])


def _upscaler(script: TiledDiffusionScript, scope: Scope) -> ImageUpscale | None:
    found = upscalers.find(script.upscaler, scope.catalog, scope.a1111_options)
    if isinstance(found, ImageUpscale):
        return found
    why = upscalers.obstacle(script.upscaler, scope.catalog) or "no upscaler of pictures"
    scope.report.invalid(
        f"{script.path}[{_UPSCALER}]", f"{show(script.upscaler)}: {why}", script.upscaler
    )
    return None


def _has_node(path: str, scope: Scope) -> bool:
    if scope.options.fidelity != "core" and scope.catalog.has(NODE):
        return True
    scope.report.unsupported(path, "it needs our node pack", instead="it is left out")
    return False


def _method(value: Any, path: str, scope: Scope) -> str | None:
    if value in METHODS:
        return str(value)
    scope.report.invalid(path, f"{show(value)} is not one of {', '.join(METHODS)}", value)
    return None


def _whole(value: Any, low: int, high: int, path: str, scope: Scope) -> int | None:
    sound = isinstance(value, int | float) and not isinstance(value, bool)
    if sound and low <= value <= high and int(value) == value:
        return int(value)
    scope.report.invalid(path, f"{show(value)} is not a whole number within {low}..{high}", value)
    return None


def _scale(given: Sequence[Any], path: str, scope: Scope) -> float:
    value = given[_SCALE] if len(given) > _SCALE else _USUAL_SCALE
    if isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= 8:
        return float(value)
    scope.report.invalid(f"{path}[{_SCALE}]", f"{show(value)} is not a number within 1..8", value)
    return _USUAL_SCALE


_INVERSION_USUAL: Sequence[Any] = (False, 10, 1, 1, 64)
"""Noise inversion: its switch, steps, retouch, renoise strength and kernel on the page."""


def _inversion(
    given: Sequence[Any], path: str, tab: Tab, scope: Scope
) -> tuple[int, Inversion] | None:
    """Steps of the noise inversion, and how it is done; None where it is off."""
    some = given[_INVERSION : _INVERSION + len(_INVERSION_USUAL)]
    switch, steps, retouch, strength, kernel = [*some, *_INVERSION_USUAL[len(some) :]]
    if tab != "img2img" or not switch:
        return None
    count = _whole(steps, 1, 200, f"{path}[{_INVERSION + 1}]", scope)
    size = _whole(kernel, 2, 512, f"{path}[{_INVERSION + 4}]", scope)
    for place, (value, low, high) in enumerate(((retouch, 1, 100), (strength, 0, 2)), 2):
        sound = isinstance(value, int | float) and not isinstance(value, bool)
        if not sound or not low <= value <= high:
            said = f"{show(value)} is not a number within {low}..{high}"
            scope.report.invalid(f"{path}[{_INVERSION + place}]", said, value)
            return None
    if count is None or size is None:
        return None
    return count, Inversion(float(retouch), float(strength), size)


_DRAWS, _FIRST_REGION = 19, 21
"""Positions of "draw background", and of the first region's values."""

_REGION: Sequence[Any] = (False, 0.4, 0.4, 0.2, 0.2, "", "", KINDS[0], 0.2, -1)
"""A region's values on the page."""

_MOST_REGIONS = 16
_DIGITS = 4


def _regions(given: Sequence[Any], path: str, scope: Scope) -> Mapping[int, RegionPrompts] | None:
    """The regions that are on, by their numbers; None without region control."""
    if len(given) <= _REGIONS or not given[_REGIONS]:
        return None
    found: dict[int, RegionPrompts] = {}
    width = len(_REGION)
    rest = given[_FIRST_REGION : _FIRST_REGION + _MOST_REGIONS * width]
    for number, start in enumerate(range(0, len(rest), width), 1):
        some = rest[start : start + width]
        values = [*some, *_REGION[len(some) :]]
        if values[0]:
            region = _region(values, f"{path}[{_FIRST_REGION + start}]", scope)
            if region is not None:
                found[number] = region
    return found


def _region(values: Sequence[Any], path: str, scope: Scope) -> RegionPrompts | None:
    """A region; None where nothing of it lies within the picture, or after a report."""
    *place, prompt, negative, kind, feather, seed = values[1:]
    numbers = [
        round(number, _DIGITS)
        for number in (*place, feather)
        if isinstance(number, int | float) and abs(number) <= 1e6
    ]
    texts = isinstance(prompt, str) and isinstance(negative, str)
    if len(numbers) != len(place) + 1 or not texts or kind not in KINDS:
        scope.report.invalid(
            path,
            "a region is [true, x, y, width, height, prompt, negative prompt, "
            f"{' or '.join(KINDS)}, feather, seed], with shares of the picture",
        )
        return None
    if prompts.split_networks(prompt)[1]:
        scope.report.unsupported(
            path,
            "the extension changes the LoRAs in mid-step for a region's tags, and does not change "
            "them back; write them into the prompt",
            instead="they are left out",
        )
    x, y, w, h, feather = map(float, numbers)
    if x > 1 or y > 1 or w <= 0 or h <= 0:
        return None
    number = int(seed) if isinstance(seed, int | float) and abs(seed) < 2**63 else -1
    return RegionPrompts((x, y, w, h), prompt, negative, kind, feather, number)
