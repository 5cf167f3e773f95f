"""Our nodes for ControlNet units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from translator.comfy.graph import (
    ClipVision,
    ClipVisionOutput,
    Conditioning,
    ControlNet,
    Graph,
    Image,
    Latent,
    Mask,
    Model,
    Text,
)
from translator.comfy.nodes.a1111.json_text import json_text as _json
from translator.comfy.nodes.instantid import FaceAnalysis, FaceEmbeds
from translator.comfy.nodes.ipadapter import InsightFace


def a1111_control_net_crop(
    graph: Graph, image: Image, area: Mask, mask: Mask | None, **settings: Any
) -> tuple[Image, Mask]:
    node = graph.add("A1111ControlNetCrop", image=image, area=area, mask=mask, **settings)
    return node.out(Image), node.out(Mask, 1)


def a1111_face_tensor(
    graph: Graph, image: Image, faces: FaceAnalysis | InsightFace, *, normed: bool
) -> Text:
    """A face's embedding, saved by torch, in base64."""
    name = "faceanalysis" if isinstance(faces, FaceAnalysis) else "insightface"
    inputs: dict[str, Any] = {"image": image, "normed": normed, name: faces}
    return graph.add("A1111FaceTensor", **inputs).out(Text)


def a1111_average_image_prompts(
    graph: Graph,
    model: Model,
    other: Model,
    count: int,
    tokens: FaceEmbeds | None,
    other_tokens: FaceEmbeds | None,
) -> tuple[Model, FaceEmbeds | None]:
    """The mean of one more picture than `count`; tokens where there are some."""
    node = graph.add(
        "A1111AverageImagePrompts",
        model=model,
        other=other,
        count=count,
        face_embeds=tokens,
        other_face_embeds=other_tokens,
    )
    return node.out(Model), None if tokens is None else node.out(FaceEmbeds, 1)


def a1111_control_net_clip_image(graph: Graph, image: Image, mask: Mask | None) -> Image:
    """A picture as the extension shows it to CLIP; CLIP's mean colour where `mask` is white."""
    return graph.add("A1111ControlNetClipImage", image=image, mask=mask).out(Image)


def a1111_face_tokens(
    graph: Graph,
    *,
    title: str,
    model: Model,
    insight_face: InsightFace,
    image: Image,
    clip_vision_output: ClipVisionOutput | None,
    shortcut: bool,
) -> Model:
    """An image prompt by FaceID with the tokens that the extension makes of its picture."""
    node = graph.add(
        "A1111FaceTokens",
        title=title,
        model=model,
        insightface=insight_face,
        image=image,
        clip_vision_output=clip_vision_output,
        shortcut=shortcut or None,
    )
    return node.out(Model)


def a1111_layer_weights(graph: Graph, model: Model, weights: Sequence[float]) -> Model:
    """A model whose last image prompt has a weight for each layer, in the order of the UNet."""
    return graph.add("A1111LayerWeights", model=model, weights=_json(list(weights))).out(Model)


def a1111_pooled_control_net(graph: Graph, control_net: ControlNet, pools: bool) -> ControlNet:
    """A ControlNet whose residuals are averaged over the picture, or are not."""
    node = graph.add("A1111PooledControlNet", control_net=control_net, pools=pools)
    return node.out(ControlNet)


def a1111_control_net_region(
    graph: Graph, control_net: ControlNet, mask: Mask, weights: Sequence[float]
) -> ControlNet:
    """A ControlNet that acts where a mask is white, its residuals weighed one by one."""
    text = _json(list(weights))
    node = graph.add("A1111ControlNetRegion", control_net=control_net, mask=mask, weights=text)
    return node.out(ControlNet)


def a1111_adapter_features(
    graph: Graph, control_net: ControlNet, image: Image | None
) -> ControlNet:
    """A T2I-Adapter whose features fit the UNet's blocks; with `image`, that picture's."""
    node = graph.add("A1111AdapterFeatures", control_net=control_net, image=image)
    return node.out(ControlNet)


def a1111_control_lllite(
    graph: Graph,
    *,
    title: str,
    model: Model,
    control_net: ControlNet,
    image: Image,
    strength: float,
    start: float,
    end: float,
) -> Model:
    """A ControlLLLite in the model's attention; `start`, `end` are shares of the schedule."""
    node = graph.add(
        "A1111ControlLLLite",
        title=title,
        model=model,
        control_net=control_net,
        image=image,
        strength=strength,
        start_percent=start,
        end_percent=end,
    )
    return node.out(Model)


def a1111_clip_tensor(graph: Graph, clip_vision: ClipVision, image: Image) -> Text:
    """What CLIP makes of a picture, saved by torch, in base64."""
    return graph.add("A1111ClipTensor", clip_vision=clip_vision, image=image).out(Text)


def a1111_largest_face(graph: Graph, insight_face: InsightFace) -> InsightFace:
    return graph.add("A1111LargestFace", insightface=insight_face).out(InsightFace)


def a1111_control_net_fit(
    graph: Graph,
    image: Image,
    width: int,
    height: int,
    resize_mode: str,
    mask: Mask | None = None,
) -> tuple[Image, Mask]:
    """A map, and its mask if it has one (else an empty one), at the size of a pass."""
    node = graph.add(
        "A1111ControlNetFit",
        image=image,
        width=width,
        height=height,
        resize_mode=resize_mode,
        mask=mask,
    )
    return node.out(Image), node.out(Mask, 1)


def a1111_control_net_image(graph: Graph, image: Image, processor_res: int) -> Image:
    """A picture as a preprocessor gets it: short side scaled, padded to a multiple of 64."""
    node = graph.add("A1111ControlNetImage", image=image, processor_res=processor_res, pad=True)
    return node.out(Image)


def a1111_control_net_on_white(graph: Graph, image: Image, transparency: Mask) -> Image:
    """A picture laid on white where a mask says that nothing covers."""
    node = graph.add(
        "A1111ControlNetOnWhite", title="On white", image=image, transparency=transparency
    )
    return node.out(Image)


def a1111_control_net_reference(
    graph: Graph,
    *,
    title: str,
    model: Model,
    source: Latent,
    module: str,
    weight: float,
    style_fidelity: float,
    start: float,
    end: float,
    seed: int,
    drawn: int,
    tells_negative: bool,
) -> Model:
    """A reference picture in a model's self-attention; see the node for `seed` and `drawn`."""
    node = graph.add(
        "A1111ControlNetReference",
        title=title,
        model=model,
        source=source,
        module=module,
        weight=weight,
        style_fidelity=style_fidelity,
        start=start,
        end=end,
        seed=seed,
        drawn=drawn,
        tells_negative=tells_negative,
    )
    return node.out(Model)


def a1111_control_net_input(graph: Graph, image: Image, mask: Mask) -> Image:
    """The drawing that a mask is, or else the picture."""
    return graph.add("A1111ControlNetInput", image=image, mask=mask).out(Image)


def a1111_control_net_recolor(
    graph: Graph, image: Image, control_map: Image, channel: str
) -> Image:
    node = graph.add(
        "A1111ControlNetRecolor", image=image, control_map=control_map, channel=channel
    )
    return node.out(Image)


def a1111_control_net_paste(
    graph: Graph, image: Image, source: Image, mask: Mask, blur: int
) -> Image:
    node = graph.add("A1111ControlNetPaste", image=image, source=source, mask=mask, blur=blur)
    return node.out(Image)


def a1111_control_net_color_fix(
    graph: Graph,
    *,
    title: str,
    model: Model,
    source: Latent,
    radius: int,
    sharpness: float,
    weight: float,
) -> Model:
    node = graph.add(
        "A1111ControlNetColorFix",
        title=title,
        model=model,
        source=source,
        radius=radius,
        sharpness=sharpness,
        weight=weight,
    )
    return node.out(Model)


def a1111_control_net_inpaint_only(
    graph: Graph, *, title: str, model: Model, source: Latent, mask: Mask, weight: float
) -> Model:
    node = graph.add(
        "A1111ControlNetInpaintOnly",
        title=title,
        model=model,
        source=source,
        mask=mask,
        weight=weight,
    )
    return node.out(Model)


def a1111_control_net_attention(graph: Graph, model: Model, owner: str) -> Model:
    """Attention patches become the model's own; `owner` names what is patched next."""
    return graph.add("A1111ControlNetAttention", model=model, owner=owner).out(Model)


def a1111_instant_id_control_net(
    graph: Graph,
    *,
    title: str,
    face_embeds: FaceEmbeds,
    control_net: ControlNet,
    keypoints: Image,
    positive: Conditioning,
    negative: Conditioning,
    strength: float,
    start: float,
    end: float,
    positive_only: bool = False,
) -> tuple[Conditioning, Conditioning]:
    """As `instant_id_apply_control_net`, but the face reaches this ControlNet only.

    Args:
        positive_only: whether the negative prompt gets the positive one's tokens.
    """
    node = graph.add(
        "A1111InstantIDControlNet",
        title=title,
        face_embeds=face_embeds,
        control_net=control_net,
        image_kps=keypoints,
        positive=positive,
        negative=negative,
        strength=strength,
        start_at=start,
        end_at=end,
        positive_only=positive_only or None,
    )
    return node.out(Conditioning), node.out(Conditioning, 1)


def a1111_strict_face_analysis(graph: Graph, face_analysis: FaceAnalysis) -> FaceAnalysis:
    """InsightFace that fails where there is no face."""
    node = graph.add("A1111StrictFaceAnalysis", face_analysis=face_analysis)
    return node.out(FaceAnalysis)


def a1111_control_net_facexlib(graph: Graph, image: Image, resolution: int) -> Image:
    """The largest face, aligned to 512x512, grey on white."""
    node = graph.add("A1111ControlNetFacexlib", image=image, resolution=resolution)
    return node.out(Image)


def a1111_face_found(graph: Graph, keypoints: Image) -> Image:
    """A map of keypoints as it is; the run fails where it has none."""
    return graph.add("A1111FaceFound", keypoints=keypoints).out(Image)


def a1111_revision(
    graph: Graph,
    *,
    title: str,
    conditioning: Conditioning,
    clip_vision_output: ClipVisionOutput | None,
    strength: float,
    noise_augmentation: float,
    seed: int,
    drawn: int,
    add: bool,
    zero_text: bool,
) -> Conditioning:
    node = graph.add(
        "A1111Revision",
        title=title,
        conditioning=conditioning,
        clip_vision_output=clip_vision_output,
        strength=strength,
        noise_augmentation=noise_augmentation,
        seed=seed,
        drawn=drawn or None,
        add=add,
        zero_text=zero_text,
    )
    return node.out(Conditioning)
