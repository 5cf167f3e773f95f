"""What A1111's ControlNet does with the faces of a picture: which counts, and what it tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..maths import control_ops
from ..maths.image_ops import to_levels
from .control import CATEGORY
from .image_prompts import torch_file, with_attention
from .inputs import InputTypes, flag, number


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
            "required": {"image": ("IMAGE",), "normed": flag()},
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
        return (torch_file(embedding[None] if normed else embedding),)


class A1111FaceTokens:
    """An image prompt by FaceID with the tokens that the extension makes of its picture.

    `model` is what IPAdapterFaceID patched with one picture. The face is looked for at 640 pixels
    only, and the largest one counts. FaceID plus needs `clip_vision_output` of the whole picture
    (the pack's node shows CLIP the face alone); `shortcut` is its second version's.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "replace"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "model": ("MODEL",),
                "insightface": ("INSIGHTFACE",),
                "image": ("IMAGE",),
            },
            "optional": {
                "clip_vision_output": ("CLIP_VISION_OUTPUT",),
                "shortcut": flag(),
            },
        }

    def replace(
        self,
        model: Any,
        insightface: Any,
        image: torch.Tensor,
        clip_vision_output: Any = None,
        shortcut: bool = False,
    ) -> tuple[Any]:
        face = control_ops.face_in(insightface, to_levels(image)[0])
        embedding = torch.from_numpy(np.array(face.normed_embedding))[None]
        seen = None
        if clip_vision_output is not None:
            seen = clip_vision_output.penultimate_hidden_states[:1]
        tokens = control_ops.FaceTokens(embedding, seen, shortcut)
        return (with_attention(model, tokens.put_into),)


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
            "optional": {"positive_only": flag()},
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
