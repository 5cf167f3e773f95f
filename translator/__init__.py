"""A1111's API translated into ComfyUI graphs: pure, offline, without a GPU.

    translation = translate({"prompt": "a cat", "steps": 20})
    translation.graph      # ready for ComfyUI's POST /prompt
    translation.warning_texts   # what is not as A1111 would have it

What ComfyUI has is a `Catalog`; how to translate is set by `Options`; a request that cannot be
translated raises `TranslationError`, which lists every reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from translator.comfy.catalog import Catalog, ModelFacts
from translator.comfy.graph import MissingNodeError
from translator.comfy.packs import pack_of
from translator.endpoints import extras
from translator.endpoints.detect import translate_detect
from translator.endpoints.img2img import translate_img2img
from translator.endpoints.interrogate import translate_interrogate
from translator.endpoints.txt2img import translate_txt2img
from translator.options import Options
from translator.plan.work import PassWork, Work
from translator.report import Problem, Report, TranslationError, Warning, show
from translator.result import AnswerFormat, Output, Translation, Upload
from translator.shape import faults

__all__ = [
    "DETECT",
    "ENDPOINTS",
    "EXTRA_BATCH",
    "EXTRA_SINGLE",
    "IMG2IMG",
    "INTERROGATE",
    "TXT2IMG",
    "AnswerFormat",
    "Catalog",
    "ModelFacts",
    "Options",
    "Output",
    "PassWork",
    "Problem",
    "Translation",
    "TranslationError",
    "Upload",
    "Warning",
    "Work",
    "translate",
]

TXT2IMG = "/sdapi/v1/txt2img"
IMG2IMG = "/sdapi/v1/img2img"
EXTRA_SINGLE = "/sdapi/v1/extra-single-image"
EXTRA_BATCH = "/sdapi/v1/extra-batch-images"
DETECT = "/controlnet/detect"
INTERROGATE = "/sdapi/v1/interrogate"

ENDPOINTS: Mapping[str, Callable[[object, Catalog, Options, Report], Translation]] = {
    TXT2IMG: translate_txt2img,
    IMG2IMG: translate_img2img,
    EXTRA_SINGLE: extras.translate_single,
    EXTRA_BATCH: extras.translate_batch,
    DETECT: translate_detect,
    INTERROGATE: translate_interrogate,
}
"""The endpoints whose requests become graphs."""


def translate(
    payload: object,
    endpoint: str = TXT2IMG,
    catalog: Catalog | None = None,
    *,
    options: Options | Mapping[str, Any] | None = None,
) -> Translation:
    """Translate an A1111 request into a ComfyUI graph.

    Args:
        payload: the request's JSON object, parsed.
        endpoint: one of `ENDPOINTS`, with or without the leading slash.
        catalog: what the ComfyUI has; None is the bundled catalog, which takes any model name.
        options: an `Options`, or a mapping of its fields.

    Raises:
        TranslationError: the request is wrong, or asks for something that this ComfyUI cannot do
            (see `Options.unsupported`). It lists every problem with its JSON path.
    """
    settled = Options.of(options)
    translator = ENDPOINTS.get(f"/{endpoint.strip('/')}")
    if translator is None:
        known = ", ".join(ENDPOINTS)
        message = f"{show(endpoint)} cannot be translated; there are {known}"
        raise TranslationError([Problem("api.endpoint", message, endpoint, "unsupported")])
    report = Report(settled.unsupported)
    for path, message in faults(payload):
        report.invalid(path, message)
    report.raise_if_refused()
    try:
        return translator(payload, catalog or Catalog.bundled(), settled, report)
    except MissingNodeError as error:
        lacking = error.class_type
        message = f"this ComfyUI lacks the node {lacking}; install {pack_of(lacking)}"
        raise TranslationError([Problem("", message, lacking, "missing")]) from None
