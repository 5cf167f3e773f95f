"""POST /sdapi/v1/img2img: a picture from a picture."""

from __future__ import annotations

from collections.abc import Mapping

from translator.comfy.catalog import Catalog
from translator.endpoints.generation import translate_generation
from translator.options import Options
from translator.report import Report
from translator.request import img2img as request
from translator.request.infotext import apply_infotext
from translator.result import Translation


def translate_img2img(
    payload: object, catalog: Catalog, options: Options, report: Report
) -> Translation:
    """Translate a img2img request, see `translator.translate`."""
    if isinstance(payload, Mapping):
        payload = apply_infotext(payload, options.a1111_options, report, "img2img")
    asked = request.parse(payload, options.defaults, report)
    return translate_generation(asked, catalog, options, report)
