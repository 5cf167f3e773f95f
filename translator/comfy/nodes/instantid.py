"""The nodes of ComfyUI_InstantID.

Not ApplyInstantID or ApplyInstantIDAdvanced: those add noise to the negative embedding, leave out
the ten layers of the middle block, and know one weight and range for both parts.
"""

from __future__ import annotations

from translator.comfy.graph import Conditioning, ControlNet, Graph, Image, Mask, Model, Ref


class InstantIdModel(Ref):
    """INSTANTID"""

    __slots__ = ()


class FaceAnalysis(Ref):
    """FACEANALYSIS: InsightFace's detector and recogniser"""

    __slots__ = ()


class FaceEmbeds(Ref):
    """FACE_EMBEDS: a face's tokens, positive and negative"""

    __slots__ = ()


def load_instant_id(graph: Graph, name: str) -> InstantIdModel:
    return graph.add("InstantIDModelLoader", instantid_file=name).out(InstantIdModel)


def instant_id_face_analysis(graph: Graph, provider: str) -> FaceAnalysis:
    """InsightFace's antelopev2; `provider` is onnxruntime's."""
    return graph.add("InstantIDFaceAnalysis", provider=provider).out(FaceAnalysis)


def instant_id_attention_patch(
    graph: Graph,
    *,
    title: str,
    instant_id: InstantIdModel,
    face_analysis: FaceAnalysis,
    image: Image,
    model: Model,
    weight: float,
    start: float,
    end: float,
    noise: float,
    mask: Mask | None,
) -> tuple[Model, FaceEmbeds]:
    """A face in the model's cross-attention; `start` and `end` are shares of the schedule."""
    node = graph.add(
        "InstantIDAttentionPatch",
        title=title,
        instantid=instant_id,
        insightface=face_analysis,
        image=image,
        model=model,
        weight=weight,
        start_at=start,
        end_at=end,
        noise=noise,
        mask=mask,
    )
    return node.out(Model), node.out(FaceEmbeds, 1)


def instant_id_apply_control_net(
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
) -> tuple[Conditioning, Conditioning]:
    """ApplyInstantIDControlNet: its ControlNet reads the face's tokens in place of the prompt."""
    node = graph.add(
        "ApplyInstantIDControlNet",
        title=title,
        face_embeds=face_embeds,
        control_net=control_net,
        image_kps=keypoints,
        positive=positive,
        negative=negative,
        strength=strength,
        start_at=start,
        end_at=end,
    )
    return node.out(Conditioning), node.out(Conditioning, 1)


def face_keypoints_preprocessor(graph: Graph, face_analysis: FaceAnalysis, image: Image) -> Image:
    node = graph.add("FaceKeypointsPreprocessor", faceanalysis=face_analysis, image=image)
    return node.out(Image)
