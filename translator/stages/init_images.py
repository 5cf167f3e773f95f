"""Stage: the pictures that an img2img pass starts from, as both targets leave them."""

from __future__ import annotations

from dataclasses import dataclass

from translator.comfy import nodes
from translator.comfy.graph import Graph, Image, Mask
from translator.comfy.nodes import Overlay
from translator.request.images import ImageUpload


@dataclass(frozen=True)
class Prepared:
    """What a pass encodes, and what its results are put back on.

    Attributes:
        pixels: the pictures to be encoded.
        mask: what is made anew, in pixels; None for all.
        latent_mask: what is made anew of the latent, where that is not `mask`.
        overlay: what our node pack puts back; None with core nodes or without a mask.
        apart: of pictures of several sizes, each one's own, by which it is finished; else empty.
    """

    pixels: Image
    mask: Mask | None = None
    overlay: Overlay | None = None
    latent_mask: Mask | None = None
    apart: tuple[Prepared, ...] = ()


def load(graph: Graph, upload: ImageUpload) -> tuple[Image, Mask | None]:
    """A picture and its transparency (1 = see-through).

    That is None for a picture of the graph that stands for the upload, see `Graph.providing`.
    """
    provided = graph.provided(upload.name)
    if isinstance(provided, Image):
        return provided, None
    return nodes.load_image(graph, upload.name)
