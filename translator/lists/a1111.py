"""The lists of A1111's API: what ``GET /sdapi/v1/...`` answers, from the catalog and our tables.

Shapes and order are those that a real A1111 v1.10.1 answered (``modules/api/api.py``; the Lora
extension for ``loras``). Nothing is asked or read here: what only a disk knows comes in as values.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from translator.comfy.catalog import Catalog
from translator.models import families
from translator.models import upscalers as upscaling
from translator.models.names import Checkpoint, stem, without_extension
from translator.options import Style
from translator.request.a1111_options import option_rows
from translator.schedules.samplers import Sampler
from translator.schedules.samplers import samplers as known_samplers
from translator.schedules.samplers import schedulers as known_schedulers
from translator.scripts.always_on import always_on_rows
from translator.tables import read_table

Entry = dict[str, Any]

Locate = Callable[[str, str], str]
"""(ComfyUI's model folder, file name relative to it) -> the file's path."""

_CONTROLNET = ("controlnet m2m", "controlnet")
"""The scripts of the ControlNet extension, as A1111 lists them."""

_PLAIN_SCALE = 4.0
"""The scale that A1111 gives for upscalers that state none."""

_METADATA_FIRST = (
    "ss_sd_model_name",
    "ss_resolution",
    "ss_clip_skip",
    "ss_num_train_images",
)
_METADATA_LAST = "ss_tag_frequency"
_COVER_IMAGES = "ssmd_cover_images"


@dataclass(frozen=True)
class Embedding:
    """What the file of a textual-inversion embedding says of itself.

    Attributes:
        width: of its vectors (768, 1024; SDXL: both encoders' together); None where it is unknown.
        vectors: tokens it takes; None likewise.
        step: training steps.
        sd_checkpoint, sd_checkpoint_name: hash and name of the checkpoint it was trained on.
    """

    width: int | None = None
    vectors: int | None = None
    step: int | None = None
    sd_checkpoint: str | None = None
    sd_checkpoint_name: str | None = None


def samplers() -> list[Entry]:
    """GET samplers"""
    return [
        {"name": item.name, "aliases": list(item.aliases), "options": _sampler_options(item)}
        for item in known_samplers()
    ]


def _sampler_options(item: Sampler) -> dict[str, str]:
    """What A1111's table of samplers says beside the name; every value is a text."""
    switches = {
        "discard_next_to_last_sigma": item.discard_penultimate,
        "uses_ensd": item.uses_ensd,
        "second_order": item.second_order,
        "brownian_noise": item.brownian_noise,
    }
    options = {"scheduler": item.default_scheduler} if item.default_scheduler else {}
    options.update({name: str(on) for name, on in switches.items() if on})
    solver = item.comfy.node_constants.get("solver_type")
    return options | ({"solver_type": "heun"} if solver == "heun" else {})


def schedulers() -> list[Entry]:
    """GET schedulers"""
    return [
        {
            "name": item.name,
            "label": item.label,
            "aliases": list(item.aliases) or None,
            "default_rho": float(item.default_rho),
            "need_inner_model": item.need_inner_model,
        }
        for item in known_schedulers()
    ]


def latent_upscale_modes() -> list[Entry]:
    """GET latent-upscale-modes"""
    return [{"name": name} for name in upscaling.latent_names()]


def upscalers(catalog: Catalog, locate: Locate) -> list[Entry]:
    """GET upscalers: those that can be used here, the ones without a model first.

    A1111 also lists models that it would download on first use; this worker downloads nothing.
    """
    named = {entry["name"]: entry for entry in _upscalers(catalog, locate)}
    return [named[name] for name in upscaling.listed(catalog)]


def _upscalers(catalog: Catalog, locate: Locate) -> Iterable[Entry]:
    for name in upscaling.resize_names():
        yield _upscaler(name, None, None, _PLAIN_SCALE)
    known = _table()["upscalers"]
    for name in upscaling.model_names(catalog):
        if name in known:
            row = known[name]
            yield _upscaler(name, row["model_name"], row["url"], row["scale"])
        else:
            found = upscaling.find(name, catalog)
            file = getattr(found, "model", None)
            path = locate(upscaling.FOLDER, file.name) if file else None
            yield _upscaler(name, known["ESRGAN_4x"]["model_name"], path, _PLAIN_SCALE)


def _upscaler(name: str, model_name: str | None, path: str | None, scale: float) -> Entry:
    return {
        "name": name,
        "model_name": model_name,
        "model_path": path,
        "model_url": None,
        "scale": scale,
    }


def realesrgan_models() -> list[Entry]:
    """GET realesrgan-models: A1111's list, whatever is there."""
    return [dict(row) for row in _table()["realesrgan_models"]]


def face_restorers() -> list[Entry]:
    """GET face-restorers"""
    return [{"name": name, "cmd_dir": None} for name in _table()["face_restorers"]]


def sd_models(catalog: Catalog, locate: Locate) -> list[Entry]:
    """GET sd-models; hashes are null until the file was hashed, as in A1111."""
    return [_sd_model(name, catalog, locate) for name in _sorted(catalog.files("checkpoints"))]


def _sd_model(name: str, catalog: Catalog, locate: Locate) -> Entry:
    sha256 = catalog.facts_of("checkpoints", name).sha256
    relative = name.replace("\\", "/")
    config = f"{without_extension(name)}.yaml"
    has_config = config in (catalog.files("configs") or ())
    return {
        "title": title(name, sha256),
        "model_name": without_extension(relative).replace("/", "_"),
        "hash": sha256[:10] if sha256 else None,
        "sha256": sha256,
        "filename": locate("checkpoints", name),
        "config": locate("configs", config) if has_config else None,
    }


def title(name: str, sha256: str | None) -> str:
    """A checkpoint's title: its relative path, with its short hash once that is known."""
    relative = name.replace("\\", "/")
    return f"{relative} [{sha256[:10]}]" if sha256 else relative


def sd_vae(catalog: Catalog, locate: Locate) -> list[Entry]:
    """GET sd-vae"""
    return [
        {"model_name": re.split(r"[\\/]", name)[-1], "filename": locate("vae", name)}
        for name in _sorted(catalog.files("vae"))
    ]


def hypernetworks(catalog: Catalog, locate: Locate) -> list[Entry]:
    """GET hypernetworks"""
    names = _sorted(catalog.files("hypernetworks"))
    return [{"name": stem(name), "path": locate("hypernetworks", name)} for name in names]


def loras(
    catalog: Catalog, locate: Locate, metadata: Callable[[str], Mapping[str, Any]]
) -> list[Entry]:
    """GET loras

    Args:
        metadata: file name -> ``__metadata__`` of its safetensors header, empty where it has none.
    """
    entries = []
    for name in _sorted(catalog.files("loras")):
        told = lora_metadata(metadata(name))
        entries.append(
            {
                "name": stem(name),
                "alias": told.get("ss_output_name", stem(name)),
                "path": locate("loras", name),
                "metadata": told,
            }
        )
    return entries


def lora_metadata(raw: Mapping[str, Any]) -> Entry:
    """A LoRA's metadata as A1111 shows it: objects parsed, the telling keys first, no pictures."""
    known = [key for key in _METADATA_FIRST if key in raw]
    last = [_METADATA_LAST] if _METADATA_LAST in raw else []
    named = {*known, *last, _COVER_IMAGES}
    rest = [key for key in raw if key not in named]
    return {key: _parsed(raw[key]) for key in (*known, *last, *rest)}


def _parsed(value: Any) -> Any:
    if not (isinstance(value, str) and value.startswith("{")):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def embeddings(found: Mapping[str, Embedding], architecture: str) -> Entry:
    """GET embeddings: those that fit the checkpoint's text encoder, and those that do not.

    Args:
        found: file name -> what its file says. One that could not be read counts as fitting, since
            ComfyUI may well load it; A1111 has numbers for all, so it gets the width of the
            checkpoint's text encoder and one vector.
        architecture: of the checkpoint in force.
    """
    width = families.of(architecture).embedding_width
    answer: Entry = {"loaded": {}, "skipped": {}}
    for name in _sorted(found):
        item = found[name]
        fits = item.width is None or item.width == width
        answer["loaded" if fits else "skipped"][stem(name)] = {
            "step": item.step,
            "sd_checkpoint": item.sd_checkpoint,
            "sd_checkpoint_name": item.sd_checkpoint_name,
            "shape": width if item.width is None else item.width,
            "vectors": 1 if item.vectors is None else item.vectors,
        }
    return answer


def prompt_styles(styles: Mapping[str, Style]) -> list[Entry]:
    """GET prompt-styles"""
    return [
        {"name": name, "prompt": style.prompt, "negative_prompt": style.negative_prompt}
        for name, style in styles.items()
    ]


def scripts(catalog: Catalog) -> Entry:
    """GET scripts: A1111's own by tab, and behind them those of extensions that work here.

    ``controlnet m2m`` is among them, which makes videos and is refused: clients tell by that name
    whether there is a ControlNet.
    """
    return {
        tab: [*names, *_CONTROLNET, *_extension_scripts(tab, names, catalog)]
        for tab, names in _table()["scripts"].items()
    }


def _extension_scripts(tab: str, own: Iterable[str], catalog: Catalog) -> Iterator[str]:
    known = {*own, *_CONTROLNET}
    for row in always_on_rows():
        name = row.listed or row.title.lower()
        works = row.state == "read" and not row.is_of_forge and catalog.has(*row.needs)
        if works and name not in known and row.tab in (None, tab):
            yield name


def script_info(catalog: Catalog) -> list[Entry]:
    """GET script-info: the scripts that A1111 can describe, by tab."""
    table = _table()
    entries = []
    for tab, names in table["scripts"].items():
        choices = _script_choices(tab, catalog)
        for name in names:
            row = table["script_arguments"].get(name)
            if row is not None:
                entries.append(
                    {
                        "name": name,
                        "is_alwayson": row["is_alwayson"],
                        "is_img2img": tab == "img2img",
                        "args": [_script_argument(item, choices) for item in row["args"]],
                    }
                )
    return entries


def _script_choices(tab: str, catalog: Catalog) -> Mapping[str, list[str]]:
    """The lists that arguments of scripts choose from."""
    return {
        "$axes": _table()["axes"][tab],
        "$checkpoints": [item["title"] for item in sd_models(catalog, _no_path)],
        "$samplers": [item.name for item in known_samplers()],
        "$schedulers": [item.label for item in known_schedulers()],
        "$upscalers": [item["name"] for item in upscalers(catalog, _no_path)],
    }


def _script_argument(row: Mapping[str, Any], lists: Mapping[str, list[str]]) -> Entry:
    choices = row.get("choices")
    return {
        "label": row["label"],
        "value": row["value"],
        "minimum": row.get("minimum"),
        "maximum": row.get("maximum"),
        "step": row.get("step"),
        "choices": list(lists[choices]) if isinstance(choices, str) else choices,
    }


def _no_path(folder: str, name: str) -> str:
    return f"{folder}/{name}"


def options(given: Mapping[str, Any], checkpoint: Checkpoint | None) -> Entry:
    """GET options: every option of A1111 with the value in force, and the texts between them.

    Args:
        given: the options that were set.
        checkpoint: the one in force, None where there is none.
    """
    values = {key: given.get(key, row.default) for key, row in option_rows().items()}
    sha256 = checkpoint.facts.sha256 if checkpoint else None
    values["sd_model_checkpoint"] = title(checkpoint.name, sha256) if checkpoint else None
    values["sd_checkpoint_hash"] = sha256 or ""
    return dict(_with_texts(values))


def _with_texts(values: Entry) -> Iterator[tuple[str, Any]]:
    """The options with the texts of A1111's settings page, each before the option it explains."""
    texts = {row["before"]: (name, row["text"]) for name, row in _table()["option_texts"].items()}
    for key, value in values.items():
        if key in texts:
            yield texts[key]
        yield key, value


def option_texts() -> Collection[str]:
    """Names of the texts of A1111's settings page, which it lists among the options."""
    return frozenset(_table()["option_texts"])


def cmd_flags(root: str) -> Entry:
    """GET cmd-flags: A1111's flags as they are without any, but for the API's own.

    Args:
        root: where A1111's folders lie.
    """
    return {key: _under(value, root) for key, value in _table()["cmd_flags"].items()}


def _under(value: Any, root: str) -> Any:
    if isinstance(value, list):
        return [_under(item, root) for item in value]
    return value.replace("$root", root) if isinstance(value, str) else value


def memory(stats: Mapping[str, Any]) -> Entry:
    """GET memory, from ComfyUI's ``GET /system_stats``.

    ``ram.used`` is what the whole machine uses (A1111 tells its own process). ComfyUI knows no
    peaks and no events, so a peak repeats the present amount and the events are 0.
    """
    system = stats["system"]
    total, free = system["ram_total"], system["ram_free"]
    ram = {"free": float(free), "used": total - free, "total": float(total)}
    devices = [item for item in stats["devices"] if item["type"] != "cpu"]
    return {"ram": ram, "cuda": _cuda(devices[0]) if devices else {"error": "unavailable"}}


def _cuda(device: Mapping[str, Any]) -> Entry:
    total, reserved = device["vram_total"], device["torch_vram_total"]
    cached = device["torch_vram_free"]
    free = device["vram_free"] - cached
    active = reserved - cached

    def amount(value: int) -> Entry:
        return {"current": value, "peak": value}

    return {
        "system": {"free": free, "used": total - free, "total": total},
        "active": amount(active),
        "allocated": amount(active),
        "reserved": amount(reserved),
        "inactive": amount(0),
        "events": {"retries": 0, "oom": 0},
    }


def idle_progress() -> Entry:
    """GET progress while nothing runs."""
    return {
        "progress": 0.0,
        "eta_relative": 0.0,
        "state": {
            "skipped": False,
            "interrupted": False,
            "stopping_generation": False,
            "job": "",
            "job_count": 0,
            "job_timestamp": "0",
            "job_no": 0,
            "sampling_step": 0,
            "sampling_steps": 0,
        },
        "current_image": None,
        "textinfo": None,
    }


def html_text(text: str) -> str:
    """Plain text as the paragraph that A1111 makes of it (``html_info``)."""
    return "<p>{}</p>".format("<br>\n".join(map(html.escape, text.split("\n"))))


def _sorted(names: Iterable[str] | None) -> Sequence[str]:
    """File names as A1111 walks folders: by folder, then by name, digits by their value."""
    return sorted(names or (), key=_walk_key)


def _walk_key(name: str) -> tuple[list[Any], list[Any]]:
    folder, _, base = name.replace("\\", "/").rpartition("/")
    return _natural(folder), _natural(base)


def _natural(text: str) -> list[Any]:
    """Text in pieces: every second one a number."""
    pieces = re.split(r"(\d+)", text.lower())
    return [int(piece) if index % 2 else piece for index, piece in enumerate(pieces)]


@cache
def _table() -> Mapping[str, Any]:
    return read_table("api")
