"""The lists and the state that GET answers.

What they hold is made in `translator.lists`; here are the side effects: files and ComfyUI's own
routes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from translator.lists import a1111 as api
from translator.lists import controlnet as control
from translator.lists.a1111 import Embedding
from translator.models import families
from worker.errors import ComfyError
from worker.models.embeddings import read_embedding
from worker.models.files import read_header
from worker.routes.call import Answerer, Call

_FRESH_S = 1.0
"""A catalog that was read so lately is not read again for a list."""


def _loras(call: Call) -> Any:
    return api.loras(call.catalog, call.locate, partial(_lora_metadata, call))


def _lora_metadata(call: Call, name: str) -> Mapping[str, Any]:
    """A LoRA's metadata from its file, or from ComfyUI where the file cannot be seen from here."""
    file = call.resources.catalog.path("loras", name)
    if file is not None:
        return (read_header(file) or {}).get("__metadata__") or {}
    try:
        told = call.resources.comfy.api.get(f"/view_metadata/loras?filename={quote(name)}")
    except ComfyError:  # ComfyUI answers 404 for a file without metadata
        return {}
    return told if isinstance(told, dict) else {}


def _embeddings(call: Call) -> Any:
    found = {}
    for name in call.catalog.files("embeddings") or ():
        file = call.resources.catalog.path("embeddings", name)
        found[name] = read_embedding(file) if file else Embedding()
    unknown = [name for name, item in found.items() if item.width is None]
    if unknown:
        call.warn(
            f"shape and vectors are guesses for files that cannot be read: {', '.join(unknown)}"
        )
    checkpoint = call.checkpoint
    return api.embeddings(found, checkpoint.architecture if checkpoint else families.DEFAULT.name)


def _memory(call: Call) -> Any:
    return api.memory(call.resources.comfy.api.get("/system_stats"))


def _cmd_flags(call: Call) -> Any:
    roots = call.resources.settings.model_roots
    return api.cmd_flags(str(roots[0]) if roots else ".")


def _progress(call: Call) -> Any:
    """Jobs of a worker do not see each other: a job that asks finds A1111's idle state."""
    return api.idle_progress()


def _control_models(call: Call) -> Any:
    """The extension looks for new files at every call, unless it is told not to."""
    call.resources.current_catalog()
    if call.switches.get("update", True):
        call.resources.catalog.refresh(older_than_s=_FRESH_S)
    return control.model_list(call.resources.catalog.current())


def _control_settings(call: Call) -> Any:
    return control.settings(call.a1111_options.control_net_unit_count)


GET: Mapping[str, Answerer] = {
    "controlnet/model_list": _control_models,
    "controlnet/module_list": lambda call: control.module_list(**call.switches),
    "controlnet/control_types": lambda call: control.control_types(call.catalog),
    "controlnet/settings": _control_settings,
    "controlnet/version": lambda call: control.version(),
    "sdapi/v1/samplers": lambda call: api.samplers(),
    "sdapi/v1/schedulers": lambda call: api.schedulers(),
    "sdapi/v1/upscalers": lambda call: api.upscalers(call.catalog, call.locate),
    "sdapi/v1/latent-upscale-modes": lambda call: api.latent_upscale_modes(),
    "sdapi/v1/sd-models": lambda call: api.sd_models(call.catalog, call.locate),
    "sdapi/v1/sd-vae": lambda call: api.sd_vae(call.catalog, call.locate),
    "sdapi/v1/loras": _loras,
    "sdapi/v1/embeddings": _embeddings,
    "sdapi/v1/hypernetworks": lambda call: api.hypernetworks(call.catalog, call.locate),
    "sdapi/v1/prompt-styles": lambda call: api.prompt_styles(call.resources.options.styles),
    "sdapi/v1/face-restorers": lambda call: api.face_restorers(),
    "sdapi/v1/realesrgan-models": lambda call: api.realesrgan_models(),
    "sdapi/v1/scripts": lambda call: api.scripts(call.catalog),
    "sdapi/v1/script-info": lambda call: api.script_info(call.catalog),
    "sdapi/v1/extensions": lambda call: [],
    "sdapi/v1/cmd-flags": _cmd_flags,
    "sdapi/v1/memory": _memory,
    "sdapi/v1/progress": _progress,
}
"""Paths that GET answers."""
