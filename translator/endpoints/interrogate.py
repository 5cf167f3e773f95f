"""``POST /sdapi/v1/interrogate``: what is to be seen on a picture, in words or in tags.

Which node answers is chosen by what ComfyUI has: the first row of ``tables/interrogators.json``.
Source of the rules: A1111 v1.10.1 ``modules/api/api.py`` and ``modules/deepbooru.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from translator.comfy import nodes
from translator.comfy.catalog import Catalog
from translator.comfy.graph import Graph, Text
from translator.options import Options
from translator.plan.work import Work
from translator.report import Problem, Report, TranslationError
from translator.request.a1111_options import A1111Options, resolve_a1111_options
from translator.request.images import ImageReader
from translator.request.reader import Reader
from translator.result import AnswerFormat, Output, Translation, Upload
from translator.tables import read_table

_READER = Reader("interrogate", "interrogate", never_null=("image",))

_SHOWN_AS = "text"
"""The key under which PreviewAny tells what it shows."""

_JPEG_QUALITY = 80

_ESCAPED = re.compile(r"\\([()\\])")
_SPECIAL = re.compile(r"([\\()])")


def translate_interrogate(
    payload: object, catalog: Catalog, options: Options, report: Report
) -> Translation:
    """The graph whose one output, of kind ``text``, is what a node says of a picture.

    ``info`` is empty; `caption` makes A1111's caption of the text.

    Raises:
        TranslationError: as every endpoint, and where no node is there that can answer.
    """
    fields = _READER.read(payload, "", report).settled()
    report.raise_if_refused()
    if fields["image"] is None:
        report.invalid("image", "Image not found")
    rows = read_table("interrogators")["models"].get(fields["model"])
    if rows is None:
        report.invalid("model", "Model not found: there are clip and deepdanbooru", fields["model"])
    report.raise_if_refused()
    image = ImageReader(report).read(fields["image"], "image")
    row = _row(fields["model"], rows, catalog)
    report.raise_if_refused()
    assert image is not None
    a1111_options = resolve_a1111_options(options.a1111_options, None, report)
    report.warn("model", row["differs"])
    graph = Graph(catalog, report)
    picture, _ = nodes.load_image(graph, image.name)
    settings = {name: _setting(value, a1111_options) for name, value in row["settings"].items()}
    node = nodes.describer(graph, row["node"], picture, row.get("loader"), settings)
    told_as = row.get("told_as")
    if told_as is None:
        node, told_as = nodes.shown_text(graph, node.out(Text, row["output"])), _SHOWN_AS
    report.raise_if_refused()
    return Translation(
        graph=graph.to_api(),
        outputs=(Output("text", node.id, told_as=told_as),),
        uploads=(Upload(image.name, image.data),),
        info={},
        parameters={},
        warnings=report.warnings,
        answer=AnswerFormat("png", _JPEG_QUALITY, True, False, [None]),
        work=Work(),
    )


def caption(model: str, text: str, a1111_options: A1111Options) -> str:
    """A1111's caption of what a node has told.

    Args:
        model: the request's.
        text: words as they are; tags with underscores, divided by ", ", brackets escaped.
    """
    if model != "deepdanbooru":
        return text.strip()
    tags = [_ESCAPED.sub(r"\1", tag.strip()) for tag in text.split(", ") if tag.strip()]
    left_out = {
        item.strip().replace(" ", "_") for item in a1111_options.deepbooru_filter_tags.split(",")
    }
    kept = [tag for tag in tags if tag not in left_out and not tag.startswith("rating:")]
    if a1111_options.deepbooru_sort_alpha:
        kept.sort()
    if a1111_options.deepbooru_use_spaces:
        kept = [tag.replace("_", " ") for tag in kept]
    if a1111_options.deepbooru_escape:
        kept = [_SPECIAL.sub(r"\\\1", tag) for tag in kept]
    return ", ".join(kept)


def _row(model: str, rows: Mapping[str, Any], catalog: Catalog) -> Mapping[str, Any]:
    """The first node that this ComfyUI has with a model to load.

    Raises:
        TranslationError: there is none, whatever is said of what cannot be honoured: there
            would be nothing to answer.
    """
    for row in rows["nodes"]:
        needed = [row["node"], *([row["loader"]] if "loader" in row else [])]
        if catalog.has(*needed) and all(_has_models(catalog, name) for name in needed):
            found: Mapping[str, Any] = row
            return found
    packs = " or ".join(
        f"{row['pack']} ({row['licence']}; weights {row['weights']})" for row in rows["nodes"]
    )
    message = f"interrogating with {model} needs {rows['lacks']}: install the pack {packs}"
    raise TranslationError((Problem("model", message, model, "missing"),))


def _has_models(catalog: Catalog, class_type: str) -> bool:
    """Whether every list of a node has something in it."""
    inputs = catalog.nodes[class_type].inputs.values()
    return all(
        item.options or item.folder for item in inputs if item.type == "COMBO" and item.required
    )


def _setting(value: Any, a1111_options: A1111Options) -> Any:
    """An input's value, or that of the option that it names after a "$"."""
    if isinstance(value, str) and value.startswith("$"):
        return getattr(a1111_options, value[1:])
    return value
