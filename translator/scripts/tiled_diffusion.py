"""The always-on scripts Tiled Diffusion and Forge's MultiDiffusion Integrated.

Source: multidiffusion-upscaler-for-automatic1111 ``scripts/tilediffusion.py`` (process) and
``tile_utils/utils.py`` (splitable); Forge 2025-06. Lengths of tiles are cells of the latent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from translator import prompt as prompts
from translator.control.units import ControlUnit
from translator.geometry import LATENT_CELL
from translator.models import upscalers
from translator.plan.patches import TiledDiffusion, TiledRegion
from translator.plan.pictures import EnlargedBy, Made, Sent, placeholder
from translator.plan.starts import ImageUpscale
from translator.plan.values import Plan
from translator.prompt import PromptError
from translator.report import Report, show
from translator.request.images import ImageReader
from translator.request.img2img import Decoding, Inversion
from translator.request.schema import Tab
from translator.scope import Scope
from translator.scripts.arguments import Arguments, has_own_node
from translator.scripts.expansion import Fields

METHODS = ("MultiDiffusion", "Mixture of Diffusers")

NODE = "A1111TiledDiffusion"
"""The node of our pack that it cannot do without."""

KINDS = ("Background", "Foreground")
"""Of regions: one more tile, or laid over all of them."""

_NONE = "None"
_MAX_SIDE = 16384
_MOST_CELLS = 2048

_LATER = (_NONE, 2.0, False, 10, 1, 1, 64, False, False, False, False)
_USUAL: Mapping[Tab, Sequence[Any]] = {
    "txt2img": (False, METHODS[0], False, True, 1024, 1024, 96, 96, 48, 4, *_LATER),
    "img2img": (False, METHODS[1], False, True, 1024, 1024, 96, 96, 8, 4, *_LATER),
}
"""The page's values, those of regions aside."""

_UPSCALER, _SCALE, _INVERSION, _REGIONS, _DRAWS, _FIRST_REGION = 10, 11, 12, 18, 19, 21
"""Positions: upscaler, its factor, switch of noise inversion, of region control, whether the
request's own prompts count beside regions, and the first region's values."""

_REGION: Sequence[Any] = (False, 0.4, 0.4, 0.2, 0.2, "", "", KINDS[0], 0.2, -1)
"""A region's values on the page."""

_MOST_REGIONS = 16
_DIGITS = 4

_FORGE_USUAL = (False, METHODS[0], 768, 768, 64, 4)
_FORGE_NAMES = (
    *("enabled", "method", "tile_width", "tile_height", "tile_overlap", "tile_batch_size"),
)
"""What the infotext calls the arguments of Forge's own script."""


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
    def infotext(self) -> dict[str, Any]:
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
        integrated_infotext: what Forge's own writes.
    """

    path: str
    tiling: TiledDiffusion
    overwrites: tuple[int, int] | None = None
    keeps_size: bool = False
    upscaler: str = _NONE
    scale: float = 2.0
    integrated: bool = False
    regions: Mapping[int, RegionPrompts] | None = None
    draws_tiles: bool = True
    inversion: Inversion | None = None
    inversion_steps: int = 0
    integrated_infotext: Mapping[str, Any] = field(default_factory=dict)

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
            return dict(self.integrated_infotext)
        enlarges = tab == "img2img" and self.upscaler != _NONE
        first: dict[str, Any] = {}
        if enlarges:
            first["Tiled Diffusion upscaler"] = self.upscaler
            first["Tiled Diffusion scale factor"] = self.scale
        if self.patch(size) is None:
            return first
        tiling = self.tiling
        entries: dict[str, Any] = {
            "Method": tiling.method,
            "Tile tile width": tiling.tile[0],
            "Tile tile height": tiling.tile[1],
            "Tile Overlap": tiling.overlap,
            "Tile batch size": tiling.batch,
        }
        if enlarges:
            entries |= {"Upscaler": self.upscaler, "Upscale factor": self.scale}
        if tab == "img2img" and self.keeps_size:
            entries["Keep input size"] = True
        if self.inversion is not None:
            entries |= {
                "NoiseInv": True,
                "NoiseInv Steps": self.inversion_steps,
                "NoiseInv Retouch": self.inversion.retouch,
                "NoiseInv Renoise strength": self.inversion.strength,
                "NoiseInv Kernel size": self.inversion.kernel,
            }
        if self.regions is not None:
            entries["Region control"] = {
                f"Region {number}": region.infotext for number, region in self.regions.items()
            }
        return {**first, "Tiled Diffusion": entries}


def read_tiled_diffusion(
    args: Sequence[Any], path: str, tab: Tab, scope: Scope
) -> TiledDiffusionScript | None:
    """The arguments of Tiled Diffusion; None where it is off, or after a report."""
    given = Arguments(args, path, scope, _USUAL[tab])
    if not given.switch(0) or not has_own_node(NODE, path, scope):
        return None
    method = given.choice(1, METHODS)
    size = given.whole(4, 8, _MAX_SIDE), given.whole(5, 8, _MAX_SIDE)
    tile = given.whole(6, 16, _MOST_CELLS), given.whole(7, 16, _MOST_CELLS)
    overlap, batch = given.whole(8, 0, _MOST_CELLS), given.whole(9, 1, 64)
    upscaler, scale = given.text(_UPSCALER), given.number(_SCALE, 1, 8)
    regions = _regions(given, scope)
    inversion = _inversion(given) if tab == "img2img" and given.switch(_INVERSION) else None
    if inversion is not None and regions:
        given.unsupported(
            _INVERSION,
            "noise inversion beside prompts by region is not done; send false for one of both",
            instead="it is left out",
        )
        inversion = None
    if not given.sound:
        return None
    return TiledDiffusionScript(
        path=path,
        tiling=TiledDiffusion(method, None, tile, overlap, batch),
        overwrites=size if given.switch(2) else None,
        keeps_size=given.switch(3),
        upscaler=upscaler,
        scale=scale,
        regions=regions,
        inversion=inversion[1] if inversion else None,
        inversion_steps=inversion[0] if inversion else 0,
        draws_tiles=regions is None or given.switch(_DRAWS),
    )


def read_multi_diffusion(
    args: Sequence[Any], path: str, scope: Scope
) -> TiledDiffusionScript | None:
    """The arguments of Forge's own script, in pixels; None where it is off, or after a report."""
    given = Arguments(args, path, scope, _FORGE_USUAL)
    if not given.switch(0) or not has_own_node(NODE, path, scope):
        return None
    given.warn_of_surplus()
    most = _MOST_CELLS * LATENT_CELL
    tiling = TiledDiffusion(
        method=given.choice(1, METHODS),
        size=None,
        tile=(given.whole(2, 64, most) // LATENT_CELL, given.whole(3, 64, most) // LATENT_CELL),
        overlap=given.whole(4, 0, most) // LATENT_CELL,
        batch=given.whole(5, 1, 64),
    )
    if not given.sound:
        return None
    entries = {
        f"multidiffusion_{name}": value
        for name, value in zip(_FORGE_NAMES, given.values, strict=False)
    }
    return TiledDiffusionScript(
        path=path, tiling=tiling, integrated=True, integrated_infotext=entries
    )


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
    if script is None:
        return ()
    patch = script.patch(plan.requested_size)
    if patch is None:
        report.warn(script.path, "without effect: one tile holds the picture, as in the extension")
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


def _inversion(given: Arguments) -> tuple[int, Inversion]:
    """Steps of the noise inversion, and how it is done."""
    steps = given.whole(_INVERSION + 1, 1, 200)
    retouch, strength = given.number(_INVERSION + 2, 1, 100), given.number(_INVERSION + 3, 0, 2)
    return steps, Inversion(retouch, strength, given.whole(_INVERSION + 4, 2, 512))


def _regions(given: Arguments, scope: Scope) -> Mapping[int, RegionPrompts] | None:
    """The regions that are on, by their numbers; None without region control."""
    if not given.switch(_REGIONS):
        return None
    found: dict[int, RegionPrompts] = {}
    width, end = len(_REGION), len(given.values)
    last = _FIRST_REGION + _MOST_REGIONS * width
    if end > last:
        given.warn(last, f"the extension reads {_MOST_REGIONS} regions, the others are ignored")
    for number, start in enumerate(range(_FIRST_REGION, min(end, last), width), 1):
        some = given.values[start : start + width]
        values = [*some, *_REGION[len(some) :]]
        if values[0]:
            region = _region(values, given.path(start), scope)
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
