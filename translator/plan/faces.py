"""The face restorer that is run on every picture."""

from __future__ import annotations

from translator.plan.values import FaceRestoration
from translator.request.a1111_options import A1111Options
from translator.request.generation import Generation
from translator.scope import Scope

_MODELS = ("CodeFormer", "GFPGAN")


def face_restorer(a1111_options: A1111Options) -> FaceRestoration | None:
    """The restorer that the options name; None where they name none."""
    if a1111_options.face_restoration_model not in _MODELS:
        return None
    return FaceRestoration(a1111_options.face_restoration_model, a1111_options.code_former_weight)


def face_restoration(request: Generation, scope: Scope, *, exact: bool) -> FaceRestoration | None:
    """What restore_faces, or where it is absent option face_restoration, asks for."""
    requested = request.restore_faces
    if not (scope.a1111_options.face_restoration if requested is None else requested):
        return None
    restorer = face_restorer(scope.a1111_options)
    if restorer and not (exact and scope.catalog.has("A1111FaceRestore")):
        scope.report.unsupported(
            "restore_faces",
            "restoring faces needs our node pack",
            instead="faces are left as they are",
        )
        return None
    return restorer
