"""ReActor's rules: `FaceSwapScript` -> `FaceSwap`s in the plan, every name resolved.

Source: sd-webui-reactor v0.7.1, restated in the project's facts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from translator.faceswap.script import NONE, FaceSwapScript
from translator.models import upscalers
from translator.plan.starts import Encoded, ImageUpscale
from translator.plan.values import (
    Detail,
    FaceRestoration,
    FaceSwap,
    InitPicture,
    Plan,
    PuttingBack,
    SwappedInit,
)
from translator.request.images import ImageUpload
from translator.scope import Scope

SWAP, OPTIONS, FACE_MODEL = "ReActorFaceSwapOpt", "ReActorOptions", "ReActorLoadFaceModel"
"""The pack's nodes."""

PACK = "ComfyUI-ReActor (github.com/Gourieff/ComfyUI-ReActor)"

RESULT = "A1111FaceSwapResult"
"""Our pack's node."""

_USUAL_MODEL = "inswapper_128.onnx"
_RESTORERS = ("CodeFormer", "GFPGAN")
_LEFT_ALONE = "no face is swapped"


def with_face_swap(plan: Plan, script: FaceSwapScript | None, scope: Scope) -> Plan:
    """The plan with the swaps that the script asks for.

    Faces of results are swapped behind ADetailer's units; where the originals are kept, behind all
    that is done to a picture.
    """
    if script is None or not (script.swaps_init or script.swaps_result):
        return plan
    swap = _Planner(script, plan, scope).swap()
    if swap is None:
        return plan
    scope.report.warn(
        script.path,
        "faces are swapped by ComfyUI-ReActor, near to A1111's ReActor: it finds faces by itself, "
        "and leaves out a picture that its classifier takes for indecent, which is answered as it "
        "was",
    )
    if script.swaps_init:
        plan = _with_swapped_inits(plan, replace(swap, beside=False))
    return _with_swapped_results(plan, swap) if script.swaps_result else plan


def _with_swapped_results(plan: Plan, swap: FaceSwap) -> Plan:
    if swap.beside:
        return replace(plan, finish=(*plan.finish, swap))
    kinds = (InitPicture, FaceRestoration, Detail)
    place = sum(isinstance(step, kinds) for step in plan.finish)
    return replace(plan, finish=(*plan.finish[:place], swap, *plan.finish[place:]))


def _with_swapped_inits(plan: Plan, swap: FaceSwap) -> Plan:
    """The plan whose first pass starts from swapped pictures."""
    start = plan.first.start
    if not isinstance(start, Encoded):
        return plan
    swapped = tuple(SwappedInit(item, f"{item.name}, faces swapped", swap) for item in start.images)
    images = tuple(map(_placeholder, swapped))
    first = replace(plan.first, start=replace(start, images=images))
    return replace(plan, passes=(first, *plan.passes[1:]), swapped_inits=swapped)


def _placeholder(item: SwappedInit) -> ImageUpload:
    width, height = item.swap.size_of(item.image.width, item.image.height)
    return ImageUpload(item.name, "", width, height, "RGB", False)


class _Planner:
    def __init__(self, script: FaceSwapScript, plan: Plan, scope: Scope) -> None:
        self._script = script
        self._plan = plan
        self._scope = scope
        self._report = scope.report

    def swap(self) -> FaceSwap | None:
        """What is done to every picture; None, and a report, where nothing can be."""
        script = self._script
        if not self._has_nodes() or not self._has_faces():
            return None
        model = self._model()
        if model is None:
            return None
        return FaceSwap(
            image=script.image,
            face_model=script.face_model,
            source_faces=script.source_faces,
            target_faces=script.target_faces,
            source_gender=script.source_gender,
            target_gender=script.target_gender,
            model=model,
            restorer=self._restorer(),
            restorer_visibility=script.restorer_visibility,
            restores_first=script.restores_first,
            upscaler=self._upscaler(),
            scale=script.scale,
            upscaler_visibility=script.upscaler_visibility,
            forced=script.forces_upscale,
            beside=script.keeps_original,
            log_level=script.log_level,
        )

    def _has_nodes(self) -> bool:
        nodes = (SWAP, OPTIONS, *([FACE_MODEL] if self._script.face_model else ()))
        if not self._scope.catalog.has(*nodes):
            self._report.missing(
                self._script.path,
                f"faces are swapped by the node pack {PACK}, which this ComfyUI does not have: "
                "install it and its models (they are for non-commercial use, and a person's face "
                "needs consent), or leave the script out",
                instead=_LEFT_ALONE,
            )
            return False
        if not (self._plan.exact and self._scope.catalog.has(RESULT)):
            self._report.unsupported(
                self._script.path, "ReActor needs our node pack", instead=_LEFT_ALONE
            )
            return False
        return True

    def _has_faces(self) -> bool:
        """Whether the numbers of faces go together; else A1111 swaps nothing."""
        sources, targets = self._script.source_faces, self._script.target_faces
        if len(sources) in (1, len(targets)):
            return self._has_face_model()
        self._report.unsupported(
            self._script.path_of("source_faces"),
            f"{len(sources)} source faces for {len(targets)} target faces: name one, or one each",
            instead=f"{_LEFT_ALONE}, as in A1111",
        )
        return False

    def _has_face_model(self) -> bool:
        name = self._script.face_model
        return name is None or self._is_listed("face_model", name, FACE_MODEL, "face_model")

    def _model(self) -> str | None:
        """The swapper's file; None where it is not there."""
        listed = self._scope.catalog.options(SWAP, "swap_model")
        name = self._script.model
        if name is None:
            usual = _USUAL_MODEL if _USUAL_MODEL in listed or not listed else listed[0]
            return str(usual)
        return name if self._is_listed("model", name, SWAP, "swap_model") else None

    def _is_listed(self, argument: str, name: str, node: str, input_name: str) -> bool:
        listed = self._scope.catalog.options(node, input_name)
        if not listed or name in listed:
            return True
        hint = self._report.did_you_mean(name, tuple(map(str, listed)))
        self._report.missing(
            self._script.path_of(argument),
            f'ComfyUI-ReActor has no "{name}"{hint}',
            instead=f"{_LEFT_ALONE}, as in A1111",
            value=name,
        )
        return False

    def _restorer(self) -> FaceRestoration | None:
        """The restorer; an unknown name is none, as in A1111."""
        name = self._script.restorer
        if name in _RESTORERS:
            return FaceRestoration(name, self._script.codeformer_weight)
        if name != NONE:
            self._report.unsupported(
                self._script.path_of("restorer"),
                f'there is no face restorer "{name}"{self._report.did_you_mean(name, _RESTORERS)}',
                instead="faces are not restored, as in A1111",
                value=name,
            )
        return None

    def _upscaler(self) -> ImageUpscale | None:
        name, path = self._script.upscaler, self._script.path_of("upscaler")
        if name == NONE:
            return None
        found = upscalers.find(name, self._scope.catalog, self._plan.a1111_options)
        if not isinstance(found, ImageUpscale):
            why = upscalers.obstacle(name, self._scope.catalog)
            why = why or f'there is no upscaler "{name}"' + self._report.did_you_mean(
                name, upscalers.listed(self._scope.catalog)
            )
            self._report.missing(path, why, instead="pictures are not enlarged", value=name)
            return None
        for obstacle in self._upscale_obstacles():
            self._report.unsupported(path, obstacle, instead="pictures are not enlarged")
            return None
        return found

    def _upscale_obstacles(self) -> Iterator[str]:
        """What keeps the size of a result from being known, or from being larger."""
        details = [step for step in self._plan.finish if isinstance(step, Detail)]
        if any(step.rules.is_whole_picture for step in details):
            yield "behind ADetailer on whole pictures the size is known too late to enlarge them"
        if any(isinstance(step, PuttingBack) for step in self._plan.finish):
            yield "results that are put back into a picture cannot be enlarged before"
