"""``/openapi.json``: A1111's routes, with the fields of our own schemas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from translator.schemas import read_schema

_REF = "#/components/schemas/"

_BODIES: Mapping[str, tuple[str, str]] = {
    "sdapi/v1/txt2img": ("StableDiffusionProcessingTxt2Img", "txt2img"),
    "sdapi/v1/img2img": ("StableDiffusionProcessingImg2Img", "img2img"),
    "controlnet/detect": ("ControlNetDetect", "controlnet_detect"),
}
"""Path -> A1111's name of the body, and our schema of it."""

_LISTS = frozenset({"controlnet/render_openpose_json"})
"""Paths whose body is a list."""

_TAGS = {"sdapi": "A1111", "controlnet": "ControlNet", "internal": "A1111's page"}
_HIDDEN = frozenset({"", "config", "ping"})
_FIELD_KEYS = ("type", "description", "default", "enum", "minimum", "maximum", "items", "anyOf")

_QUERY: Mapping[str, Mapping[str, bool]] = {
    "controlnet/model_list": {"update": True},
    "controlnet/module_list": {"alias_names": False},
    "sdapi/v1/progress": {"skip_current_image": False},
}


def document(routes: Iterable[tuple[str, str]], root: str = "") -> dict[str, Any]:
    """The description of these (method, path).

    Args:
        root: path below which they lie: empty, or with a leading slash.
    """
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {}
    for method, path in routes:
        if path not in _HIDDEN:
            paths.setdefault(f"/{path}", {})[method.lower()] = _operation(method, path, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "A1111 on ComfyUI", "version": "1.10.1"},
        "servers": [{"url": root or "/"}],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(method: str, path: str, schemas: dict[str, Any]) -> dict[str, Any]:
    folder, _, name = path.rpartition("/")
    operation: dict[str, Any] = {
        "summary": name.replace("-", " ").replace("_", " ").capitalize(),
        "operationId": f"{path.replace('/', '_').replace('-', '_')}_{method.lower()}",
        "tags": [_TAGS.get(folder.partition("/")[0], "ComfyUI")],
        "responses": {"200": {"description": "Successful Response"}},
    }
    if path in _QUERY:
        operation["parameters"] = [
            {
                "name": key,
                "in": "query",
                "required": False,
                "schema": {"type": "boolean", "default": default},
            }
            for key, default in _QUERY[path].items()
        ]
    if method == "POST":
        operation["requestBody"] = {
            "content": {"application/json": {"schema": _body(path, schemas)}}
        }
        operation["responses"]["422"] = {"description": "Validation Error"}
    return operation


def _body(path: str, schemas: dict[str, Any]) -> dict[str, Any]:
    if path in _LISTS:
        return {"type": "array", "items": {"type": "object"}}
    if path not in _BODIES:
        return {"type": "object"}
    title, ours = _BODIES[path]
    properties = read_schema(ours)["properties"]
    schemas[title] = {
        "title": title,
        "type": "object",
        "properties": {name: _field(row) for name, row in properties.items()},
    }
    return {"$ref": f"{_REF}{title}"}


def _field(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in _FIELD_KEYS if key in row}
