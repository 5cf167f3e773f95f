"""The images of a finished run: frames that came over the websocket, and files from ``/view``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from worker.comfyui.connection import Comfy
from worker.comfyui.http import ImageFile
from worker.comfyui.outcomes import raise_if_failed
from worker.comfyui.runs import FRAME_NODES, Bytes, Run, RunResult
from worker.errors import FileGone, ImagesLost


@dataclass(frozen=True)
class Output:
    """One image of a run: the node that made it and its place in the node's batch."""

    node: str
    index: int


def wanted_images(
    comfy: Comfy, run: Run, result: RunResult, wanted: Iterable[Output]
) -> dict[Output, Bytes]:
    """Exactly the wanted images; of a partial result those that it has.

    Raises:
        ImagesLost: messages of the run were lost, so that an image is not to be had.
        FileGone: the server names a file that it has no more (a run answered from its cache).
        ComfyError: the run failed after all.
    """
    wanted = list(wanted)
    if result.partial:
        there = _found(run, result)
        return _loaded(comfy, {output: there[output] for output in wanted if output in there})
    if any(output not in _found(run, result) for output in wanted):
        result = _from_history(comfy, run, result)
    found = _found(run, result)
    missing = [output for output in wanted if output not in found]
    if missing:
        names = ", ".join(f"{output.node}[{output.index}]" for output in missing)
        raise ImagesLost(f"ComfyUI finished without the images {names}")
    return _loaded(comfy, {output: found[output] for output in wanted})


def all_images(
    comfy: Comfy,
    run: Run,
    result: RunResult,
    output_nodes: Iterable[str] | None,
    prefixes: Mapping[str, str],
) -> tuple[list[tuple[str, Bytes]], list[str]]:
    """Every image that a directly submitted graph answers, with its file name; and warnings.

    Images of preview nodes (type ``temp``) are left out, as worker-comfyui leaves them out; the
    warnings say which.

    Args:
        output_nodes: nodes that must have answered, if that is known: where one has not, or where
            it is not known, the history is asked.
        prefixes: node id -> filename prefix for frames of that node.

    Raises:
        ImagesLost, FileGone, ComfyError: as `wanted_images`.
    """
    answered = {*result.outputs, *result.frames}
    if output_nodes is None or not answered.issuperset(output_nodes):
        result = _from_history(comfy, run, result)
    for node in run.graph:
        if run.node_class(node) in FRAME_NODES:
            _check_frames(node, result)
    found = _found(run, result)
    kept = {output: source for output, source in found.items() if not _is_preview(source)}
    warnings: list[str] = []
    left_out = {output.node for output in found} - {output.node for output in kept}
    if left_out:
        warnings.append(
            f"previews of nodes {', '.join(sorted(left_out))} are not answered; SaveImage in their "
            "place would be"
        )
    loaded = _loaded(comfy, kept)
    names = {output: _filename(output, source, prefixes) for output, source in kept.items()}
    return [(names[output], data) for output, data in loaded.items()], warnings


def texts(run: Run, result: RunResult) -> list[dict[str, str]]:
    """What nodes such as PreviewAny answer as text: ``{"node", "text"}``, in the graph's order."""
    return [
        {"node": node, "text": text}
        for node in run.graph
        for text in _texts(result.outputs.get(node) or {})
    ]


def _texts(output: Mapping[str, Any]) -> list[str]:
    told = output.get("text")
    entries = told if isinstance(told, list) else [told]
    return [entry for entry in entries if isinstance(entry, str)]


def _check_frames(node: str, result: RunResult) -> None:
    """Frames that a broken socket swallowed are nowhere else to be had."""
    arrived, announced = len(result.frames.get(node, ())), result.announced.get(node)
    if arrived != announced:
        raise ImagesLost(f"only {arrived} images of node {node} arrived")


def _is_preview(source: ImageFile | Bytes) -> bool:
    return isinstance(source, ImageFile) and source.type == "temp"


def _from_history(comfy: Comfy, run: Run, result: RunResult) -> RunResult:
    """The result with what the history knows beyond it: outputs whose messages were lost."""
    entry = comfy.api.history(run.prompt_id)
    if entry is None:
        return result
    raise_if_failed(entry)
    return replace(result, outputs={**(entry.get("outputs") or {}), **result.outputs})


def _found(run: Run, result: RunResult) -> dict[Output, ImageFile | Bytes]:
    found: dict[Output, ImageFile | Bytes] = {}
    for node in run.graph:
        sources: Iterable[ImageFile | Bytes] = result.frames.get(node) or _files(
            result.outputs.get(node) or {}
        )
        for index, source in enumerate(sources):
            found[Output(node, index)] = source
    return found


def _files(output: Mapping[str, Any]) -> Iterator[ImageFile]:
    """The files in a node's output: ``images``, and what video and other packs name likewise."""
    for entries in output.values():
        if isinstance(entries, list):
            for entry in entries:
                if isinstance(entry, Mapping) and entry.get("filename"):
                    yield ImageFile.of(entry)


def _loaded(comfy: Comfy, sources: Mapping[Output, ImageFile | Bytes]) -> dict[Output, Bytes]:
    loaded: dict[Output, Bytes] = {}
    gone: dict[str, None] = {}
    for output, source in sources.items():
        data = comfy.api.view(source) if isinstance(source, ImageFile) else source
        if data is None:
            gone[output.node] = None
        else:
            loaded[output] = data
    if gone:
        raise FileGone(f"ComfyUI no longer has the images of nodes {', '.join(gone)}", gone)
    return loaded


def _filename(output: Output, source: ImageFile | Bytes, prefixes: Mapping[str, str]) -> str:
    """The file's name; for a frame the one that SaveImage would give in an empty folder."""
    if isinstance(source, ImageFile):
        return _last_part(source.filename)
    prefix = _last_part(prefixes.get(output.node, output.node))
    return f"{prefix}_{output.index + 1:05}_.png"


def _last_part(name: str) -> str:
    """A name without folders, as both Windows and the rest of the world write them."""
    return name.replace("\\", "/").rpartition("/")[2]
