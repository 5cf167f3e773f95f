"""Direct submission: a ComfyUI graph with its images, as worker-comfyui takes it.

The answer's pictures carry ComfyUI's file names.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from translator import Catalog
from translator.suggest import did_you_mean
from worker import submission
from worker.comfyui import collect
from worker.comfyui.encoding import encoded_frames
from worker.comfyui.runs import FRAME_NODE, Bytes
from worker.comfyui.uploads import content_name
from worker.errors import LimitError, RequestError
from worker.limits import check_graph
from worker.pictures import delivery, incoming
from worker.pictures.delivery import Answer, Picture
from worker.routes import editor_format
from worker.routes.call import Call
from worker.running import Submission, without_frames
from worker.settings import Settings

Graph = dict[str, Any]

PATH = "workflow"
"""Where the routes have direct submission; its body is worker-comfyui's ``input``."""

_SAVING = "SaveImage"
_KEYS = ("workflow", "images", "overrides", "options", "comfy_org_api_key")


@dataclass(frozen=True)
class Workflow:
    """A graph ready to be queued, and what must be uploaded before.

    Attributes:
        uploads: content name -> bytes.
    """

    graph: Graph
    uploads: Mapping[str, bytes]
    warnings: list[str] = field(default_factory=list)


async def answer(call: Call) -> Answer:
    """Run a submitted graph: ``{"images": [...]}``, every file it answers, and its ``texts``."""
    resources, settings = call.resources, call.resources.settings
    with call.task.stages("read"):
        catalog = await resources.in_thread(resources.current_catalog)
        workflow = await resources.in_thread(read, call.payload, settings, catalog)
    call.warnings += workflow.warnings
    graph: Mapping[str, Any] = workflow.graph
    prefixes: Mapping[str, str] = {}
    if settings.workflow_output == "auto" and resources.takes_frames(catalog):
        graph, prefixes = over_websocket(workflow.graph)
        if prefixes and resources.encodes(catalog):
            graph = {**graph, **encoded_frames({name: graph[name] for name in prefixes})}
    expected = _output_nodes(graph, catalog)
    key = call.payload.get("comfy_org_api_key") or settings.comfy_org_api_key
    found, warnings, texts = await resources.runner.run(
        call.task,
        Submission(
            graph,
            {name: partial(bytes, data) for name, data in workflow.uploads.items()},
            without_frames(workflow.graph),
            {"api_key_comfy_org": key} if key else {},
        ),
        lambda run, result: (
            *collect.all_images(resources.comfy, run, result, expected, prefixes),
            collect.texts(run, result),
        ),
    )
    call.warnings += warnings
    made_by = json.dumps(workflow.graph) if prefixes else None
    with call.task.stages("answer"):
        pictures = await resources.in_thread(_pictures, found, made_by)
    return {"images": pictures, **({"texts": texts} if texts else {})}


def _pictures(found: list[tuple[str, Bytes]], made_by: str | None) -> list[Picture]:
    pictures: list[Picture] = []
    while found:  # each frame is let go as soon as its picture is made
        name, data = found.pop(0)
        pictures.append(delivery.workflow_picture(name, data, made_by))
        del data
    return pictures


def _output_nodes(graph: Mapping[str, Any], catalog: Catalog) -> list[str] | None:
    """Ids of the nodes that answer something, or None where a class is not known."""
    if not catalog.has(*(node["class_type"] for node in graph.values())):
        return None
    return [name for name, node in graph.items() if catalog.nodes[node["class_type"]].output_node]


def read(request: Mapping[str, Any], settings: Settings, catalog: Catalog) -> Workflow:
    """A directly submitted job.

    Args:
        request: the job's input: ``workflow`` (a graph in API format or in the editor's, as an
            object or as JSON text, or the name of a file in WORKFLOWS_DIR), ``images``
            ([{"name", "image"}]), ``overrides`` ({"node.input": value}).

    Raises:
        RequestError: what is wrong, by field.
        LimitError: more than the limits allow.
    """
    warnings = [f"{key}: not a field of this request" for key in request if key not in _KEYS]
    graph = _graph(request.get("workflow"), settings, catalog)
    _override(graph, request.get("overrides"), catalog)
    check_graph(graph, settings)
    _check_files(graph, catalog)
    names: dict[str, str] = {}
    uploads: dict[str, bytes] = {}
    for name, image in _images(request.get("images"), settings):
        stored = content_name(image.data, image.extension)
        names[name], uploads[stored] = stored, image.data
    unused = set(names) - _rename(graph, names)
    warnings += [f"images: no node of the workflow uses {name}" for name in sorted(unused)]
    return Workflow(graph, uploads, warnings)


def over_websocket(graph: Graph) -> tuple[Graph, dict[str, str]]:
    """The graph with websocket frames in place of files of SaveImage.

    Returns:
        The graph, and node id -> filename prefix of every node that was changed. A prefix that
        ComfyUI would fill in (``%date%``, ``%Node.input%``) stays with SaveImage.
    """
    changed: dict[str, str] = {}
    framed = dict(graph)
    for node_id, node in graph.items():
        link, prefix = (node["inputs"].get(name) for name in ("images", "filename_prefix"))
        is_plain = isinstance(link, list) and isinstance(prefix, str) and "%" not in prefix
        if node["class_type"] == _SAVING and is_plain:
            framed[node_id] = {**node, "class_type": FRAME_NODE, "inputs": {"images": link}}
            changed[node_id] = prefix
    return framed, changed


def _graph(workflow: object, settings: Settings, catalog: Catalog) -> Graph:
    if isinstance(workflow, str):
        if workflow.lstrip().startswith("{"):
            return _graph(_parsed(workflow), settings, catalog)
        return _named(workflow, settings, catalog)
    if workflow is None:
        raise RequestError(submission.NO_WORKFLOW)
    if not isinstance(workflow, dict) or not workflow:
        raise RequestError("workflow: a graph in API format, or the name of a workflow, is missing")
    if isinstance(workflow.get("nodes"), list):
        return _checked(editor_format.to_graph(workflow, catalog))
    prompt = workflow.get("prompt")
    if isinstance(prompt, dict) and "class_type" not in prompt:
        return _checked(copy.deepcopy(prompt))
    return _checked(copy.deepcopy(workflow))


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(
            f"workflow: the text is not JSON ({error})", "send the graph as an object"
        ) from None


def _named(name: str, settings: Settings, catalog: Catalog) -> Graph:
    stem = incoming.check_name(name, "workflow").removesuffix(".json")
    file = settings.workflows_dir / f"{stem}.json"
    if not file.is_file():
        there = sorted(path.stem for path in settings.workflows_dir.glob("*.json"))
        raise RequestError(
            f"workflow: there is no workflow {stem!r}", f"there are: {', '.join(there) or 'none'}"
        )
    try:
        graph = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"workflow: the file of {stem!r} cannot be read ({error})") from error
    return _graph(graph, settings, catalog)


def _checked(graph: Graph) -> Graph:
    for node_id, node in graph.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            raise RequestError(
                f"workflow.{node_id}: a node needs a class_type", "send the graph in API format"
            )
        if not isinstance(node.setdefault("inputs", {}), dict):
            raise RequestError(f"workflow.{node_id}.inputs: an object is expected")
        if not isinstance(node.get("_meta", {}), dict):
            raise RequestError(f"workflow.{node_id}._meta: an object is expected")
    return graph


def _override(graph: Graph, overrides: object, catalog: Catalog) -> None:
    """Set inputs of nodes, named by id or by title."""
    if overrides is None:
        return
    if not isinstance(overrides, Mapping):
        raise RequestError('overrides: an object {"node.input": value} is expected')
    for key, value in overrides.items():
        node_name, dot, input_name = str(key).rpartition(".")
        if not dot or not input_name:
            raise RequestError(f"overrides.{key}: write it as node.input")
        node = graph[_node_id(graph, node_name, key)]
        _check_input(node, input_name, str(key), catalog)
        node["inputs"][input_name] = value


def _check_input(node: Mapping[str, Any], name: str, key: str, catalog: Catalog) -> None:
    """Refuse an input that the node does not have; ComfyUI would ignore it in silence."""
    signature = catalog.nodes.get(node["class_type"])
    if signature is None:
        return
    known = {**signature.inputs, **node["inputs"]}
    if name not in known:
        hint = did_you_mean(name, known)
        raise RequestError(
            f"overrides.{key}: the node {node['class_type']} has no input {name}{hint}",
            f"its inputs are {', '.join(known)}",
        )


def _node_id(graph: Graph, name: str, key: str) -> str:
    if name in graph:
        return name
    titled = [
        node_id for node_id, node in graph.items() if (node.get("_meta") or {}).get("title") == name
    ]
    if len(titled) == 1:
        return titled[0]
    if titled:
        raise RequestError(
            f"overrides.{key}: nodes {', '.join(titled)} have this title", "use a node's id"
        )
    raise RequestError(
        f"overrides.{key}: the workflow has no node {name}", f"its nodes are {', '.join(graph)}"
    )


def _check_files(graph: Graph, catalog: Catalog) -> None:
    """Refuse files beside ComfyUI's input folder: it would load any picture that it can read."""
    for node_id, node in graph.items():
        signature = catalog.nodes.get(node["class_type"])
        for name, value in node["inputs"].items():
            item = signature.inputs.get(name) if signature else None
            if item is not None and item.folder == "input" and _leaves_its_folder(value):
                raise RequestError(
                    f"workflow.{node_id}.inputs.{name}: the file does not lie in ComfyUI's input "
                    "folder",
                    "send it in `images`",
                )


def _leaves_its_folder(name: object) -> bool:
    if not isinstance(name, str):
        return False
    path = PurePosixPath(name.replace("\\", "/"))
    return ".." in path.parts or path.is_absolute() or name[1:2] == ":"


def _images(given: object, settings: Settings) -> Iterable[tuple[str, incoming.InputImage]]:
    if given is None:
        return
    if not isinstance(given, list) or not all(map(_is_named_image, given)):
        raise RequestError(submission.BAD_IMAGES)
    faults: list[tuple[str, RequestError]] = []
    for index, item in enumerate(given):
        where = f"images[{index}]"
        try:
            name = incoming.check_name(item["name"], f"{where}.name")
            yield name, incoming.read(item["image"], f"{where}.image", settings)
        except LimitError:
            raise
        except RequestError as error:
            faults.append((str(item["name"]), error))
    if faults:
        details = [f"Error uploading {name}: {error.message}" for name, error in faults]
        first = faults[0][1]
        said = f"{submission.NOT_UPLOADED}: {first.message}"
        raise RequestError(said, first.remedy, details)


def _is_named_image(item: object) -> bool:
    return isinstance(item, Mapping) and "name" in item and "image" in item


def _rename(graph: Graph, names: Mapping[str, str]) -> set[str]:
    """Point nodes that load an image by its sent name at its content name; the names found."""
    found: set[str] = set()
    for node in graph.values():
        for input_name, value in node["inputs"].items():
            if isinstance(value, str) and value in names and "load" in node["class_type"].lower():
                node["inputs"][input_name] = names[value]
                found.add(value)
    return found
