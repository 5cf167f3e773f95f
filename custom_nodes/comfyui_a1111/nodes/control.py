"""ControlNet nodes: preprocessors without a model, and what units do beside their residuals."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from ..maths import control_ops, preprocess_ops, pulid_attention
from ..maths.image_ops import from_levels, to_levels
from .inputs import InputTypes, number, whole

CATEGORY = "A1111/controlnet"

_POST_CFG = "sampler_post_cfg_function"
"""Where a model keeps its post-CFG functions."""


class A1111ControlNetPreprocessor:
    """A1111's preprocessors that need no model and have no equal in other packs."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "preprocess"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "module": (list(preprocess_ops.MODULES),),
                "resolution": whole(512, 1, 16384),
                "threshold_a": number(0.5, 0.0, 255.0),
                "seed": whole(0, 0, 2**32 - 1),
            },
            "optional": {"threshold_b": number(0.0, 0.0, 255.0)},
        }

    def preprocess(
        self,
        image: torch.Tensor,
        module: str,
        resolution: int,
        threshold_a: float,
        seed: int,
        threshold_b: float = 0.0,
    ) -> tuple[torch.Tensor]:
        settings = preprocess_ops.Settings(resolution, threshold_a, seed, threshold_b)
        work = preprocess_ops.MODULES[module]
        return (from_levels([work(picture, settings) for picture in to_levels(image)]),)


class A1111ControlNetAnyline:
    """softedge_anyline's last step: what A1111 lays over the edges that its network found.

    `image` is the unit's picture, `edges` what AnyLineArtPreprocessor_aux makes of it without line
    drawing (lineart_lower_bound 1, lineart_upper_bound 0).
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "lay"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "edges": ("IMAGE",),
                "resolution": whole(1280, 1, 16384),
            }
        }

    def lay(self, image: torch.Tensor, edges: torch.Tensor, resolution: int) -> tuple[torch.Tensor]:
        settings = preprocess_ops.Settings(resolution, 0.0, 0)
        pairs = zip(to_levels(image), to_levels(edges), strict=True)
        return (from_levels([preprocess_ops.anyline(*pair, settings) for pair in pairs]),)


class A1111ControlNetOnWhite:
    """A transparent picture laid on white, cut to whole levels as A1111's ControlNet cuts them.

    `transparency` is LoadImage's mask: 1 where nothing covers.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "lay"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {"required": {"image": ("IMAGE",), "transparency": ("MASK",)}}

    def lay(self, image: torch.Tensor, transparency: torch.Tensor) -> tuple[torch.Tensor]:
        cover = np.rint(255.0 * (1.0 - transparency.cpu().float().numpy())).astype(np.uint8)
        arrays = [
            preprocess_ops.on_white(colours, alpha)
            for colours, alpha in zip(to_levels(image), cover, strict=True)
        ]
        return (from_levels(arrays),)


class A1111ControlNetInput:
    """A unit's image, or the drawing on it: a mask that is neither all black nor all white."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "choose"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {"required": {"image": ("IMAGE",), "mask": ("MASK",)}}

    def choose(self, image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor]:
        drawing = np.rint(255.0 * mask[0].cpu().float().numpy()).astype(np.uint8)
        if not preprocess_ops.is_drawing(drawing):
            return (image,)
        return (from_levels([drawing[..., None].repeat(3, axis=2)]),)


class A1111ControlNetRecolor:
    """Put a recolor unit's map back as the lightness of the finished pictures."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "recolor"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "control_map": ("IMAGE",),
                "channel": (list(preprocess_ops.RECOLOR_CHANNELS),),
            }
        }

    def recolor(
        self, image: torch.Tensor, control_map: torch.Tensor, channel: str
    ) -> tuple[torch.Tensor]:
        kept = (control_map[0, ..., 0].cpu().float().numpy() * 255).clip(0, 255).astype(np.uint8)
        pictures = image.cpu().float().numpy()
        arrays = [preprocess_ops.recolor(picture, kept, channel) for picture in pictures]
        return (torch.from_numpy(np.stack(arrays)),)


class A1111ControlNetPaste:
    """inpaint_only's last step: the unit's image again outside of its mask, softly."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "paste"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "source": ("IMAGE",),
                "mask": ("MASK",),
                "blur": whole(7, 0, 64),
            }
        }

    def paste(
        self, image: torch.Tensor, source: torch.Tensor, mask: torch.Tensor, blur: int
    ) -> tuple[torch.Tensor]:
        outside = source[0].cpu().float().numpy()
        masked = mask[0].cpu().float().numpy()
        arrays = [
            preprocess_ops.paste_outside(picture, outside, masked, blur)
            for picture in image.cpu().float().numpy()
        ]
        return (torch.from_numpy(np.stack(arrays).astype(np.float32)),)


class A1111ControlNetColorFix:
    """tile_colorfix: at every call the prediction gets the low frequencies of the unit's image.

    `sharpness` (A1111's slider) is for tile_colorfix+sharp, 0 for plain tile_colorfix.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "model": ("MODEL",),
                "source": ("LATENT",),
                "radius": whole(8, 1, 64),
                "sharpness": number(0.0, 0.0, 2.0),
                "weight": number(1.0, 0.0, 1.0),
            }
        }

    def patch(
        self, model: Any, source: dict[str, Any], radius: int, sharpness: float, weight: float
    ) -> tuple[Any]:
        def made(args: Mapping[str, Any]) -> tuple[control_ops.Change, control_ops.Change]:
            latent = _in_model_scale(args, source)
            positive = control_ops.color_fix(latent, radius, weight)
            return positive, control_ops.color_fix(latent, radius, weight, sharpness * 0.01)

        return (_with_change(model, control_ops.PredictionChange(False, made)),)


class A1111ControlNetInpaintOnly:
    """inpaint_only: at every call the prediction outside of the mask is the unit's image."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "model": ("MODEL",),
                "source": ("LATENT",),
                "mask": ("MASK",),
                "weight": number(1.0, 0.0, 1.0),
            }
        }

    def patch(
        self, model: Any, source: dict[str, Any], mask: torch.Tensor, weight: float
    ) -> tuple[Any]:
        cells = control_ops.latent_mask(mask[:1].unsqueeze(1).float())

        def made(args: Mapping[str, Any]) -> tuple[control_ops.Change, control_ops.Change]:
            latent = _in_model_scale(args, source)
            change = control_ops.keep_source(latent, cells.to(latent), weight)
            return change, change

        return (_with_change(model, control_ops.PredictionChange(True, made)),)


def _in_model_scale(args: Mapping[str, Any], latent: dict[str, Any]) -> torch.Tensor:
    scaled: torch.Tensor = args["model"].process_latent_in(latent["samples"][:1])
    return scaled.to(args["denoised"])


def _with_change(model: Any, change: control_ops.PredictionChange) -> Any:
    """A model with one more change of its predictions."""
    patched = model.clone()
    functions = patched.model_options.get(_POST_CFG, [])
    patched.model_options[_POST_CFG] = control_ops.with_change(functions, change)
    return patched


class A1111ControlNetAttention:
    """Make the cross-attention patches of image prompts the model's own, middle block included.

    Goes before every image prompt but the first, and after each of IPAdapter_plus and PuLID, whose
    attention becomes that of A1111's extension. `owner` names what is patched next: it keeps
    ComfyUI's cache from giving this model to something else.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "own"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {"required": {"model": ("MODEL",), "owner": ("STRING", {"default": ""})}}

    def own(self, model: Any, owner: str) -> tuple[Any]:
        patched = with_attention(
            model, lambda patches: pulid_attention.as_extension(control_ops.own_attention(patches))
        )
        if any(map(pulid_attention.has_face, _attention(patched).values())):
            _remember_input(patched)
        return (patched,)


class A1111AverageImagePrompts:
    """An image prompt of several pictures: the mean of their tokens, as A1111 takes it.

    The packs take the mean before they make tokens of it. `model` and `other` are one model,
    patched with two pictures by the same node; `count` is of how many `model` has the mean already.
    `face_embeds` are InstantID's tokens for its ControlNet.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL", "FACE_EMBEDS")
    FUNCTION = "average"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "model": ("MODEL",),
                "other": ("MODEL",),
                "count": whole(1, 1, 1000),
            },
            "optional": {
                "face_embeds": ("FACE_EMBEDS",),
                "other_face_embeds": ("FACE_EMBEDS",),
            },
        }

    def average(
        self,
        model: Any,
        other: Any,
        count: int,
        face_embeds: dict[str, torch.Tensor] | None = None,
        other_face_embeds: dict[str, torch.Tensor] | None = None,
    ) -> tuple[Any, dict[str, torch.Tensor] | None]:
        patched = with_attention(
            model, lambda own: control_ops.average_prompts(own, _attention(other), count)
        )
        if face_embeds is None or other_face_embeds is None:
            return patched, face_embeds
        tokens = {
            name: control_ops.running_mean(face_embeds[name], other_face_embeds[name], count)
            for name in ("cond", "uncond")
        }
        return patched, tokens


def _remember_input(patched: Any) -> None:
    """Have a model's attention keep what it is fed, once."""
    patches = patched.model_options["transformer_options"].get("patches", {})
    if pulid_attention.remember_input not in patches.get("attn2_patch", ()):
        patched.set_model_attn2_patch(pulid_attention.remember_input)


def _attention(model: Any) -> dict[Any, Any]:
    """A model's cross-attention patches."""
    replaced = model.model_options["transformer_options"].get("patches_replace", {})
    return dict(replaced.get("attn2", {}))


def with_attention(model: Any, change: Callable[[dict[Any, Any]], Mapping[Any, Any]]) -> Any:
    """A model with its cross-attention patches changed."""
    patched = model.clone()
    options = patched.model_options["transformer_options"].copy()
    changed = {**options.get("patches_replace", {}), "attn2": change(_attention(model))}
    patched.model_options["transformer_options"] = {**options, "patches_replace": changed}
    return patched


class A1111FaceFound:
    """A map of face keypoints as it is; one without any point is an error, as in A1111.

    FaceKeypointsPreprocessor answers a black picture where it finds no face.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "check"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {"required": {"keypoints": ("IMAGE",)}}

    def check(self, keypoints: torch.Tensor) -> tuple[torch.Tensor]:
        if not bool(keypoints.any()):
            raise ValueError("No face detected in the image of the keypoints.")
        return (keypoints,)


class _LargestFirst:
    """InsightFace's analysis as A1111 has it: at one size of detection, the largest face first."""

    def __init__(self, analysis: Any) -> None:
        self._analysis = analysis

    def __getattr__(self, name: str) -> Any:
        return getattr(self._analysis, name)

    def get(self, *args: Any, **more: Any) -> list[Any]:
        self._analysis.det_model.input_size = control_ops.FACE_DETECTION
        return control_ops.largest_first(self._analysis.get(*args, **more))


class _Strict(_LargestFirst):
    """It fails where it finds no face."""

    def get(self, *args: Any, **more: Any) -> list[Any]:
        faces = super().get(*args, **more)
        if not faces:
            raise ValueError("Insightface: No face detected in the image.")
        return faces


class A1111StrictFaceAnalysis:
    """InsightFace as A1111 uses it for PuLID: a picture without a face is an error.

    ApplyPulid tries smaller sizes where it finds none, and then leaves the model as it is.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("FACEANALYSIS",)
    FUNCTION = "wrap"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {"required": {"face_analysis": ("FACEANALYSIS",)}}

    def wrap(self, face_analysis: Any) -> tuple[Any]:
        return (_Strict(face_analysis),)


class A1111FaceTensor:
    """The embedding of the largest face as ``POST /controlnet/detect`` answers it.

    A tensor saved by torch, in base64: `[512]` as InstantID takes it, or with `normed` `[1, 512]`
    of length 1 as FaceID takes it. One of `faceanalysis` and `insightface` must be there.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("STRING",)
    FUNCTION = "embed"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {"image": ("IMAGE",), "normed": ("BOOLEAN", {"default": False})},
            "optional": {"faceanalysis": ("FACEANALYSIS",), "insightface": ("INSIGHTFACE",)},
        }

    def embed(
        self,
        image: torch.Tensor,
        normed: bool,
        faceanalysis: Any = None,
        insightface: Any = None,
    ) -> tuple[str]:
        analysis = insightface if faceanalysis is None else faceanalysis
        if analysis is None:
            raise ValueError("A1111FaceTensor needs faceanalysis or insightface")
        face = control_ops.face_in(analysis, to_levels(image)[0])
        embedding = torch.from_numpy(np.array(face.normed_embedding if normed else face.embedding))
        file = io.BytesIO()
        torch.save(embedding[None] if normed else embedding, file)
        return (base64.b64encode(file.getvalue()).decode("ascii"),)


class A1111LargestFace:
    """InsightFace as A1111 uses it: it looks at 640 pixels, and the largest face counts.

    The pack takes the surest, and looks again at fewer pixels where it finds none.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("INSIGHTFACE",)
    FUNCTION = "wrap"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {"required": {"insightface": ("INSIGHTFACE",)}}

    def wrap(self, insightface: Any) -> tuple[Any]:
        return (_LargestFirst(insightface),)


class A1111Revision:
    """Revision: an image embedding in place of SDXL's pooled text.

    Without `clip_vision_output` the pooled vector becomes zeros (the negative prompt). `add` adds
    to what an earlier revision unit put there. `zero_text` zeroes the text itself as well. `seed`
    is that of torch's generator in A1111, from which `drawn` numbers were taken before.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("CONDITIONING",)
    FUNCTION = "revise"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "conditioning": ("CONDITIONING",),
                "strength": number(1.0, 0.0, 10.0),
                "noise_augmentation": number(0.0, 0.0, 1.0),
                "seed": whole(0, 0, 2**32 - 1),
                "add": ("BOOLEAN", {"default": False}),
                "zero_text": ("BOOLEAN", {"default": False}),
            },
            "optional": {
                "clip_vision_output": ("CLIP_VISION_OUTPUT",),
                "drawn": whole(0, 0, 2**31 - 1),
            },
        }

    def revise(
        self,
        conditioning: list[Any],
        strength: float,
        noise_augmentation: float,
        seed: int,
        add: bool,
        zero_text: bool,
        clip_vision_output: Any = None,
        drawn: int = 0,
    ) -> tuple[list[Any]]:
        revised = []
        for text, values in conditioning:
            before = values["pooled_output"]
            pooled = torch.zeros_like(before)
            if clip_vision_output is not None:
                embedding = clip_vision_output.image_embeds[:1].to(before)
                pooled = control_ops.revision_pooled(
                    embedding, strength, noise_augmentation, seed, drawn
                )
            if add:
                pooled = pooled + before
            kept = torch.zeros_like(text) if zero_text else text
            revised.append([kept, {**values, "pooled_output": pooled}])
        return (revised,)


class A1111InstantIDControlNet:
    """InstantID's ControlNet with the face's tokens as its own text, and no other ControlNet's.

    As ApplyInstantIDControlNet, which gives the tokens of the last face to every ControlNet of the
    conditioning. `positive_only` gives the negative prompt the positive one's tokens, as A1111 does
    in the hires pass.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("CONDITIONING", "CONDITIONING")
    RETURN_NAMES = ("positive", "negative")
    FUNCTION = "apply"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "face_embeds": ("FACE_EMBEDS",),
                "control_net": ("CONTROL_NET",),
                "image_kps": ("IMAGE",),
                "positive": ("CONDITIONING",),
                "negative": ("CONDITIONING",),
                "strength": number(1.0, 0.0, 10.0),
                "start_at": number(0.0, 0.0, 1.0),
                "end_at": number(1.0, 0.0, 1.0),
            },
            "optional": {"positive_only": ("BOOLEAN", {"default": False})},
        }

    def apply(
        self,
        face_embeds: dict[str, torch.Tensor],
        control_net: Any,
        image_kps: torch.Tensor,
        positive: list[Any],
        negative: list[Any],
        strength: float,
        start_at: float,
        end_at: float,
        positive_only: bool = False,
    ) -> tuple[list[Any], list[Any]]:
        if strength == 0:
            return positive, negative
        from .face_control import FaceControl

        cond = face_embeds["cond"]
        uncond = cond if positive_only else face_embeds["uncond"]

        hint = image_kps.movedim(-1, 1)
        made: dict[Any, FaceControl] = {}

        def controlled(conditioning: list[Any]) -> list[Any]:
            entries = []
            for text, values in conditioning:
                before = values.get("control")
                if before not in made:
                    inner = control_net.copy().set_cond_hint(hint, strength, (start_at, end_at))
                    made[before] = FaceControl(inner, cond, uncond)
                    made[before].set_previous_controlnet(before)
                entry = {**values, "control": made[before], "control_apply_to_uncond": False}
                entries.append([text, entry])
            return entries

        return controlled(positive), controlled(negative)
