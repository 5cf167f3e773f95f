"""How hires fix and img2img enlarge."""

from __future__ import annotations

from translator.models import upscalers
from translator.plan.starts import ImageUpscale, LatentUpscale
from translator.request.txt2img import Txt2Img
from translator.scope import Scope

_NO_UPSCALER = (None, "", "None")

LANCZOS_NAME = "Lanczos"
LANCZOS = ImageUpscale("lanczos", None)
"""A1111's upscaler of this name; also what stands in for one that cannot run here."""


def hires_upscale(request: Txt2Img, scope: Scope) -> LatentUpscale | ImageUpscale | None:
    """What enlarges the first pass' picture; None, and a problem, where A1111 knows no such."""
    name = upscalers.DEFAULT if request.hr_upscaler is None else request.hr_upscaler
    found = upscalers.find(name, scope.catalog, scope.a1111_options)
    if found is not None:
        return found
    obstacle = upscalers.obstacle(name, scope.catalog)
    if obstacle is None:
        remedy = upscalers.remedy(name, scope.catalog, scope.report)
        scope.report.invalid("hr_upscaler", f'A1111 has no upscaler "{name}"{remedy}', name)
        return None
    _report_missing("hr_upscaler", name, obstacle, scope)
    return LANCZOS


def img2img_upscale(scope: Scope) -> ImageUpscale | None:
    """Option upscaler_for_img2img; None is one Lanczos resize."""
    name = scope.a1111_options.upscaler_for_img2img
    if name is None or name in _NO_UPSCALER:
        return None
    path = scope.a1111_options.path_of("upscaler_for_img2img")
    found = upscalers.find(name, scope.catalog, scope.a1111_options)
    if isinstance(found, ImageUpscale):
        return found
    obstacle = None if found else upscalers.obstacle(name, scope.catalog)
    if obstacle is None:
        remedy = upscalers.remedy(name, scope.catalog, scope.report)
        scope.report.warn(path, f'no upscaler is used, as in A1111, which has no "{name}"{remedy}')
    else:
        _report_missing(path, name, obstacle, scope)
    return None


def _report_missing(path: str, name: str, obstacle: str, scope: Scope) -> None:
    scope.report.missing(
        path,
        f"{name} cannot be used here: {obstacle}",
        instead="Lanczos enlarges the picture",
        value=name,
    )
