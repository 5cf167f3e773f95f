"""The nodes of our own pack (custom_nodes/comfyui_a1111).

Text that is no JSON fails with Python's own error, as it does there.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from PIL import Image as Pillow

from devserver.nodes.preprocessors import short_side
from devserver.nodes.table import NodeFunction, Nodes, gives, passes
from devserver.pack_maths import load, load_copy
from devserver.settings import Work
from devserver.values import (
    CELL,
    Conditioning,
    Grid,
    Guider,
    Image,
    Inputs,
    Latent,
    Mask,
    NodeFailure,
    Noise,
    Opaque,
    Overlay,
    Regions,
    Result,
    Sigmas,
)

_SCALES_SHORT_SIDE = frozenset({"blur_gaussian", "shuffle", "threshold"})
_LATENT_RESIZE = 3
_KEPT_BELOW_RATE = 1.1
"""tile_resample leaves a picture alone below this rate."""

_ROWS: dict[str, NodeFunction] = {
    "A1111ControlNetPaste": passes("image"),
    "A1111ControlNetRecolor": passes("image"),
    "A1111SoftInpaint": passes("overlay"),
}

NODES = Nodes(_ROWS)


@NODES.add("A1111Noise")
def noise(x: Inputs) -> Result:
    json.loads(x.text("subseeds"))
    return gives(Noise(tuple(json.loads(x.text("seeds"))), per_image=True))


@NODES.add("A1111ReversedNoise")
def reversed_noise(x: Inputs) -> Result:
    x.need("model")
    x.latent("found")
    return gives(x.get("noise", Noise))


@NODES.add("A1111InvertedNoise")
def inverted_noise(x: Inputs) -> Result:
    x.need("model", "picture")
    x.latent("found")
    return gives(x.get("noise", Noise))


@NODES.add("A1111Sigmas")
def sigmas(x: Inputs) -> Result:
    return gives(Sigmas(len(json.loads(x.text("sigmas")))))


@NODES.add("A1111Guider")
def guider(x: Inputs) -> Result:
    x.need("model", "negative")
    return gives(Guider(x.get("positive", Conditioning).text))


@NODES.add("A1111TextEncode")
def text_encode(x: Inputs) -> Result:
    x.need("clip")
    try:
        parts = json.loads(x.text("prompt"))["parts"]
        text = " AND ".join(_first_text(part["schedule"]) for part in parts)
    except (KeyError, TypeError, ValueError) as error:
        message = f"A1111TextEncode: prompt is not the JSON expected: {error!r}"
        raise NodeFailure(message, "ValueError") from error
    return gives(Conditioning(text), work=Work.TEXT)


@NODES.add("A1111Prompt")
def prompt(x: Inputs) -> Result:
    x.need("clip")
    grammar = load_copy("prompt")
    try:
        written = grammar.written_input(
            x.text("text"),
            x.integer("calls"),
            x.integer("hires_calls"),
            negative=x.text("kind") == "negative prompt",
        )
    except grammar.PromptError as error:
        raise NodeFailure(str(error), "PromptError") from error
    text = " AND ".join(_first_text(part["schedule"]) for part in written["parts"])
    return gives(Conditioning(text), work=Work.TEXT)


@NODES.add("A1111Schedule")
def schedule(x: Inputs) -> Result:
    schedules = load_copy("schedules.written")
    try:
        laid = schedules.lay_out(
            x.text("sampler"),
            x.text("scheduler"),
            x.integer("steps"),
            x.number("denoise"),
            x.text("start"),
            table=x.text("table"),
            options=x.text("options"),
        )
    except schedules.ScheduleError as error:
        raise NodeFailure(str(error), "ScheduleError") from error
    calls = laid.sampler.total_steps(x.integer("steps"))
    return gives(Opaque("SAMPLER"), Sigmas(len(laid.sigmas)), laid.total_steps, calls)


def _first_text(schedule: list[Any]) -> str:
    """The text of a part's first step: ``[[end step, [[text, weight], ...]], ...]``."""
    return "".join(f" {text} " if text == "BREAK" else text for text, _ in schedule[0][1])


@NODES.add("A1111LatentUpscale")
def latent_upscale(x: Inputs) -> Result:
    return gives(x.latent().sized(x.integer("width") // CELL, x.integer("height") // CELL))


@NODES.add("A1111LatentCrop")
def latent_crop(x: Inputs) -> Result:
    latent = x.latent()
    width = latent.width - x.integer("left") - x.integer("right")
    height = latent.height - x.integer("top") - x.integer("bottom")
    if width <= 0 or height <= 0:
        cells = f"{latent.width}x{latent.height}"
        raise NodeFailure(f"A1111LatentCrop: nothing is left of {cells} cells", "ValueError")
    return gives(latent.sized(width, height))


@NODES.add("A1111VAEEncode")
def vae_encode(x: Inputs) -> Result:
    x.need("vae")
    pixels = x.image("pixels")
    latent = Latent(pixels.width // CELL, pixels.height // CELL, pixels.pictures)
    return gives(latent, work=Work.VAE)


@NODES.add("A1111ImageConditioning")
def image_conditioning(x: Inputs) -> Result:
    """The picture's latent; its mask is there for inpainting alone."""
    x.need("vae")
    json.loads(x.text("drawn"))
    latent, pixels = x.latent(), x.optional("pixels", Image)
    if x.text("source") == "pixels" and pixels is None:
        raise NodeFailure("A1111ImageConditioning: source pixels needs pixels", "ValueError")
    width, height = x.integer("width"), x.integer("height")
    if pixels is not None:
        width, height = pixels.width, pixels.height
    inpaints = x.text("kind") == "inpaint"
    mask = Mask(latent.width * CELL, latent.height * CELL) if inpaints else None
    made = latent.sized(width // CELL, height // CELL)
    return gives(replace(made, mask=mask), work=Work.VAE)


@NODES.add("A1111Upscaler")
def upscaler(x: Inputs) -> Result:
    return gives(Opaque("A1111_UPSCALER", x.text("method")))


@NODES.add("A1111Flatten")
def flatten(x: Inputs) -> Result:
    x.get("alpha", Mask)
    return gives(x.image().rgb())


@NODES.add("A1111ResizeImage")
def resize_image(x: Inputs) -> Result:
    return gives(_resized(x))


@NODES.add("A1111InpaintMask")
def inpaint_mask(x: Inputs) -> Result:
    """The mask at the size of its picture; alpha of another size is LoadImage's for none."""
    image = x.image()
    return gives(Mask(image.width, image.height))


@NODES.add("A1111Inpaint")
def inpaint(x: Inputs) -> Result:
    """Pixels and mask at the result's size, and what the results are put under."""
    image, crops = x.image().rgb(), x.flag("only_masked")
    x.get("mask", Mask)
    width, height = x.integer("width"), x.integer("height")
    pixels = image.sized(width, height)
    if x.integer("resize_mode") == _LATENT_RESIZE and not crops:
        pixels = image
    return gives(pixels, Mask(width, height), Overlay(image, crops))


@NODES.add("A1111InpaintLatent")
def inpaint_latent(x: Inputs) -> Result:
    json.loads(x.text("seeds"))
    return gives(replace(x.latent(), mask=x.get("mask", Mask)))


@NODES.add("A1111ColorCorrection")
def color_correction(x: Inputs) -> Result:
    x.image("source")
    return gives(x.image().rgb())


@NODES.add("A1111Overlay")
def put_back(x: Inputs) -> Result:
    """The results under their originals, the overlay's mask, and the results alone."""
    image, overlay = x.image().rgb(), x.get("overlay", Overlay)
    size = overlay.original.width, overlay.original.height
    if x.flag("covers") and overlay.crops:
        image = image.sized(*size)
    mask = image.made("mask").sized(*size)
    return gives(image, mask, replace(image.made("made anew"), alpha=True))


@NODES.add("A1111EnlargeBy")
def enlarge_by(x: Inputs) -> Result:
    """The picture with its sides times the factor, down to multiples of 8."""
    image, factor = x.image().rgb(), x.number("factor")
    return gives(
        image.sized(*(int(side * factor // CELL * CELL) for side in (image.width, image.height)))
    )


@NODES.add("A1111JoinTiles")
def join_tiles(x: Inputs) -> Result:
    names = [name for name in x.spec.inputs if name.startswith("image")]
    images = [image for name in names if (image := x.optional(name, Image)) is not None]
    pictures = [picture for image in images for picture in image.pictures]
    columns, rows = (json.loads(x.text(name)) for name in ("columns", "rows"))
    if len(pictures) < len(columns) * len(rows):
        message = (
            f"A1111JoinTiles: {len(pictures)} tiles for {len(columns)} columns and {len(rows)} rows"
        )
        raise NodeFailure(message, "ValueError")
    made = replace(pictures[0], text=f"{len(pictures)} tiles", file=None, edges=None)
    return gives(Image(x.integer("width"), x.integer("height"), (made,)))


@NODES.add("A1111OutpaintNoise")
def outpaint_noise(x: Inputs) -> Result:
    x.get("mask", Mask)
    return gives(x.image().rgb())


@NODES.add("A1111ImageScale")
def image_scale(x: Inputs) -> Result:
    return gives(_resized(x))


def _resized(x: Inputs) -> Image:
    """The image at the wanted size; these nodes drop an alpha channel."""
    return x.image().rgb().sized(x.integer("width"), x.integer("height"))


@NODES.add("A1111UpscaleWithModel")
def upscale_with_model(x: Inputs) -> Result:
    x.need("upscale_model")
    return gives(_resized(x), work=Work.UPSCALE)


@NODES.add("A1111FaceRestore")
def face_restore(x: Inputs) -> Result:
    return gives(x.image().rgb(), work=Work.DETECT)


@NODES.add("A1111DetectRegions")
def detect_regions(x: Inputs) -> Result:
    """One region on every picture, or none where the confidence is 1."""
    _single(x)
    count = 0 if x.number("confidence") >= 1 else 1
    return gives(Regions(count), work=Work.DETECT)


@NODES.add("A1111RegionPicture")
def region_picture(x: Inputs) -> Result:
    image, width, height = _single(x), x.integer("width"), x.integer("height")
    return gives(image.rgb().sized(width, height), Mask(width, height))


@NODES.add("A1111DetailRegions", "A1111DetailEachRegion")
def detail_regions(x: Inputs) -> Result:
    """The picture with its regions sampled anew; whole pictures come out in the pass' size."""
    x.need("vae", "sampler", "guider")
    image, found = _single(x), x.get("regions", Regions)
    json.loads(x.text("prompts"))
    seeds, steps = x.get("noise", Noise).seeds, x.get("sigmas", Sigmas).steps
    if not found.count:
        return gives(image, x.integer("posterior_seed"))
    if x.integer("padding") < 0:
        image = image.sized(x.integer("width"), x.integer("height"))
    made = Image(image.width, image.height, image.made("detailed").pictures)
    seed = -1 if x.integer("posterior_seed") < 0 else seeds[0] + found.count - 1
    return Result((made, seed), Work.STEP, steps=steps * found.count, previews=True)


def _single(x: Inputs) -> Image:
    image = x.image()
    if len(image.pictures) != 1:
        message = f"{x.spec.name}: one picture at a time, not {len(image.pictures)}"
        raise NodeFailure(message, "ValueError")
    return image


@NODES.add("A1111ControlNetOnWhite")
def control_net_on_white(x: Inputs) -> Result:
    x.need("transparency")
    return gives(x.image().rgb())


@NODES.add("A1111ControlNetInput")
def control_net_input(x: Inputs) -> Result:
    """The image, or the drawing on it in its place."""
    image, mask = x.image(), x.get("mask", Mask)
    if not mask.drawing:
        return gives(image)
    return gives(Image(mask.width, mask.height, image.made("drawing").pictures[:1]))


@NODES.add("A1111ControlNetPreprocessor")
def control_net_preprocessor(x: Inputs) -> Result:
    image, module = x.image().rgb(), x.text("module")
    return gives(image.made(module).sized(*_map_size(x, image, module)), work=Work.DETECT)


def _map_size(x: Inputs, image: Image, module: str) -> tuple[int, int]:
    if module in _SCALES_SHORT_SIDE:
        return short_side(image, x.integer("resolution"))
    rate = x.number("threshold_a")
    if module == "tile_resample" and rate >= _KEPT_BELOW_RATE:
        return int(image.width / rate), int(image.height / rate)
    return image.width, image.height


@NODES.add("A1111ControlNetImage")
def control_net_image(x: Inputs) -> Result:
    image = x.image().rgb()
    width, height = short_side(image, x.integer("processor_res"))
    prepared = image.sized(width, height)
    if x.flag("pad"):
        prepared = image.sized(math.ceil(width / 64) * 64, math.ceil(height / 64) * 64)
    return gives(prepared, width, height)


@NODES.add("A1111ControlNetCrop")
def control_net_crop(x: Inputs) -> Result:
    x.get("area", Mask)
    image = _resized(x)
    return gives(image, Mask(image.width, image.height))


@NODES.add("A1111ControlNetFit")
def control_net_fit(x: Inputs) -> Result:
    image = _resized(x)
    return gives(image, Mask(image.width, image.height, len(image.pictures)))


@NODES.add("A1111ImageGrid")
def image_grid(x: Inputs) -> Result:
    names = [name for name in x.spec.inputs if name.startswith("image")]
    images = [image for name in names if (image := x.optional(name, Image)) is not None]
    pictures = [picture for image in images for picture in image.pictures]
    cell = max(image.width for image in images), max(image.height for image in images)
    rows = min(x.integer("rows") or round(math.sqrt(len(pictures))), len(pictures))
    width, height = cell[0] * math.ceil(len(pictures) / rows), cell[1] * rows
    if x.text("legend"):
        width, height = _with_legend((width, height), cell, json.loads(x.text("legend")))
    made = replace(
        pictures[0],
        text=f"grid of {len(pictures)}",
        file=None,
        edges=None,
        grid=Grid(tuple(pictures), rows, cell, x.text("legend")),
    )
    return gives(Image(width, height, (made,)))


def _with_legend(
    grid: tuple[int, int], cell: tuple[int, int], legend: dict[str, Any]
) -> tuple[int, int]:
    """The size with labels: they are measured in their font, so the pack's own rule is asked."""
    rules = load("grid_ops")
    drawn = rules.draw_legend(Pillow.new("RGB", grid), cell, rules.parse_legend(legend))
    width, height = drawn.size
    return width, height
