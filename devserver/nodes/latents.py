"""Latents: empty, resized, cut, batched, masked; VAE encode and decode."""

from __future__ import annotations

from dataclasses import replace

from devserver.nodes.table import NodeFunction, Nodes, gives, passes
from devserver.settings import Work
from devserver.values import CELL, Image, Inputs, Latent, Mask, Picture, Result

_SMALLEST = 64
_ROWS: dict[str, NodeFunction] = {
    "LatentAdd": passes("samples1"),
    "LatentBatchSeedBehavior": passes("samples"),
    "LatentBlend": passes("samples1"),
    "LatentComposite": passes("samples_to"),
    "LatentCompositeMasked": passes("destination"),
    "LatentInterpolate": passes("samples1"),
    "LatentMultiply": passes("samples"),
    "LatentSubtract": passes("samples1"),
}

NODES = Nodes(_ROWS)


@NODES.add("EmptyLatentImage", "EmptySD3LatentImage")
def empty(x: Inputs) -> Result:
    width, height = x.integer("width") // CELL, x.integer("height") // CELL
    return gives(Latent(width, height, (Picture(),) * x.integer("batch_size")))


@NODES.add("LatentUpscale")
def upscale(x: Inputs) -> Result:
    latent = x.latent()
    width, height = x.integer("width"), x.integer("height")
    if width == 0 and height == 0:
        return gives(latent)
    if width == 0:
        height = max(_SMALLEST, height)
        width = max(_SMALLEST, round(latent.width * height / latent.height))
    elif height == 0:
        width = max(_SMALLEST, width)
        height = max(_SMALLEST, round(latent.height * width / latent.width))
    width, height = max(_SMALLEST, width), max(_SMALLEST, height)
    return gives(latent.sized(width // CELL, height // CELL))


@NODES.add("LatentUpscaleBy")
def upscale_by(x: Inputs) -> Result:
    latent, factor = x.latent(), x.number("scale_by")
    return gives(latent.sized(round(latent.width * factor), round(latent.height * factor)))


@NODES.add("LatentCrop")
def crop(x: Inputs) -> Result:
    latent = x.latent()
    left = min(x.integer("x") // CELL, latent.width - CELL)
    top = min(x.integer("y") // CELL, latent.height - CELL)
    width = min(x.integer("width") // CELL, latent.width - left)
    height = min(x.integer("height") // CELL, latent.height - top)
    return gives(latent.sized(width, height))


@NODES.add("LatentFlip")
def flip(x: Inputs) -> Result:
    return gives(x.latent())


@NODES.add("LatentRotate")
def rotate(x: Inputs) -> Result:
    latent = x.latent()
    if x.text("rotation").startswith(("90", "270")):
        return gives(latent.sized(latent.height, latent.width))
    return gives(latent)


@NODES.add("LatentBatch")
def batch(x: Inputs) -> Result:
    first, second = x.latent("samples1"), x.latent("samples2")
    return gives(replace(first, pictures=first.pictures + second.pictures))


@NODES.add("LatentFromBatch")
def from_batch(x: Inputs) -> Result:
    latent = x.latent()
    start = min(len(latent.pictures) - 1, x.integer("batch_index"))
    return gives(replace(latent, pictures=latent.pictures[start : start + x.integer("length")]))


@NODES.add("RepeatLatentBatch")
def repeat(x: Inputs) -> Result:
    latent = x.latent()
    return gives(replace(latent, pictures=latent.pictures * x.integer("amount")))


@NODES.add("SetLatentNoiseMask")
def set_noise_mask(x: Inputs) -> Result:
    return gives(replace(x.latent(), mask=x.get("mask", Mask)))


@NODES.add("VAEEncode", "VAEEncodeTiled")
def vae_encode(x: Inputs) -> Result:
    x.need("vae")
    return gives(_encoded(x.image("pixels")), work=Work.VAE)


@NODES.add("VAEEncodeForInpaint")
def vae_encode_for_inpaint(x: Inputs) -> Result:
    x.need("vae")
    latent, mask = _encoded(x.image("pixels")), x.get("mask", Mask)
    mask = Mask(latent.width * CELL, latent.height * CELL, mask.batch)
    return gives(replace(latent, mask=mask), work=Work.VAE)


def _encoded(pixels: Image) -> Latent:
    """Rows and columns that do not fill a cell are cut."""
    return Latent(pixels.width // CELL, pixels.height // CELL, pixels.pictures)


@NODES.add("VAEDecode", "VAEDecodeTiled")
def vae_decode(x: Inputs) -> Result:
    x.need("vae")
    latent = x.latent()
    image = Image(latent.width * CELL, latent.height * CELL, latent.pictures)
    return gives(image, work=Work.VAE)
