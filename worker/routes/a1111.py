"""The routes of A1111's API beside txt2img and img2img, and ControlNet's: a table, a row a route.

What a route answers is made in `translator.lists`; here are the
side effects: the catalog, files, ComfyUI's own routes, and the graphs of extras and detect.
docs/endpoints.md is checked against these tables.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any
from urllib.parse import parse_qsl, quote

from translator import DETECT, EXTRA_BATCH, EXTRA_SINGLE, Catalog, Options
from translator.lists import a1111 as api
from translator.lists import controlnet as control
from translator.lists.a1111 import Embedding
from translator.models.names import Checkpoint, Models
from translator.report import Report, TranslationError, show
from translator.request.a1111_options import (
    SERVER,
    A1111Options,
    OptionRow,
    option_rows,
    resolve_a1111_options,
)
from translator.request.infotext import parse_infotext
from translator.request.schema import TRUTH_WORDS
from translator.suggest import did_you_mean
from worker.errors import ComfyError, RequestError, ResultTooLarge
from worker.jobs import Context, Endpoint, Jobs, Made
from worker.models.embeddings import read_embedding
from worker.models.files import FOLDERS, locate, read_header
from worker.pictures import delivery, incoming, metadata
from worker.pictures.delivery import Answer, Picture
from worker.pictures.png_info import read_info

log = logging.getLogger(__name__)

_FRESH_S = 1.0
"""A catalog that was read so lately is not read again for a list."""

_NOT_SET_OVER_API = ("api_enable_requests", "api_forbid_local_requests", "api_useragent")
"""Options that A1111 skips without a word when they come over the API."""


@dataclass(frozen=True)
class Request:
    """A request to one of the routes that run no graph."""

    jobs: Jobs
    context: Context
    switches: Mapping[str, bool]

    @property
    def payload(self) -> dict[str, Any]:
        """The body.

        Raises:
            RequestError: there is none, or it is no object.
        """
        payload = self.context.request.get("payload")
        if not isinstance(payload, dict):
            raise RequestError("payload: an object with the request's fields is missing")
        return payload

    @cached_property
    def catalog(self) -> Catalog:
        return self.jobs.current_catalog()

    @cached_property
    def options(self) -> Options:
        return self.jobs.options.for_request(None, labels_frames=False)

    @cached_property
    def settings(self) -> A1111Options:
        """The A1111 options in force."""
        return resolve_a1111_options(self.options.a1111_options, None, Report("warn"))

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint that a request without one would be painted with."""
        if not self.catalog.files("checkpoints"):
            return None
        options = self.options
        models = Models(
            self.catalog, options.architectures, options.default_checkpoint, Report("warn")
        )
        return models.checkpoint(self.settings.sd_model_checkpoint, "sd_model_checkpoint", None)

    def locate(self, folder: str, name: str) -> str:
        """Where a model file lies; below A1111's folder where this worker cannot see it."""
        found = locate(self.jobs.settings.model_roots, folder, name)
        return str(found) if found else f"models/{FOLDERS.get(folder, (folder,))[0]}/{name}"

    def warn(self, message: str) -> None:
        self.context.warnings.append(message)


Answerer = Callable[[Request], Any]


# Lists that need a look at files


def _loras(request: Request) -> Any:
    return api.loras(request.catalog, request.locate, partial(_lora_metadata, request))


def _lora_metadata(request: Request, name: str) -> Mapping[str, Any]:
    """A LoRA's metadata from its file, or from ComfyUI where the file cannot be seen from here."""
    file = request.jobs.catalog.path("loras", name)
    if file is not None:
        return (read_header(file) or {}).get("__metadata__") or {}
    try:
        told = request.jobs.comfy.api.get(f"/view_metadata/loras?filename={quote(name)}")
    except ComfyError:  # ComfyUI answers 404 for a file without metadata
        return {}
    return told if isinstance(told, dict) else {}


def _embeddings(request: Request) -> Any:
    found = {}
    for name in request.catalog.files("embeddings") or ():
        file = request.jobs.catalog.path("embeddings", name)
        found[name] = read_embedding(file) if file else Embedding()
    checkpoint = request.checkpoint
    return api.embeddings(found, checkpoint.architecture if checkpoint else "SD1")


# State


def _memory(request: Request) -> Any:
    return api.memory(request.jobs.comfy.api.get("/system_stats"))


def _cmd_flags(request: Request) -> Any:
    roots = request.jobs.settings.model_roots
    return api.cmd_flags(str(roots[0]) if roots else ".")


def _options(request: Request) -> Any:
    return api.options(request.options.a1111_options, request.checkpoint)


def _set_options(request: Request) -> None:
    """Set options for this worker's life, as A1111 does until its process ends.

    Where A1111 would fail only later, or paint otherwise than asked, the request is refused and
    nothing is set.
    """
    given = request.payload
    _check_checkpoint(request, given.get("sd_model_checkpoint"))
    accepted: dict[str, Any] = {}
    unknown: str | None = None
    for key, value in given.items():
        row = option_rows().get(key)
        if row is None and value is not None:
            unknown = key
            break
        if row is None:
            request.warn(f"{key}: A1111 1.10.1 has no such option, it is ignored")
        elif key in _NOT_SET_OVER_API:
            if value != row.default:
                request.warn(f"{key}: without effect: A1111 does not let the API change it")
        else:
            _tell_if_without_effect(request, row, value)
            accepted[key] = value
    _check_options(request, accepted)
    request.jobs.options.change_a1111(accepted)
    if unknown is not None:
        raise RequestError(
            f"{unknown}: A1111 1.10.1 has no such option (KeyError: '{unknown}')"
            f"{did_you_mean(unknown, option_rows())}",
            "the options before it in the request were set, as A1111 does",
        )


def _check_checkpoint(request: Request, name: Any) -> None:
    if name is None:
        return
    options, report = request.options, Report()
    models = Models(request.catalog, options.architectures, options.default_checkpoint, report)
    if isinstance(name, str):
        models.checkpoint(name, "sd_model_checkpoint", None)
    if report.problems or not isinstance(name, str):
        raise RequestError(
            f"sd_model_checkpoint: model {show(name)} not found",
            "GET sdapi/v1/sd-models lists the titles",
        )


def _tell_if_without_effect(request: Request, row: OptionRow, value: Any) -> None:
    if row.state == "no_effect" and value != row.default:
        request.warn(f"{row.key}: kept, but without effect: {row.why}")


def _check_options(request: Request, accepted: Mapping[str, Any]) -> None:
    report = Report(request.options.unsupported)
    resolve_a1111_options(accepted, None, report)
    problems = [
        replace(item, path=item.path.removeprefix(f"{SERVER}.")) for item in report.problems
    ]
    if problems:
        raise TranslationError(problems)
    request.context.warnings += [text.removeprefix(f"{SERVER}.") for text in report.warning_texts]


def _progress(request: Request) -> Any:
    """Jobs of a worker do not see each other: a job that asks finds A1111's idle state."""
    return api.idle_progress()


# Actions


def _refresh(request: Request) -> None:
    request.jobs.catalog.refresh()


def _free(request: Request) -> Any:
    request.jobs.comfy.api.post("/free", {"unload_models": True, "free_memory": True})
    return {}


def _nothing(request: Request) -> Any:
    """ComfyUI loads a checkpoint when a graph needs it."""
    return {}


def _interrupt(request: Request) -> Any:
    running, _ = request.jobs.comfy.api.queue()
    for prompt_id in running:
        request.jobs.comfy.api.interrupt(prompt_id)
    if running:
        request.warn("interrupt: the job under way ends with an error; it answers no half picture")
    return {}


def _skip(request: Request) -> None:
    running, _ = request.jobs.comfy.api.queue()
    if running:
        raise RequestError(
            "skip: a ComfyUI graph cannot leave out one batch and go on with the next",
            "POST sdapi/v1/interrupt ends the job",
        )


def _png_info(request: Request) -> Any:
    image = incoming.read(request.payload.get("image"), "image", request.jobs.settings)
    text, items = read_info(image.data)
    try:
        parameters = parse_infotext(text, request.settings)
    except ValueError as error:
        raise RequestError(f"image: its infotext cannot be read ({error})") from None
    return {"info": text, "items": items, "parameters": parameters}


# ControlNet


def _control_models(request: Request) -> Any:
    """The extension looks for new files at every call, unless it is told not to."""
    request.jobs.current_catalog()
    if request.switches.get("update", True):
        request.jobs.catalog.refresh(older_than_s=_FRESH_S)
    return control.model_list(request.jobs.catalog.current())


def _control_settings(request: Request) -> Any:
    return control.settings(request.settings.control_net_unit_count)


# Graphs


async def _detect(jobs: Jobs, context: Context) -> Answer:
    made = await jobs.make(context, DETECT)
    answer: Answer = dict(made.translation.info)
    poses = _poses(made, context)
    if poses:
        answer["poses"] = poses
    delivered = await jobs.in_thread(jobs.deliver, context, made.pictures, answer)
    return delivery.with_warnings({**answer, "images": delivered}, context.warnings)


def _poses(made: Made, context: Context) -> list[Any]:
    """The poses that openpose's nodes tell beside their pictures, one per image."""
    poses = []
    for output in made.translation.outputs:
        if "poses" in output:
            told = made.outputs.get(output["poses"], {}).get("openpose_json")
            if not told:
                context.warnings.append("ComfyUI told no poses; they are missing in the answer")
                return []
            poses += json.loads(told[0])
    return poses


async def _extras(endpoint: str, jobs: Jobs, context: Context) -> Answer:
    made = await jobs.make(context, endpoint)
    pictures = await jobs.in_thread(_with_texts, made)
    answer: Answer = dict(made.translation.info)
    delivered = await jobs.in_thread(jobs.deliver, context, pictures, answer)
    if endpoint == EXTRA_SINGLE:
        answer["image"] = delivered[0]
    else:
        answer["images"] = delivered
    return delivery.with_warnings(answer, context.warnings)


def _with_texts(made: Made) -> list[Picture]:
    """The pictures with the texts that their sources had, and what was done to them.

    JPEG and WebP take the infotext alone, as A1111 has it.
    """
    how = made.translation.answer
    if not how.enable_pnginfo:
        return made.pictures
    sent = {upload["name"]: upload["data"] for upload in made.translation.uploads}
    sources = [sent[output["source"]] for output in made.translation.outputs]
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


# The tables

_LISTS: Mapping[str, Answerer] = {
    "controlnet/model_list": _control_models,
    "controlnet/module_list": lambda request: control.module_list(**request.switches),
    "controlnet/control_types": lambda request: control.control_types(request.catalog),
    "controlnet/settings": _control_settings,
    "controlnet/version": lambda request: control.version(),
    "sdapi/v1/samplers": lambda request: api.samplers(),
    "sdapi/v1/schedulers": lambda request: api.schedulers(),
    "sdapi/v1/upscalers": lambda request: api.upscalers(request.catalog, request.locate),
    "sdapi/v1/latent-upscale-modes": lambda request: api.latent_upscale_modes(),
    "sdapi/v1/sd-models": lambda request: api.sd_models(request.catalog, request.locate),
    "sdapi/v1/sd-vae": lambda request: api.sd_vae(request.catalog, request.locate),
    "sdapi/v1/loras": _loras,
    "sdapi/v1/embeddings": _embeddings,
    "sdapi/v1/hypernetworks": lambda request: api.hypernetworks(request.catalog, request.locate),
    "sdapi/v1/prompt-styles": lambda request: api.prompt_styles(request.jobs.options.styles),
    "sdapi/v1/face-restorers": lambda request: api.face_restorers(),
    "sdapi/v1/realesrgan-models": lambda request: api.realesrgan_models(),
    "sdapi/v1/scripts": lambda request: api.scripts(),
    "sdapi/v1/script-info": lambda request: api.script_info(request.catalog),
    "sdapi/v1/extensions": lambda request: [],
    "sdapi/v1/options": _options,
    "sdapi/v1/cmd-flags": _cmd_flags,
    "sdapi/v1/memory": _memory,
    "sdapi/v1/progress": _progress,
}
"""Paths that GET answers."""

_ACTIONS: Mapping[str, Answerer] = {
    "sdapi/v1/options": _set_options,
    "sdapi/v1/refresh-checkpoints": _refresh,
    "sdapi/v1/refresh-vae": _refresh,
    "sdapi/v1/refresh-loras": _refresh,
    "sdapi/v1/refresh-embeddings": _refresh,
    "sdapi/v1/unload-checkpoint": _free,
    "sdapi/v1/reload-checkpoint": _nothing,
    "sdapi/v1/interrupt": _interrupt,
    "sdapi/v1/skip": _skip,
    "sdapi/v1/png-info": _png_info,
}
"""Paths that POST answers without a graph."""

_GRAPHS: Mapping[str, Endpoint] = {
    DETECT: _detect,
    EXTRA_SINGLE: partial(_extras, EXTRA_SINGLE),
    EXTRA_BATCH: partial(_extras, EXTRA_BATCH),
}
"""Paths that POST answers with what a graph makes."""

_SWITCHES: Mapping[str, tuple[str, ...]] = {
    "controlnet/model_list": ("update",),
    "controlnet/module_list": ("alias_names",),
    "sdapi/v1/progress": ("skip_current_image",),
}
"""Query parameters; all of them are true or false."""

_NO_TRAINING = "this worker trains nothing"
_NO_PROCESS = "RunPod starts and ends workers"
_NO_DOWNLOAD = "models come with the image or the network volume; nothing is downloaded here"

REFUSED: Mapping[tuple[str, str], str] = {
    ("POST", "sdapi/v1/interrogate"): "it needs BLIP or DeepDanbooru, which no pack here has",
    ("POST", "sdapi/v1/create/embedding"): _NO_TRAINING,
    ("POST", "sdapi/v1/create/hypernetwork"): _NO_TRAINING,
    ("POST", "sdapi/v1/train/embedding"): _NO_TRAINING,
    ("POST", "sdapi/v1/train/hypernetwork"): _NO_TRAINING,
    ("POST", "sdapi/v1/server-kill"): _NO_PROCESS,
    ("POST", "sdapi/v1/server-restart"): _NO_PROCESS,
    ("POST", "sdapi/v1/server-stop"): _NO_PROCESS,
    ("POST", "controlnet/render_openpose_json"): "no node draws poses that are sent as JSON",
    ("POST", "controlnet/txt2img"): "the extension removed it; send the units with txt2img",
    ("POST", "controlnet/img2img"): "the extension removed it; send the units with img2img",
    ("POST", "v1/download"): _NO_DOWNLOAD,
    ("GET", "v1/download"): _NO_DOWNLOAD,
    ("POST", "v1/sync"): _NO_DOWNLOAD,
    ("GET", "v1/sync"): _NO_DOWNLOAD,
}
"""Routes of A1111, its extension and runpod-worker-a1111 that cannot be answered -> why."""


async def _blocking(path: str, answerer: Answerer, jobs: Jobs, context: Context) -> Any:
    """Answer in a thread, with what there is to warn of.

    A list has no place for warnings: there they are only logged.

    Raises:
        ResultTooLarge: more than RunPod takes, such as the tags of thousands of LoRAs.
    """
    switches = _switches(path, context)
    answer = await jobs.in_thread(answerer, Request(jobs, context, switches))
    size, limit = len(json.dumps(answer)), jobs.result_limit(context)
    if size > limit:
        raise ResultTooLarge(
            f"the answer of {path} has {size} bytes; RunPod takes {limit}", "use /runsync"
        )
    if answer is None and context.warnings:
        answer = {}
    if isinstance(answer, dict):
        return delivery.with_warnings(answer, context.warnings)
    for warning in context.warnings:
        log.warning("job %s: %s", context.id, warning)
    return answer


async def _refused(path: str, why: str, jobs: Jobs, context: Context) -> Any:
    raise RequestError(f"api.endpoint: {path} cannot be answered by this worker: {why}")


def _switches(path: str, context: Context) -> dict[str, bool]:
    """The query parameters of a GET: in the endpoint's query string, or in the payload.

    Raises:
        RequestError: a value that is neither true nor false.
    """
    envelope, payload = context.request["api"], context.request.get("payload")
    query = str(envelope["endpoint"]).partition("?")[2]
    given: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True))
    if str(envelope["method"]).upper() == "GET" and isinstance(payload, Mapping):
        given.update(payload)
    known = _SWITCHES.get(path, ())
    context.warnings += [f"{key}: not a parameter of {path}" for key in given if key not in known]
    return {key: _truth(key, given[key]) for key in known if key in given}


def _truth(name: str, value: Any) -> bool:
    truth = TRUTH_WORDS.get(str(value).lower())
    if truth is None:
        raise RequestError(f"{name}: {show(value)} is not true or false")
    return truth


ROUTES: Mapping[tuple[str, str], Endpoint] = {
    **{("GET", path): partial(_blocking, path, row) for path, row in _LISTS.items()},
    **{("POST", path): partial(_blocking, path, row) for path, row in _ACTIONS.items()},
    **{("POST", path.strip("/")): row for path, row in _GRAPHS.items()},
    **{(method, path): partial(_refused, path, why) for (method, path), why in REFUSED.items()},
}
"""(method, path without leading slash) -> what answers it."""
