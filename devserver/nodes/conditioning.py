"""Prompts, and nodes that combine or mark them."""

from __future__ import annotations

from devserver.nodes.table import NodeFunction, Nodes, gives, passes
from devserver.settings import Work
from devserver.values import CELL, Conditioning, Inputs, Latent, Mask, Result

_ROWS: dict[str, NodeFunction] = {
    "A1111Revision": passes("conditioning"),
    "ConditioningAverage": passes("conditioning_to"),
    "ConditioningConcat": passes("conditioning_to"),
    "ConditioningSetArea": passes("conditioning"),
    "ConditioningSetAreaPercentage": passes("conditioning"),
    "ConditioningSetAreaStrength": passes("conditioning"),
    "ConditioningSetMask": passes("conditioning"),
    "ConditioningSetTimestepRange": passes("conditioning"),
    "ConditioningZeroOut": passes("conditioning"),
    "StyleModelApply": passes("conditioning"),
    "unCLIPConditioning": passes("conditioning"),
}

NODES = Nodes(_ROWS)


@NODES.add("CLIPTextEncode", "CLIPTextEncodeSDXLRefiner")
def text_encode(x: Inputs) -> Result:
    x.need("clip")
    return gives(Conditioning(x.text("text")), work=Work.TEXT)


@NODES.add("CLIPTextEncodeSDXL")
def text_encode_sdxl(x: Inputs) -> Result:
    x.need("clip")
    return gives(Conditioning(x.text("text_g")), work=Work.TEXT)


NODES["A1111JoinParts"] = passes("part")
NODES["ConditioningSetProperties"] = passes("cond_NEW")
NODES["PairConditioningSetProperties"] = passes("positive_NEW", "negative_NEW")


@NODES.add("ConditioningCombine")
def combine(x: Inputs) -> Result:
    first, second = x.get("conditioning_1", Conditioning), x.get("conditioning_2", Conditioning)
    texts = dict.fromkeys((first.text, second.text))
    return gives(Conditioning(" AND ".join(text for text in texts if text)))


@NODES.add("InpaintModelConditioning")
def inpaint_model(x: Inputs) -> Result:
    pixels, mask = x.image("pixels"), x.get("mask", Mask)
    width, height = pixels.width // CELL, pixels.height // CELL
    noise_mask = (
        Mask(width * CELL, height * CELL, mask.batch)
        if x.optional("noise_mask", bool) is not False
        else None
    )
    latent = Latent(width, height, pixels.pictures, noise_mask)
    return gives(x.value("positive"), x.value("negative"), latent, work=Work.VAE)


@NODES.add("InstructPixToPixConditioning")
def instruct_pix2pix(x: Inputs) -> Result:
    pixels = x.image("pixels")
    latent = Latent(pixels.width // CELL, pixels.height // CELL, pixels.pictures)
    return gives(x.value("positive"), x.value("negative"), latent, work=Work.VAE)
