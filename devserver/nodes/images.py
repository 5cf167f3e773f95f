"""Images and masks: loaded, resized, cut, batched, converted."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import replace
from pathlib import Path

from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from devserver.nodes.table import NodeFunction, Nodes, gives, passes
from devserver.settings import Work
from devserver.values import Image, Inputs, Mask, NodeFailure, Opaque, Picture, Result

_NO_ALPHA = Mask(64, 64)
"""The mask LoadImage gives for a picture without alpha."""
_TILE, _TILE_OVERLAP = 512, 32
_BLACK_UP_TO, _WHITE_FROM = 5, 250
_ROWS: dict[str, NodeFunction] = {
    "FeatherMask": passes("mask"),
    "GrowMask": passes("mask"),
    "ImageBlur": passes("image"),
    "ImageCompositeMasked": passes("destination"),
    "ImageFlip": passes("image"),
    "ImageQuantize": passes("image"),
    "ImageSharpen": passes("image"),
    "InvertMask": passes("mask"),
    "MaskComposite": passes("destination"),
    "ThresholdMask": passes("mask"),
}

NODES = Nodes(_ROWS)


def file_hash(path: Path) -> str:
    """What LoadImage's IS_CHANGED says of a file: its SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@NODES.add("LoadImage")
def load_image(x: Inputs) -> Result:
    path = x.files.input_path(x.text("image"))
    with _open(path) as loaded:
        frames = getattr(loaded, "n_frames", 1) if loaded.format != "MPO" else 1
        has_alpha = "A" in loaded.getbands() or (
            loaded.mode == "P" and "transparency" in loaded.info
        )
        upright = ImageOps.exif_transpose(loaded)
        width, height = upright.size
        face = upright.convert("RGB").getbbox() is not None
        drawing = _is_drawing(upright.convert("RGBA"), "A")
    picture = Picture(text=x.text("image"), face=face, file=path)
    mask = Mask(width, height, frames, drawing) if has_alpha else replace(_NO_ALPHA, batch=frames)
    return gives(Image(width, height, (picture,) * frames), mask)


@NODES.add("LoadImageMask")
def load_image_mask(x: Inputs) -> Result:
    with _open(x.files.input_path(x.text("image"))) as loaded:
        upright = ImageOps.exif_transpose(loaded).convert("RGBA")
    drawing = _is_drawing(upright, x.text("channel")[0].upper())
    return gives(Mask(upright.width, upright.height, drawing=drawing))


def _is_drawing(image: Pillow.Image, channel: str) -> bool:
    """Whether a channel is neither dark nor bright all over, as our pack's ControlNet asks."""
    levels = image.getchannel(channel).histogram()
    return any(levels[_BLACK_UP_TO + 1 :]) and any(levels[:_WHITE_FROM])


def _open(path: Path) -> Pillow.Image:
    try:
        return Pillow.open(path)
    except UnidentifiedImageError as error:
        raise NodeFailure(str(error), "PIL.UnidentifiedImageError") from error
    except OSError as error:
        raise NodeFailure(str(error), type(error).__name__) from error


@NODES.add("EmptyImage")
def empty_image(x: Inputs) -> Result:
    picture = Picture(text="empty", face=x.integer("color") != 0)
    pictures = (picture,) * x.integer("batch_size")
    return gives(Image(x.integer("width"), x.integer("height"), pictures))


@NODES.add("ImageScale")
def image_scale(x: Inputs) -> Result:
    image, width, height = x.image(), x.integer("width"), x.integer("height")
    if width == 0 and height == 0:
        return gives(image)
    if width == 0:
        width = max(1, round(image.width * height / image.height))
    elif height == 0:
        height = max(1, round(image.height * width / image.width))
    return gives(image.sized(width, height))


@NODES.add("ImageScaleBy")
def image_scale_by(x: Inputs) -> Result:
    image, factor = x.image(), x.number("scale_by")
    return gives(image.sized(round(image.width * factor), round(image.height * factor)))


@NODES.add("ImageScaleToTotalPixels")
def image_scale_to_total_pixels(x: Inputs) -> Result:
    image = x.image()
    factor = math.sqrt(x.number("megapixels") * 1024 * 1024 / (image.width * image.height))
    return gives(image.sized(round(image.width * factor), round(image.height * factor)))


@NODES.add("ImageUpscaleWithModel")
def image_upscale_with_model(x: Inputs) -> Result:
    image, factor = x.image(), model_scale(x.get("upscale_model", Opaque).name)
    tiles = _tiles(image.width) * _tiles(image.height) * len(image.pictures)
    upscaled = image.sized(image.width * factor, image.height * factor)
    return Result((upscaled,), Work.UPSCALE, steps=tiles)


def model_scale(name: str) -> int:
    """The factor of an upscale model, by its name: ``4x-UltraSharp``, ``RealESRGAN_x2plus``."""
    found = re.search(r"(\d+)x|x(\d+)", name, re.IGNORECASE)
    return int(found[1] or found[2]) if found else 4


def _tiles(length: int) -> int:
    if length <= _TILE:
        return 1
    return math.ceil((length - _TILE_OVERLAP) / (_TILE - _TILE_OVERLAP))


@NODES.add("ImageInvert")
def image_invert(x: Inputs) -> Result:
    return gives(x.image().made("inverted"))


@NODES.add("ImageBlend")
def image_blend(x: Inputs) -> Result:
    x.image("image2")
    return gives(x.image("image1").made("blended"))


@NODES.add("ImageCrop")
def image_crop(x: Inputs) -> Result:
    image = x.image()
    left = min(x.integer("x"), image.width - 1)
    top = min(x.integer("y"), image.height - 1)
    width = min(x.integer("width"), image.width - left)
    height = min(x.integer("height"), image.height - top)
    return gives(image.made("cropped").sized(width, height))


@NODES.add("ImagePadForOutpaint")
def image_pad(x: Inputs) -> Result:
    image = x.image()
    width = image.width + x.integer("left") + x.integer("right")
    height = image.height + x.integer("top") + x.integer("bottom")
    return gives(image.made("padded").sized(width, height), Mask(width, height))


@NODES.add("ImageBatch")
def image_batch(x: Inputs) -> Result:
    first, second = x.image("image1"), x.image("image2")
    return gives(replace(first, pictures=first.pictures + second.pictures))


@NODES.add("ImageFromBatch")
def image_from_batch(x: Inputs) -> Result:
    image = x.image()
    start = min(len(image.pictures) - 1, x.integer("batch_index"))
    return gives(replace(image, pictures=image.pictures[start : start + x.integer("length")]))


@NODES.add("RepeatImageBatch")
def repeat_image_batch(x: Inputs) -> Result:
    image = x.image()
    return gives(replace(image, pictures=image.pictures * x.integer("amount")))


@NODES.add("JoinImageWithAlpha")
def join_alpha(x: Inputs) -> Result:
    image, alpha = x.image(), x.get("alpha", Mask)
    return gives(replace(image, alpha=True, pictures=image.pictures[: alpha.batch]))


@NODES.add("SplitImageWithAlpha")
def split_alpha(x: Inputs) -> Result:
    image = x.image()
    return gives(image.rgb(), Mask(image.width, image.height, len(image.pictures)))


@NODES.add("SolidMask")
def solid_mask(x: Inputs) -> Result:
    return gives(Mask(x.integer("width"), x.integer("height")))


@NODES.add("CropMask")
def crop_mask(x: Inputs) -> Result:
    mask = x.get("mask", Mask)
    width = min(x.integer("width"), mask.width - x.integer("x"))
    height = min(x.integer("height"), mask.height - x.integer("y"))
    return gives(replace(mask, width=width, height=height))


@NODES.add("MaskToImage")
def mask_to_image(x: Inputs) -> Result:
    mask = x.get("mask", Mask)
    return gives(Image(mask.width, mask.height, (Picture(text="mask"),) * mask.batch))


@NODES.add("ImageToMask", "ImageColorToMask")
def image_to_mask(x: Inputs) -> Result:
    image = x.image()
    return gives(Mask(image.width, image.height, len(image.pictures)))
