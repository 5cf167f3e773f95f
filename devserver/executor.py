"""Executes graphs symbolically, and tells the client message by message as ComfyUI does."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devserver.cache import Cache, node_keys
from devserver.faults import Faults, NodeFault
from devserver.files import Files, OutsideFolder
from devserver.jobs import Job, JobQueue, Outcome
from devserver.nodes import TABLE
from devserver.nodes.images import file_hash
from devserver.nodes.table import NodeFunction
from devserver.pictures import Pictures
from devserver.schedule import Schedule, is_link
from devserver.settings import Settings
from devserver.signatures import NodeSpec
from devserver.sockets import JPEG, PNG, Sockets
from devserver.validation import type_name
from devserver.values import Encoding, Image, Inputs, NodeFailure, Result, Save, Value

_log = logging.getLogger(__name__)

_FILE_NODES = frozenset({"LoadImage", "LoadImageMask"})
_NEVER_CACHED = ("SaveImageWebsocket", "A1111ImageFrames")


_STOPPABLE = "SamplerCustomAdvanced"
"""The node in which our pack's sampler runs, which heeds ``POST /a1111/stop``."""
_STOPPED_BY = ("A1111Sampler", "A1111Schedule")


class Interrupted(Exception):
    """``POST /interrupt`` was called."""


@dataclass(frozen=True)
class Stop:
    """What ``POST /a1111/stop`` asked of a prompt: nodes that end early, and the rest's fate."""

    nodes: frozenset[str] = frozenset()
    drop_others: bool = False


class Executor:
    """Runs the jobs of a queue one after another.

    Attributes:
        client_id: whom the running (or last) job belongs to.
        last_node: the node that runs, for a client that reconnects.
        interrupt: set by ``POST /interrupt``; noticed at the next node or step.
        finished: jobs executed since the start.
    """

    def __init__(
        self,
        specs: Mapping[str, NodeSpec],
        files: Files,
        settings: Settings,
        queue: JobQueue,
        sockets: Sockets,
        faults: Faults,
        die: Callable[[], None],
    ) -> None:
        self.specs = specs
        self.files = files
        self.settings = settings
        self.queue = queue
        self.sockets = sockets
        self.faults = faults
        self.die = die
        self.pictures = Pictures(settings.pictures)
        self.results = Cache()
        self.shown = Cache()
        self.client_id: str | None = None
        self.last_node: str | None = None
        self.interrupt = asyncio.Event()
        self.finished = 0
        self.stops: dict[str, Stop] = {}
        self.ended_early = 0
        self._free_requested = False
        self._beside: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Execute jobs, for ever."""
        while True:
            job = await self.queue.take()
            try:
                outcome = await _Run(self, job).execute()
            except Exception:
                # Beside its nodes only a graph that validation did not look at whole gets here. It
                # ends ComfyUI's worker thread; a server for tests had better go on.
                _log.exception("job %s could not be executed", job.prompt_id)
                outcome = Outcome(success=False)
            self.finished += 1
            self.queue.finish(job, outcome)
            if self.client_id is not None:
                done = {"node": None, "prompt_id": job.prompt_id}
                self.sockets.send("executing", done, self.client_id)
            if self._free_requested:
                self._forget()

    def beside(self, work: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Let something go on beside the jobs."""
        for item in work:
            task = asyncio.get_running_loop().create_task(item)
            self._beside.add(task)
            task.add_done_callback(self._beside.discard)

    def stop(self, prompt_id: str, nodes: frozenset[str], drop_others: bool) -> None:
        """End the passes of these nodes early, and with `drop_others` the prompt at any other."""
        before = self.stops.get(prompt_id, Stop())
        self.stops[prompt_id] = Stop(before.nodes | nodes, before.drop_others or drop_others)

    def free(self) -> None:
        """``POST /free`` with free_memory: forget all results after the job that runs."""
        self._free_requested = True
        if self.queue.running is None:
            self._forget()

    def _forget(self) -> None:
        self._free_requested = False
        self.results, self.shown = Cache(), Cache()

    def keys(self, job: Job) -> dict[str, Any]:
        """Cache keys of a job's nodes."""

        def is_changed(node_id: str) -> Any:
            node = job.graph[node_id]
            if node["class_type"] in _NEVER_CACHED:
                return time.time()
            if node["class_type"] in _FILE_NODES:
                return self._file_hash(node["inputs"].get("image"))
            if node["class_type"] in _STOPPED_BY:
                return self.ended_early
            return False

        return node_keys(job.graph, is_changed)

    def _file_hash(self, name: Any) -> Any:
        try:
            return file_hash(self.files.input_path(name))
        except (OSError, AttributeError):
            # As in ComfyUI, where the hash cannot be taken the node is never answered from cache.
            return time.time()


def _rule(class_type: str) -> NodeFunction:
    """What executes a node.

    Raises:
        NodeFailure: the node is one of ComfyUI's that is only checked here.
    """
    if class_type not in TABLE:
        raise NodeFailure(
            f"the development server checks node {class_type} and has no rule to execute it: "
            "a real ComfyUI is needed"
        )
    return TABLE[class_type]


class _Run:
    """One execution of one job."""

    def __init__(self, executor: Executor, job: Job) -> None:
        self.executor = executor
        self.job = job
        self.graph = job.graph
        self.outcome = Outcome()
        self.progress: dict[str, dict[str, Any]] = {}
        self.executed: list[str] = []

    async def execute(self) -> Outcome:
        executor = self.executor
        executor.interrupt.clear()
        executor.client_id = self.job.extra_data.get("client_id")
        self._tell("execution_start", {})
        keys = executor.keys(self.job)
        executor.results.use(keys)
        executor.shown.use(keys)
        cached = [node_id for node_id in self.graph if node_id in executor.results]
        self._tell("execution_cached", {"nodes": cached})
        schedule = Schedule(self.graph, executor.results.__contains__, self._is_output)
        for output in self.job.outputs:
            schedule.add(output)
        while (node_id := schedule.next()) is not None:
            if not await self._try_node(node_id):
                self.outcome.success = False
                break
            schedule.done(node_id)
        else:
            self._tell("execution_success", {})
        self._collect()
        executor.last_node = None
        return self.outcome

    def _is_output(self, node_id: str) -> bool:
        return self._spec(node_id).output_node

    def _spec(self, node_id: str) -> NodeSpec:
        return self.executor.specs[self.graph[node_id]["class_type"]]

    def _collect(self) -> None:
        for node_id in self.graph:
            shown = self.executor.shown.get(node_id)
            if shown is not None:
                self.outcome.outputs[node_id] = shown["output"]
                self.outcome.meta[node_id] = shown["meta"]

    # One node

    async def _try_node(self, node_id: str) -> bool:
        """Execute a node; tells the client and gives False where it fails."""
        values: dict[str, Value] = {}
        try:
            if node_id in self.executor.results:
                self._answer_from_cache(node_id)
                return True
            self._progress(node_id, "running", 0.0, 1.0)
            values = self._inputs(node_id)
            self._announce(node_id)
            await self._run_node(node_id, values)
        except Interrupted:
            self.executor.interrupt.clear()
            self._tell("execution_interrupted", self._where(node_id), broadcast=True)
            return False
        except Exception as exception:
            self._fail(node_id, exception, values)
            return False
        self._finish(node_id)
        self.executed.append(node_id)
        return True

    def _answer_from_cache(self, node_id: str) -> None:
        if self.executor.client_id is not None:
            shown = self.executor.shown.get(node_id) or {}
            self._executed(node_id, shown.get("output"))
        self._finish(node_id)

    def _announce(self, node_id: str) -> None:
        if self.executor.client_id is not None:
            self.executor.last_node = node_id
            data = {"node": node_id, "display_node": node_id, "prompt_id": self.job.prompt_id}
            self.executor.sockets.send("executing", data, self.executor.client_id)

    def _inputs(self, node_id: str) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for name, value in self.graph[node_id]["inputs"].items():
            if name not in self._spec(node_id).inputs:
                continue
            if is_link(value):
                outputs = self.executor.results.get(value[0]) or ()
                values[name] = outputs[value[1]] if value[1] < len(outputs) else None
            else:
                values[name] = value
        return values

    async def _run_node(self, node_id: str, values: dict[str, Value]) -> None:
        await asyncio.sleep(0)
        self._check_interrupt()
        class_type = self.graph[node_id]["class_type"]
        fault = self.executor.faults.on_node(class_type)
        if fault is not None and fault.at_step == 0:
            await self._suffer(fault)
        spec = self._spec(node_id)
        result = _rule(class_type)(Inputs(spec, values, self.executor.files))
        await self._work(node_id, result, fault)
        shown = dict(result.ui)
        if result.save is not None:
            shown |= await self._save(node_id, result.save)
        if shown:
            meta = {
                "node_id": node_id,
                "display_node": node_id,
                "parent_node": None,
                "real_node_id": node_id,
            }
            self.executor.shown.put(node_id, {"output": shown, "meta": meta})
            if self.executor.client_id is not None:
                self._executed(node_id, shown)
        self.executor.results.put(node_id, result.outputs)

    async def _suffer(self, fault: NodeFault) -> None:
        if fault.action == "die":
            self.executor.die()
            await asyncio.Event().wait()
        if fault.action == "hang":
            await (self.executor.interrupt if fault.obeys_interrupt else asyncio.Event()).wait()
            raise Interrupted
        raise _InjectedFailure(fault)

    async def _work(self, node_id: str, result: Result, fault: NodeFault | None) -> None:
        """Take the time the node takes; send its progress."""
        seconds = self.executor.settings.durations.of(result.work)
        if result.steps == 0:
            await _pause(seconds)
            return
        preview = await self._preview(result)
        for step in range(1, result.steps + 1):
            await _pause(seconds)
            if fault is not None and fault.at_step == step:
                await self._suffer(fault)
            self._check_interrupt()
            if self._ends_early(node_id):
                self.executor.ended_early += 1
                return
            self._step(node_id, step, result.steps, preview, JPEG)

    def _ends_early(self, node_id: str) -> bool:
        stop = self.executor.stops.get(self.job.prompt_id)
        if stop is None or self.graph[node_id]["class_type"] != _STOPPABLE:
            return False
        if stop.drop_others and node_id not in stop.nodes:
            raise Interrupted
        return node_id in stop.nodes

    async def _preview(self, result: Result) -> bytes | None:
        if not (result.previews and self.executor.settings.previews):
            return None
        return await self.executor.pictures.preview(result.outputs[0])

    # Images

    async def _save(self, node_id: str, save: Save) -> dict[str, Any]:
        if save.encoding is not None:
            return self._send_files(node_id, save.images, save.encoding)
        if save.target == "socket":
            await self._send_images(node_id, save)
            return {}
        folder, subfolder, names = self._names(save)
        title, texts = self._title(node_id), self._metadata()
        for index, name in enumerate(names):
            encode = self.executor.pictures.png
            data = await encode(save.images, index, title, save.compress_level, texts)
            (folder / name).write_bytes(data)
        listed = [{"filename": n, "subfolder": subfolder, "type": save.target} for n in names]
        return {"images": listed}

    def _names(self, save: Save) -> tuple[Path, str, list[str]]:
        images = save.images
        size = (images.width, images.height)
        try:
            return self.executor.files.save_names(
                save.target, save.prefix, size, len(images.pictures)
            )
        except OutsideFolder as error:
            message = f"**** ERROR: Saving image outside the output folder is not allowed: {error}"
            raise NodeFailure(message) from error

    def _metadata(self) -> dict[str, Any]:
        if not self.executor.settings.metadata:
            return {}
        return {"prompt": self.graph} | (self.job.extra_data.get("extra_pnginfo") or {})

    async def _send_images(self, node_id: str, save: Save) -> None:
        count, title = len(save.images.pictures), self._title(node_id)
        for index in range(count):
            data = await self.executor.pictures.png(save.images, index, title, save.compress_level)
            self._check_interrupt()
            self._step(node_id, index, count, data, PNG)

    def _send_files(self, node_id: str, images: Image, how: Encoding) -> dict[str, Any]:
        """Have the files encoded and sent beside the job, as A1111ImageFrames does."""
        title, client = self._title(node_id), self.executor.client_id

        async def send(index: int) -> None:
            label = {"prompt_id": self.job.prompt_id, "node_id": node_id, "index": index}
            text = how.texts[index] if index < len(how.texts) else None
            file = await self.executor.pictures.file(images, index, title, how, text)
            self.executor.sockets.send_file(file, label, client)

        count = len(images.pictures)
        self.executor.beside(send(index) for index in range(count))
        return {"a1111_frames": [count]}

    def _title(self, node_id: str) -> str:
        node = self.graph[node_id]
        return str(node.get("_meta", {}).get("title") or node["class_type"])

    # Messages

    def _check_interrupt(self) -> None:
        if self.executor.interrupt.is_set():
            raise Interrupted

    def _tell(self, kind: str, data: dict[str, Any], *, broadcast: bool = False) -> None:
        """Send an event that history keeps as well."""
        stamped = {**data, "prompt_id": self.job.prompt_id, "timestamp": int(time.time() * 1000)}
        self.outcome.messages.append([kind, stamped])
        if self.executor.client_id is not None or broadcast:
            self.executor.sockets.send(kind, stamped, self.executor.client_id)

    def _executed(self, node_id: str, output: Any) -> None:
        data = {
            "node": node_id,
            "display_node": node_id,
            "output": output,
            "prompt_id": self.job.prompt_id,
        }
        self.executor.sockets.send("executed", data, self.executor.client_id)

    def _step(self, node_id: str, value: int, total: int, image: bytes | None, form: int) -> None:
        """One update of a progress bar, with or without a picture."""
        sockets, client = self.executor.sockets, self.executor.client_id
        self._progress(node_id, "running", value, total)
        with_metadata = sockets.understands(client, "supports_preview_metadata")
        if image is not None and with_metadata:
            metadata = {
                "node_id": node_id,
                "prompt_id": self.job.prompt_id,
                "display_node_id": node_id,
                "parent_node_id": None,
                "real_node_id": node_id,
            }
            sockets.send_image_with_metadata(image, form, metadata, client)
        data = {"value": value, "max": total, "prompt_id": self.job.prompt_id, "node": node_id}
        sockets.send("progress", data, client)
        if image is not None and not with_metadata:
            sockets.send_image(image, form, client)

    def _finish(self, node_id: str) -> None:
        total = self.progress.get(node_id, {"max": 1})["max"]
        self._progress(node_id, "finished", total, total)

    def _progress(self, node_id: str, state: str, value: float, total: float) -> None:
        """Send the state of every node touched so far; to all clients where none is known."""
        self.progress[node_id] = {
            "value": value,
            "max": total,
            "state": state,
            "node_id": node_id,
            "prompt_id": self.job.prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }
        data = {"prompt_id": self.job.prompt_id, "nodes": self.progress}
        self.executor.sockets.send("progress_state", data, self.executor.client_id)

    def _where(self, node_id: str) -> dict[str, Any]:
        return {
            "prompt_id": self.job.prompt_id,
            "node_id": node_id,
            "node_type": self.graph[node_id]["class_type"],
            "executed": list(self.executed),
        }

    def _fail(self, node_id: str, exception: Exception, values: Mapping[str, Value]) -> None:
        tips = exception.fault.tips if isinstance(exception, _InjectedFailure) else ""
        kind = exception.kind if isinstance(exception, NodeFailure) else type_name(exception)
        details = {
            "exception_message": f"{exception}\n{tips}",
            "exception_type": kind,
            "traceback": traceback.format_tb(exception.__traceback__),
            "current_inputs": {name: [_shown(value)] for name, value in values.items()},
            "current_outputs": list(self.graph),
        }
        self._tell("execution_error", self._where(node_id) | details)


class _InjectedFailure(NodeFailure):
    def __init__(self, fault: NodeFault) -> None:
        super().__init__(fault.message, fault.kind)
        self.fault = fault


def _shown(value: Value) -> Any:
    plain = value is None or isinstance(value, int | float | bool | str)
    return value if plain else str(value)


async def _pause(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)
