"""``extra-single-image`` and ``extra-batch-images``: pictures enlarged, faces restored.

The order is always upscaling, GFPGAN, CodeFormer. Source: A1111 v1.10.1 ``modules/api/api.py``,
``postprocessing.py``, ``upscaler.py`` and the scripts ``postprocessing_upscale``,
``postprocessing_gfpgan`` and ``postprocessing_codeformer``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from translator.comfy import nodes
from translator.comfy.catalog import Catalog
from translator.comfy.graph import Graph
from translator.infotext.text import quote
from translator.lists.a1111 import html_text
from translator.models import upscalers
from translator.options import Options
from translator.plan.starts import ImageUpscale, LatentUpscale
from translator.plan.work import Work
from translator.report import Report
from translator.request.a1111_options import A1111Options, resolve_a1111_options
from translator.request.images import ImageReader, ImageUpload
from translator.request.reader import Fields, Reader
from translator.result import AnswerFormat, Output, Translation, Upload
from translator.stages import extras
from translator.stages.extras import Enlargement, Restoration
from translator.stages.targets import Target, target_of

_NO_UPSCALER = "None"
_STAND_IN = "Lanczos"
"""What enlarges, with unsupported=warn, where an upscaler cannot run here."""
_TO_SIZE = 1
_WITHOUT_EFFECT = ("show_extras_results", "upscale_first")
_IMAGE_FIELDS = ("image", "imageList")
_READERS: Mapping[str, Reader] = {
    "image": Reader("extras", "extra-single-image", "extras", without=("imageList",)),
    "imageList": Reader("extras", "extra-batch-images", "extras", without=("image",)),
}
"""Field of the pictures -> what reads the request."""
_RESTORER_NODE = "A1111FaceRestore"
_OWN_NODES = ("A1111ImageScale", "A1111UpscaleWithModel")


@dataclass(frozen=True)
class _Request:
    """The fields of a request, as ``schemas/extras.json`` documents them; images aside."""

    resize_mode: int
    show_extras_results: bool
    gfpgan_visibility: float
    codeformer_visibility: float
    codeformer_weight: float
    upscaling_resize: float
    upscaling_resize_w: int
    upscaling_resize_h: int
    upscaling_crop: bool
    upscaler_1: str
    upscaler_2: str
    extras_upscaler_2_visibility: float
    upscale_first: bool

    @property
    def target(self) -> tuple[int, int]:
        """Width and height of mode 1."""
        return self.upscaling_resize_w, self.upscaling_resize_h


def translate_single(
    payload: object, catalog: Catalog, options: Options, report: Report
) -> Translation:
    """``POST /sdapi/v1/extra-single-image``.

    ``info`` is ``{"html_info"}``, ``parameters`` ``{"postprocessing"}``: the same as plain text;
    ``source`` in an output names the upload that it was made from.
    """
    return _translate(payload, "image", catalog, options, report)


def translate_batch(
    payload: object, catalog: Catalog, options: Options, report: Report
) -> Translation:
    """``POST /sdapi/v1/extra-batch-images``, as `translate_single`."""
    return _translate(payload, "imageList", catalog, options, report)


def _translate(
    payload: object, source: str, catalog: Catalog, options: Options, report: Report
) -> Translation:
    sent = _READERS[source].read(payload, "", report)
    _warn_of_no_effect(sent, report)
    fields = sent.settled()
    report.raise_if_refused()
    images = _images(fields, source, report)
    asked = _Request(**{name: fields[name] for name in fields if name not in _IMAGE_FIELDS})
    a1111_options = resolve_a1111_options(options.a1111_options, None, report)
    exact = options.fidelity == "exact" and catalog.has(*_OWN_NODES)
    found = _upscalers(asked, catalog, a1111_options, report)
    restorations = _restorations(asked, catalog, report)
    report.raise_if_refused()

    graph = Graph(catalog, report)
    target = target_of(graph, exact)
    outputs = []
    for image in images:
        steps = [_enlargement(asked, upscaler, image, target, report) for upscaler in found]
        result = extras.load(graph, image)
        result = extras.enlarge(target, result, steps, asked.extras_upscaler_2_visibility)
        result = extras.restore(graph, result, restorations)
        node = nodes.output_image(graph, result, options.image_output, "Result")
        outputs.append(Output("image", node, source=image.name))
    report.raise_if_refused()
    used = replace(
        asked,
        upscaler_1=_named_upscaler(asked.upscaler_1, catalog),
        upscaler_2=_named_upscaler(asked.upscaler_2, catalog),
    )
    text = _infotext(used, found)
    return Translation(
        graph=graph.to_api(),
        outputs=tuple(outputs),
        uploads=tuple(Upload(item.name, item.data) for item in dict.fromkeys(images)),
        info={"html_info": html_text(text)},
        parameters={"postprocessing": text},
        warnings=report.warnings,
        answer=AnswerFormat(
            samples_format=a1111_options.samples_format,
            jpeg_quality=a1111_options.jpeg_quality,
            send_images=True,
            enable_pnginfo=a1111_options.enable_pnginfo,
            infotexts=[None] * len(outputs),
        ),
        work=Work(images=len(outputs)),
    )


def _warn_of_no_effect(sent: Fields, report: Report) -> None:
    for name in _WITHOUT_EFFECT:
        default = sent.properties[name]["default"]
        if sent.sent.get(name, default) != default:
            report.warn(name, "without effect, as in A1111's API")


def _images(fields: Mapping[str, Any], source: str, report: Report) -> list[ImageUpload]:
    reader = ImageReader(report)
    values = [("image", fields[source])] if source == "image" else []
    if source == "imageList":
        values = [
            (f"imageList[{index}].data", item["data"])
            for index, item in enumerate(fields["imageList"])
        ]
    read = [reader.read(value, path) for path, value in values]
    if not values:
        report.invalid("imageList", "no picture in it")
    return [image for image in read if image is not None]


def _upscalers(
    asked: _Request, catalog: Catalog, a1111_options: A1111Options, report: Report
) -> list[ImageUpscale]:
    """The upscalers that take part: none, one, or two whose results are blended.

    Without a first one A1111 does not look at the second.
    """
    if asked.upscaler_1 == _NO_UPSCALER:
        return []
    first = _upscaler(asked.upscaler_1, "upscaler_1", catalog, a1111_options, report)
    second = None
    if asked.upscaler_2 != _NO_UPSCALER:
        second = _upscaler(asked.upscaler_2, "upscaler_2", catalog, a1111_options, report)
    taking_part = [first, second] if asked.extras_upscaler_2_visibility > 0 else [first]
    return [item for item in taking_part if item is not None]


def _upscaler(
    name: str, path: str, catalog: Catalog, a1111_options: A1111Options, report: Report
) -> ImageUpscale | None:
    found = upscalers.find(name, catalog, a1111_options)
    if isinstance(found, ImageUpscale):
        return found
    why = upscalers.obstacle(name, catalog)
    if why:
        report.missing(
            path,
            f"upscaler {name}: {why}; GET sdapi/v1/upscalers lists those that are there",
            instead=f"{_STAND_IN} enlarges the picture",
            value=name,
        )
        return ImageUpscale("lanczos", None)
    latent = isinstance(found, LatentUpscale)
    remedy = " (it enlarges latents)" if latent else upscalers.remedy(name, catalog, report)
    report.invalid(path, f"could not find upscaler named {name}{remedy}", name)
    return None


def _named_upscaler(name: str, catalog: Catalog) -> str:
    """The upscaler that a picture was made with: what stands in for one that cannot run here."""
    return _STAND_IN if upscalers.obstacle(name, catalog) else name


def _restorations(asked: _Request, catalog: Catalog, report: Report) -> list[Restoration]:
    wanted = [
        Restoration("GFPGAN", asked.gfpgan_visibility, 0.0),
        Restoration("CodeFormer", asked.codeformer_visibility, asked.codeformer_weight),
    ]
    taking_part = [item for item in wanted if item.visibility > 0]
    if taking_part and not catalog.has(_RESTORER_NODE):
        for item in taking_part:
            report.missing(
                f"{item.model.lower()}_visibility",
                "faces are restored by our node pack, which this ComfyUI lacks",
                instead="faces are left as they are",
            )
        return []
    return taking_part


def _enlargement(
    asked: _Request, upscaler: ImageUpscale, image: ImageUpload, target: Target, report: Report
) -> Enlargement:
    size = (image.width, image.height)
    factor, canvas = asked.upscaling_resize, None
    if asked.resize_mode == _TO_SIZE:
        factor = max(wanted / side for wanted, side in zip(asked.target, size, strict=True))
        canvas = asked.target if asked.upscaling_crop else None
    step = Enlargement(upscaler, size, factor, canvas)
    if min(step.size) < 1:
        report.invalid(
            "upscaling_resize_w" if asked.resize_mode == _TO_SIZE else "upscaling_resize",
            f"a picture of {size[0]}x{size[1]} becomes {step.size[0]}x{step.size[1]}, as A1111 "
            "rounds sides down to a multiple of 8",
        )
    for difference in extras.differences(step, target):
        report.warn("", difference)
    return step


def _infotext(asked: _Request, found: list[ImageUpscale]) -> str:
    """What A1111 writes of an extras job, as its html_info and in the chunk ``postprocessing``."""
    told: dict[str, Any] = {}
    if found:
        width, height = asked.target
        if asked.resize_mode == _TO_SIZE:
            told["Postprocess upscale to"] = f"{width}x{height}"
            if asked.upscaling_crop:
                told["Postprocess crop to"] = f"{width}x{height}"
        else:
            told["Postprocess upscale by"] = asked.upscaling_resize
        told["Postprocess upscaler"] = asked.upscaler_1
        if len(found) > 1:
            told["Postprocess upscaler 2"] = asked.upscaler_2
    if asked.gfpgan_visibility:
        told["GFPGAN visibility"] = round(asked.gfpgan_visibility, 3)
    if asked.codeformer_visibility:
        told["CodeFormer visibility"] = round(asked.codeformer_visibility, 3)
        told["CodeFormer weight"] = round(asked.codeformer_weight, 3)
    return ", ".join(f"{key}: {quote(value)}" for key, value in told.items())
