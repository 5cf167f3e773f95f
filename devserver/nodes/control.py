"""ControlNet, InstantID and IP-Adapter."""

from __future__ import annotations

from devserver.nodes.preprocessors import short_side
from devserver.nodes.table import NodeFunction, Nodes, gives, makes, passes
from devserver.settings import Work
from devserver.values import Image, Inputs, Latent, Mask, NodeFailure, Opaque, Result

_WEIGHTS = (
    "ACN_CustomControlNetWeightsSD15",
    "ACN_CustomT2IAdapterWeights",
    "ACN_DefaultUniversalWeights",
    "ACN_ExtrasMiddleMult",
    "ACN_ReferenceControlNet",
    "ACN_ReferenceControlNetFinetune",
    "ACN_ScaledSoftControlNetWeights",
    "ACN_SoftControlNetWeightsSD15",
    "ACN_SoftT2IAdapterWeights",
    "ACN_TimestepKeyframeFromStrengthList",
    "ACN_TimestepKeyframeInterpolation",
    "LatentKeyframe",
    "LatentKeyframeGroup",
    "LatentKeyframeTiming",
    "TimestepKeyframe",
)
_CLIP_SIDE, _FACE_SIDE = 224, 512
"""Sides of what CLIP is shown, and of facexlib's face."""
_FACE_ID_SIZE = {"sdxl": 256}
"""Side of the aligned face that FaceID shows, by a word in the adapter's name; else 224."""

_ROWS: dict[str, NodeFunction] = {
    "ACN_ControlNetLoaderAdvanced": makes(Work.LOAD),
    "ACN_DiffControlNetLoaderAdvanced": makes(Work.LOAD),
    "A1111AdapterFeatures": passes("control_net"),
    "A1111FaceSwapResult": passes("image"),
    "A1111NoiseOverLatent": passes("noise"),
    "A1111ControlNetRegion": passes("control_net"),
    "A1111PooledControlNet": passes("control_net"),
    "A1111StrictFaceAnalysis": passes("face_analysis"),
    "SetUnionControlNetType": passes("control_net"),
}

NODES = Nodes(_ROWS | dict.fromkeys(_WEIGHTS, makes()))


@NODES.add(
    "ACN_AdvancedControlNetApply_v2",
    "ControlNetApplyAdvanced",
    "ControlNetApplySD3",
)
def apply_control_net(x: Inputs) -> Result:
    x.need("control_net")
    x.image()
    return gives(x.value("positive"), x.value("negative"))


@NODES.add("ACN_AdvancedControlNetApply")
def apply_advanced_control_net(x: Inputs) -> Result:
    x.need("control_net")
    x.image()
    return gives(x.value("positive"), x.value("negative"), x.optional("model_optional", Opaque))


@NODES.add("ControlNetApply")
def apply_control_net_once(x: Inputs) -> Result:
    x.need("control_net")
    x.image()
    return gives(x.value("conditioning"))


@NODES.add("ACN_ReferencePreprocessor")
def reference_preprocessor(x: Inputs) -> Result:
    x.need("vae")
    image, latent = x.image(), x.get("latent_size", Latent)
    return gives(image.sized(latent.width * 8, latent.height * 8), work=Work.VAE)


def _need_face(image: Image, message: str) -> None:
    if not any(picture.face for picture in image.pictures):
        raise NodeFailure(message)


@NODES.add("InstantIDAttentionPatch")
def instant_id_attention_patch(x: Inputs) -> Result:
    x.need("instantid", "insightface")
    _need_face(x.image(), "Reference Image: No face detected.")
    return gives(x.value("model"), Opaque("FACE_EMBEDS"), work=Work.DETECT)


@NODES.add("ApplyInstantID", "ApplyInstantIDAdvanced")
def apply_instant_id(x: Inputs) -> Result:
    x.need("instantid", "insightface", "control_net")
    _need_face(x.image(), "Reference Image: No face detected.")
    return gives(x.value("model"), x.value("positive"), x.value("negative"), work=Work.DETECT)


@NODES.add("A1111InstantIDControlNet", "ApplyInstantIDControlNet")
def apply_instant_id_control_net(x: Inputs) -> Result:
    x.need("face_embeds", "control_net")
    x.image("image_kps")
    return gives(x.value("positive"), x.value("negative"))


@NODES.add("FaceKeypointsPreprocessor")
def face_keypoints(x: Inputs) -> Result:
    """One map per image with a face; black maps where no image has one."""
    x.need("faceanalysis")
    maps = x.image().made("face keypoints")
    found = tuple(picture for picture in maps.pictures if picture.face)
    return gives(Image(maps.width, maps.height, found or maps.pictures), work=Work.DETECT)


@NODES.add("A1111FaceFound")
def face_found(x: Inputs) -> Result:
    keypoints = x.image("keypoints")
    if not any(picture.face for picture in keypoints.pictures):
        raise NodeFailure("No face detected in the image of the keypoints.", "ValueError")
    return gives(keypoints)


@NODES.add("A1111FaceTensor")
def face_tensor(x: Inputs) -> Result:
    if all(x.optional(name, Opaque) is None for name in ("faceanalysis", "insightface")):
        raise NodeFailure("A1111FaceTensor needs faceanalysis or insightface", "ValueError")
    _need_face(x.image(), "Insightface: No face detected in the image.")
    return gives("UEsDBA==", work=Work.DETECT)


@NODES.add("A1111ClipTensor")
def clip_tensor(x: Inputs) -> Result:
    x.need("clip_vision")
    x.image()
    return gives("UEsDBA==", work=Work.DETECT)


@NODES.add("A1111ControlNetClipImage")
def clip_image(x: Inputs) -> Result:
    return gives(x.image().rgb().sized(_CLIP_SIDE, _CLIP_SIDE))


@NODES.add("A1111FaceTokens")
def face_tokens(x: Inputs) -> Result:
    x.need("insightface")
    _need_face(x.image(), "InsightFace: No face detected.")
    return gives(x.value("model"), work=Work.DETECT)


@NODES.add("A1111ControlNetLama")
def lama(x: Inputs) -> Result:
    x.get("mask", Mask)
    return gives(x.image().rgb().made("lama"), work=Work.DETECT)


@NODES.add("A1111ControlNetOneFormer")
def one_former(x: Inputs) -> Result:
    image = x.image().rgb()
    width, height = short_side(image, x.integer("resolution"))
    return gives(image.made("segments").sized(width, height), work=Work.DETECT)


@NODES.add("A1111ControlNetFacexlib")
def facexlib(x: Inputs) -> Result:
    image = x.image().rgb()
    return gives(image.made("face").sized(_FACE_SIDE, _FACE_SIDE), work=Work.DETECT)


@NODES.add("A1111AverageImagePrompts")
def average_image_prompts(x: Inputs) -> Result:
    x.value("other")
    return gives(x.value("model"), Opaque("FACE_EMBEDS"))


@NODES.add("A1111LargestFace")
def largest_face(x: Inputs) -> Result:
    return gives(x.value("insightface"))


@NODES.add("A1111ControlNetAnyline")
def anyline(x: Inputs) -> Result:
    x.image()
    return gives(x.image("edges"))


@NODES.add("IPAdapter", "IPAdapterAdvanced", "IPAdapterMS")
def ip_adapter(x: Inputs) -> Result:
    x.need("ipadapter")
    x.image()
    return gives(x.value("model"), work=Work.DETECT)


@NODES.add("IPAdapterFaceID")
def ip_adapter_face_id(x: Inputs) -> Result:
    image, adapter = x.image(), x.get("ipadapter", Opaque)
    if x.optional("insightface", Opaque) is None:
        raise NodeFailure("Insightface model is required for FaceID models")
    if not all(picture.face for picture in image.pictures):
        raise NodeFailure("InsightFace: No face detected.")
    side = next((n for word, n in _FACE_ID_SIZE.items() if word in adapter.name.lower()), 224)
    return gives(x.value("model"), image.made("face").sized(side, side), work=Work.DETECT)
