"""The routes whose answers a graph makes: txt2img and its kin, extras, detect."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from translator import (
    DETECT,
    ENDPOINTS,
    EXTRA_BATCH,
    EXTRA_SINGLE,
    INTERROGATE,
    Catalog,
    Options,
    Output,
    Translation,
    TranslationError,
    Upload,
    translate,
)
from translator.comfy.editor import workflow
from translator.editable import editable
from translator.endpoints.interrogate import caption
from worker import limits
from worker.comfyui import collect
from worker.comfyui.encoding import encoded_frames
from worker.comfyui.runs import ENCODING_NODE, Bytes, Run, RunResult
from worker.errors import ComfyError, Interrupted, NodeFailed
from worker.pictures import delivery, incoming, metadata
from worker.pictures.delivery import Answer, Picture
from worker.pictures.png_info import read_info
from worker.routes.call import Call, Endpoint
from worker.running import Submission, without_frames

_CATALOG_AGE_S = 5.0

_NO_FACE = "No face detected"
"""What every node says that looks for a face and finds none."""


@dataclass(frozen=True)
class Made:
    """A translation that was run.

    Attributes:
        images: the images of its graph.
        chunks: texts by key that answered PNGs carry besides A1111's.
        outputs: output node id -> everything it answered.
        finished: ids of the nodes that gave files as the answer has them.
    """

    translation: Translation
    images: Mapping[collect.Output, Bytes]
    outputs: Mapping[str, Mapping[str, Any]]
    chunks: Mapping[str, str] = field(default_factory=dict)
    finished: frozenset[str] = frozenset()

    @property
    def pictures(self) -> list[Picture]:
        """The images of the translation's outputs, in order, in the format of the answer."""
        how = self.translation.answer
        if not how.send_images:
            return []
        texts: Iterable[str | None] = how.infotexts
        if not how.enable_pnginfo:
            texts = [None] * len(self.translation.outputs)
        pairs = zip(self.translation.outputs, texts, strict=True)
        return [self._picture(output, text) for output, text in pairs if self._has(output)]

    @property
    def info(self) -> Answer:
        """A1111's ``info``; an interrupted request tells no text of pictures it did not make."""
        info = dict(self.translation.info)
        pairs = zip(self.translation.outputs, self.translation.answer.infotexts, strict=True)
        missing = [text for output, text in pairs if not self._has(output)]
        if missing and "infotexts" in info:
            kept = list(info["infotexts"])
            for text in missing:
                if text in kept:
                    kept.remove(text)
            info["infotexts"] = kept
        return info

    def _has(self, output: Output) -> bool:
        """Whether an output was made; without it the request was interrupted."""
        return output.node is None or _made(output) in self.images

    def _picture(self, output: Output, text: str | None) -> Picture:
        if output.node is not None:
            how = self.translation.answer
            data = self.images[_made(output)]
            made = (
                delivery.finished_picture(data, how.samples_format, text)
                if output.node in self.finished
                else delivery.a1111_picture(data, how.samples_format, how.jpeg_quality, text)
            )
            if self.chunks and made.extension == "png":
                return replace(made, data=metadata.with_texts(made.data, self.chunks))
            return made
        sent = {upload.name: upload for upload in self.translation.uploads}
        return delivery.detected_map_picture(_upload_bytes(sent[output.upload or ""]))


async def make(call: Call, endpoint: str, *, finish: bool = False) -> Made:
    """Translate the payload of one of `translator.ENDPOINTS` and run its graph.

    Where ControlNet finds no face in a picture, ``unsupported=warn`` makes the picture without any
    unit, as A1111 does.

    Args:
        finish: whether ComfyUI may write the files as the answer has them.
    """
    try:
        return await _make(call, endpoint, finish=finish)
    except NodeFailed as failed:
        if _NO_FACE not in failed.text or not _is_lenient(call):
            raise
        call.warn(
            f"alwayson_scripts.controlnet: {failed.text} The picture is made without any unit, as "
            "A1111 makes it"
        )
    return await _make(call, endpoint, finish=finish, control_units=False)


async def _make(
    call: Call, endpoint: str, *, finish: bool = False, control_units: bool = True
) -> Made:
    payload, resources = call.payload, call.resources
    with call.task.stages("translate"):
        translation = await resources.in_thread(_translate, call, endpoint, payload, control_units)
    limits.check_work(translation.work, resources.settings)
    limits.check_enlarged(translation.graph, resources.settings)
    call.warnings += [text for text in translation.warning_texts if text not in call.warnings]
    translation = _with_texts_that_fit(call, translation)
    chunks = _editor_texts(call, translation)
    images = (output for output in translation.outputs if output.kind != "text")
    wanted = [_made(output) for output in images if output.node is not None]

    def gather(run: Run, result: RunResult) -> Made:
        found = collect.wanted_images(resources.comfy, run, result, wanted)
        finished = {name for name in run.graph if run.node_class(name) == ENCODING_NODE}
        return Made(
            translation, found, result.outputs, chunks, frozenset(finished if finish else ())
        )

    files = {
        upload.name: partial(incoming.checked_upload, upload, payload, resources.settings)
        for upload in translation.uploads
    }
    graph: Mapping[str, Any] = translation.graph
    if resources.encodes(resources.current_catalog()):
        graph = _with_files(translation) if finish else encoded_frames(graph)
    return await resources.runner.run(
        call.task, Submission(graph, files, without_frames(translation.graph)), gather
    )


def _with_texts_that_fit(call: Call, translation: Translation) -> Translation:
    """The translation without infotexts that are too long for the EXIF of JPEG and WebP."""
    how = translation.answer
    if how.samples_format.lower() == "png" or all(map(metadata.fits_exif, how.infotexts)):
        return translation
    call.warn(
        f"samples_format: the infotext is longer than the {metadata.EXIF_CHARACTERS} characters "
        "that EXIF takes; the files carry none, info has it whole"
    )
    fitting = [text if metadata.fits_exif(text) else None for text in how.infotexts]
    return replace(translation, answer=replace(how, infotexts=fitting))


def _editor_texts(call: Call, translation: Translation) -> dict[str, str]:
    """What ComfyUI's editor reads in a PNG, where it is asked for."""
    catalog = call.resources.current_catalog()
    if not _translation_options(call, catalog).embed_workflow:
        return {}
    written = editable(translation.graph, translation.plans, catalog)
    return {
        "prompt": json.dumps(translation.graph),
        "workflow": json.dumps(workflow(written, catalog.nodes)),
    }


def _with_files(translation: Translation) -> Mapping[str, Any]:
    """The graph whose output nodes write the files as the answer has them, texts included."""
    how = translation.answer
    kind = delivery.FORMATS[how.samples_format.lower()][0].lower()
    texts: dict[str, list[str | None]] = {}
    for output, text in zip(translation.outputs, translation.answer.infotexts, strict=True):
        if output.node is not None:
            own = texts.setdefault(output.node, [])
            own += [None] * (output.index + 1 - len(own))
            own[output.index] = _carried(kind, text if how.enable_pnginfo else None)
    return encoded_frames(translation.graph, kind, how.jpeg_quality, texts)


def _carried(kind: str, text: str | None) -> str | None:
    """An infotext as `ENCODING_NODE` takes it; A1111 writes EXIF even where there is none."""
    if kind == "png":
        return text
    return base64.b64encode(metadata.exif_user_comment(text or "")).decode("ascii")


def _made(output: Output) -> collect.Output:
    """Where the run has it."""
    return collect.Output(output.node or "", output.index)


def _is_lenient(call: Call) -> bool:
    """Whether what cannot be honoured is a warning and A1111's way out."""
    options = _translation_options(call, call.resources.current_catalog())
    return options.unsupported == "warn"


def _translate(
    call: Call, endpoint: str, payload: Mapping[str, Any], control_units: bool
) -> Translation:
    catalogs = call.resources.catalog
    catalog = call.resources.current_catalog()
    options = replace(_translation_options(call, catalog), control_units=control_units)
    try:
        return translate(payload, endpoint, catalog, options=options)
    except TranslationError as error:
        # A file may have come to the model folders since the catalog was read.
        missing = any(problem.kind == "missing" for problem in error.problems)
        if not missing or not catalogs.refresh(older_than_s=_CATALOG_AGE_S):
            raise
        return translate(payload, endpoint, catalogs.current(), options=options)


def _translation_options(call: Call, catalog: Catalog) -> Options:
    return call.resources.options.for_request(
        call.request.options,
        labels_frames=call.resources.takes_frames(catalog),
        draw_seed=_draw_seed,
        now=datetime.now(),
    )


def _draw_seed() -> int:
    """A random seed as A1111 draws one."""
    return random.randrange(4294967294)


def _upload_bytes(upload: Upload) -> bytes:
    return incoming.plain_base64(upload.data)


# txt2img and its kin


async def _generate(endpoint: str, call: Call) -> Answer:
    made = await make(call, endpoint, finish=True)
    with call.task.stages("answer"):
        pictures = await call.resources.in_thread(lambda: made.pictures)
    return delivery.a1111_answer(pictures, made.translation.parameters, made.info)


# Detect


async def _detect(call: Call) -> Answer:
    made = await make(call, DETECT)
    answer: Answer = dict(made.translation.info)
    poses = _poses(made, call)
    if poses:
        answer["poses"] = poses
    tensors = [_told(made, output) for output in made.translation.outputs if output.told_as]
    if tensors:
        return {**answer, "tensor": tensors}
    return {**answer, "images": await call.resources.in_thread(lambda: made.pictures)}


def _told(made: Made, output: Output) -> str:
    """The text that a node told."""
    told = made.outputs.get(output.node or "", {}).get(output.told_as or "")
    if not told:
        raise ComfyError(
            "ComfyUI told nothing of the picture", "look at its log: the node may lack its weights"
        )
    return "".join(map(str, told))


def _poses(made: Made, call: Call) -> list[Any]:
    """The poses that openpose's nodes tell beside their pictures, one per image."""
    poses = []
    for output in made.translation.outputs:
        if output.poses is not None:
            told = made.outputs.get(output.poses, {}).get("openpose_json")
            if not told:
                call.warn("ComfyUI told no poses; they are missing in the answer")
                return []
            poses += json.loads(told[0])
    return poses


# Extras


async def _extras(endpoint: str, call: Call) -> Answer:
    made = await make(call, endpoint)
    pictures = await call.resources.in_thread(_with_texts, made)
    answer: Answer = dict(made.translation.info)
    if endpoint == EXTRA_SINGLE:
        if not pictures:
            raise Interrupted("the job was interrupted before there was a picture", "send it again")
        return {**answer, "image": pictures[0]}
    return {**answer, "images": pictures}


def _with_texts(made: Made) -> list[Picture]:
    """The pictures with the texts that their sources had, and what was done to them.

    JPEG and WebP take the infotext alone, as A1111 has it.
    """
    how = made.translation.answer
    if not how.enable_pnginfo:
        return made.pictures
    sent = {upload.name: upload.data for upload in made.translation.uploads}
    sources = [sent[output.source or ""] for output in made.translation.outputs]
    told = [read_info(incoming.plain_base64(source)) for source in sources]
    infotexts = [text or None for text, _ in told]
    with_infotext = replace(made.translation, answer=replace(how, infotexts=infotexts))
    pictures = replace(made, translation=with_infotext).pictures
    return [
        replace(picture, data=metadata.with_texts(picture.data, _chunks(made, items)))
        if picture.extension == "png"
        else picture
        for picture, (_, items) in zip(pictures, told, strict=True)
    ]


def _chunks(made: Made, items: Mapping[str, Any]) -> dict[str, str]:
    kept = {key: value for key, value in items.items() if isinstance(value, str)}
    return {**kept, "postprocessing": made.translation.parameters["postprocessing"]}


# Interrogate


async def _interrogate(call: Call) -> Answer:
    made = await make(call, INTERROGATE)
    (output,) = made.translation.outputs
    text = _told(made, output)
    return {"caption": caption(call.payload.get("model", "clip"), text, call.a1111_options)}


_OTHERS: Mapping[str, Endpoint] = {
    DETECT: _detect,
    EXTRA_SINGLE: partial(_extras, EXTRA_SINGLE),
    EXTRA_BATCH: partial(_extras, EXTRA_BATCH),
    INTERROGATE: _interrogate,
}

POST: Mapping[str, Endpoint] = {
    path.strip("/"): _OTHERS.get(path, partial(_generate, path)) for path in ENDPOINTS
}
"""Paths that POST answers with what a graph makes."""
