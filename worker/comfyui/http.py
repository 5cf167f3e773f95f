"""ComfyUI's HTTP interface: one pooled client, blocking calls, clear errors.

The calls block, so they belong in a thread (`Comfy.submit` and the jobs see to that). Routes and
shapes are those of ComfyUI 0.3.64; where newer servers have a better way, that is tried first, and
what the server answers decides.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import urllib3

from worker.errors import ComfyError, PromptRefused, ServerFault, Unreachable
from worker.pictures import metadata

Json = Any
_T = TypeVar("_T")

UNKNOWN_JOB = "unknown"
"""The status of a job that a server with a route for jobs has never seen, or has forgotten."""

LARGEST_ANSWER = 512 << 20
"""Bytes of an answer, such as a picture's file."""

_POOL_SIZE = 16
_CONNECT_TIMEOUT_S = 5.0
_PAUSES_S = (0.05, 0.25, 0.5)
"""Pauses between the attempts of a call that may be repeated."""
_SHOWN_DETAIL = 300
_SHOWN_NODES = 10

_NODE_REMEDIES: Mapping[str, str] = {
    "value_not_in_list": "use one of the values the server has",
    "value_bigger_than_max": "use a smaller value",
    "value_smaller_than_min": "use a larger value",
    "required_input_missing": "give the input a value or a link",
    "invalid_input_type": "give the input a value of its type",
    "return_type_mismatch": "link an output of the right type",
    "bad_linked_input": "a link is [node id, output number]",
    "dependency_cycle": "remove the link that closes the cycle",
    "custom_validation_failed": "send the file in `images`, or name one that is there",
    "exception_during_validation": "check the inputs of this node",
}
"""ComfyUI's validation error type -> what to do."""

_PROMPT_REMEDIES: Mapping[str, str] = {
    "missing_node_type": "install the pack that brings the node class, or correct the graph",
    "invalid_prompt": "install the pack that brings the node class, or correct the graph",
    "prompt_no_outputs": "add a node that saves an image, such as SaveImage",
}


@dataclass(frozen=True)
class ImageFile:
    """A result file on the server, as `executed` messages and history name it."""

    filename: str
    subfolder: str = ""
    type: str = "output"

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> ImageFile:
        return cls(
            str(entry["filename"]),
            str(entry.get("subfolder") or ""),
            str(entry.get("type") or "output"),
        )


STOP_ROUTE = "/a1111/stop"
"""The route that our node pack adds to ComfyUI's server."""


class ComfyApi:
    """HTTP calls to one ComfyUI.

    Every call raises `Unreachable` when the server does not answer within the time limit and
    `ServerFault` for a status that is not one of success, unless its own text says otherwise.

    Args:
        url: base address, with or without a trailing slash; https is taken.
        timeout_s: limit of one request.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self.url = url.rstrip("/")
        self._timeout = urllib3.Timeout(connect=min(_CONNECT_TIMEOUT_S, timeout_s), read=timeout_s)
        self._pool = urllib3.PoolManager(maxsize=_POOL_SIZE, block=False, retries=False)

    def close(self) -> None:
        """Close the pooled connections."""
        self._pool.clear()

    # The graph's life

    def prompt(
        self, graph: Mapping[str, Any], prompt_id: str, client_id: str, extra: Mapping[str, Any]
    ) -> None:
        """Queue a graph under a prompt id of our own.

        Raises:
            PromptRefused: validation failed, also if only for some of the outputs (the server then
                answers 200 with ``node_errors`` and runs the rest).
        """
        body = {"prompt": graph, "prompt_id": prompt_id, "client_id": client_id}
        if extra:
            body["extra_data"] = extra
        # Sent once only: whether a request that failed was taken is not known here.
        status, raw = self._request("POST", "/prompt", body=json.dumps(body).encode())
        reply = _json_or_none(raw)
        if not isinstance(reply, dict) or status not in (200, 400):
            raise _fault(status, "/prompt")
        if status == 400 or reply.get("node_errors"):
            raise refusal(reply, queued=status == 200)

    def history(self, prompt_id: str) -> dict[str, Any] | None:
        """The history entry of a prompt, or None while there is none."""
        reply = self.get(f"/history/{quote(prompt_id)}")
        entry = reply.get(prompt_id) if isinstance(reply, dict) else None
        return entry if isinstance(entry, dict) else None

    def queue(self) -> tuple[list[str], list[str]]:
        """Prompt ids that run, and prompt ids that wait."""
        reply = self.get("/queue")
        return _ids(reply, "queue_running"), _ids(reply, "queue_pending")

    def interrupt(self, prompt_id: str) -> None:
        """Interrupt a prompt if it is the one that runs."""
        self.post("/interrupt", {"prompt_id": prompt_id})

    def job_status(self, prompt_id: str) -> str | None:
        """What newer servers say of a prompt in one answer: ``pending``, ``in_progress``,
        ``completed``, ``failed`` or ``cancelled``, and `UNKNOWN_JOB`; None from older ones.
        """

        def read() -> str | None:
            path = f"/api/jobs/{quote(prompt_id)}"
            status, raw = self._request("GET", path)
            reply = _json_or_none(raw)
            if status in (404, 405):
                return UNKNOWN_JOB if isinstance(reply, dict) else None
            if status != 200 or not isinstance(reply, dict):
                raise _fault(status, path)
            return str(reply.get("status"))

        return self._again(read)

    def cancel(self, prompt_id: str) -> None:
        """Stop a prompt: out of the queue if it waits there, interrupted if it runs.

        Newer servers do so in one step, so that no other prompt can be hit that began meanwhile.
        """
        if self._cancelled_at_once(prompt_id):
            return
        self.dequeue([prompt_id])
        running, _ = self.queue()
        if prompt_id in running:
            self.interrupt(prompt_id)

    def _cancelled_at_once(self, prompt_id: str) -> bool:
        """Whether the server has a route that cancels, and has taken it."""

        def send() -> bool:
            path = f"/api/jobs/{quote(prompt_id)}/cancel"
            status, raw = self._request("POST", path)
            if status in (404, 405):
                return False
            if status != 200 or not isinstance(_json_or_none(raw), dict):
                raise _fault(status, path)
            return True

        return self._again(send)

    def stop_passes(self, prompt_id: str, nodes: Iterable[str], *, drop_others: bool) -> bool:
        """End the sampling of nodes early (our node pack's route); False where it is not there."""
        body = {"prompt_id": prompt_id, "nodes": list(nodes), "drop_others": drop_others}
        try:
            self.post(STOP_ROUTE, body)
        except ServerFault as error:
            if error.status in (404, 405):
                return False
            raise
        return True

    def dequeue(self, prompt_ids: Iterable[str]) -> None:
        """Take waiting prompts out of the queue; others are left alone."""
        self.post("/queue", {"delete": list(prompt_ids)})

    def forget(self, prompt_ids: Iterable[str]) -> None:
        """Delete prompts from the history."""
        self.post("/history", {"delete": list(prompt_ids)})

    # Files

    def view(self, file: ImageFile) -> bytes | None:
        """The bytes of a result file, or None if it is gone."""
        query = urlencode(
            {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        )
        is_png = file.filename.endswith(".png")

        def load() -> bytes | None:
            status, raw = self._request("GET", f"/view?{query}")
            if status == 404:
                return None
            if status != 200 or (is_png and not metadata.is_png(raw)):
                raise _fault(status, "/view")
            return raw

        return self._again(load)

    def upload(self, name: str, data: bytes) -> str:
        """Put an image into the server's input folder; answers the name it has there."""
        fields = {"image": (name, data, "application/octet-stream"), "overwrite": "true"}

        def send() -> str:
            status, raw = self._request("POST", "/upload/image", fields=fields)
            reply = _json_or_none(raw)
            if status != 200 or not isinstance(reply, dict):
                raise _fault(status, "/upload/image")
            return str(reply.get("name") or name)

        return self._again(send)

    # What the server has and does

    def get(self, path: str) -> Json:
        """The JSON that a GET answers."""

        def read() -> Json:
            status, raw = self._request("GET", path)
            reply = _json_or_none(raw)
            if status != 200 or reply is None:
                raise _fault(status, path)
            return reply

        return self._again(read)

    def post(self, path: str, body: Mapping[str, Any]) -> None:
        """A POST that may come twice; ComfyUI answers these with an empty body."""

        def send() -> None:
            status, raw = self._request("POST", path, body=json.dumps(body).encode())
            if status != 200 or raw:
                raise _fault(status, path)

        self._again(send)

    @staticmethod
    def _again(call: Callable[[], _T]) -> _T:
        """Call what may be repeated, again after the pauses of `_PAUSES_S` while it may pass."""
        for pause in _PAUSES_S:
            try:
                return call()
            except ComfyError as error:
                if not is_passing(error):
                    raise
            time.sleep(pause)
        return call()

    def _request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"} if body is not None else None
        try:
            reply = self._pool.request(
                method,
                self.url + path,
                body=body,
                fields=fields,
                headers=headers,
                timeout=self._timeout,
                redirect=False,
                preload_content=False,
            )
            raw = self._bounded(reply, path)
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(
                f"ComfyUI at {self.url} does not answer ({_reason(error)} on {method} "
                f"{path.partition('?')[0]})",
                "check that ComfyUI runs and that COMFYUI_URL is right",
            ) from error
        return reply.status, raw

    @staticmethod
    def _bounded(reply: urllib3.BaseHTTPResponse, path: str) -> bytes:
        """An answer's body.

        Raises:
            ComfyError: it has more than `LARGEST_ANSWER` bytes.
        """
        raw = reply.read(LARGEST_ANSWER + 1)
        if len(raw) <= LARGEST_ANSWER:
            reply.release_conn()
            return raw
        reply.close()
        raise ComfyError(
            f"ComfyUI's answer to {path.partition('?')[0]} has more than {LARGEST_ANSWER} bytes",
            "ask for a smaller picture",
        )


def is_passing(error: ComfyError) -> bool:
    """Whether another try may succeed: no answer, a status of 5xx, or an answer of nonsense."""
    if isinstance(error, ServerFault):
        return not 400 <= error.status < 500
    return isinstance(error, Unreachable)


def refusal(reply: Mapping[str, Any], *, queued: bool = False) -> PromptRefused:
    """The error for an answer to POST /prompt that names errors."""
    nodes = reply.get("node_errors")
    if isinstance(nodes, dict) and nodes:
        return _node_refusal(nodes, queued)
    error = reply.get("error")
    if not isinstance(error, dict):
        return PromptRefused(f"ComfyUI refused the graph: {str(error)[:_SHOWN_DETAIL]}")
    message = str(error.get("message") or "ComfyUI refused the graph")
    details = str(error.get("details") or "")[:_SHOWN_DETAIL]
    text = f"{message.rstrip('.')} ({details})" if details else message.rstrip(".")
    return PromptRefused(text, _PROMPT_REMEDIES.get(str(error.get("type")), ""))


def _node_refusal(nodes: Mapping[str, Any], queued: bool) -> PromptRefused:
    lines: list[str] = []
    remedies: dict[str, None] = {}
    files: list[str] = []
    for node_id, node in nodes.items():
        for error in node.get("errors", ()):
            kind = str(error.get("type"))
            details = str(error.get("details") or "")[:_SHOWN_DETAIL]
            lines.append(
                f"node {node_id} ({node.get('class_type')}): "
                f"{str(error.get('message')).rstrip('.')}: {details}"
            )
            if kind in _NODE_REMEDIES:
                remedies[_NODE_REMEDIES[kind]] = None
            if kind == "custom_validation_failed":
                files.append(details.rpartition(": ")[2])
    if len(lines) > _SHOWN_NODES:
        lines[_SHOWN_NODES:] = [f"and {len(lines) - _SHOWN_NODES} more"]
    return PromptRefused("\n".join(lines), ", ".join(remedies), files, queued=queued)


def _ids(reply: Json, key: str) -> list[str]:
    items = reply.get(key) if isinstance(reply, dict) else None
    if not isinstance(items, list):
        return []
    return [str(item[1]) for item in items if isinstance(item, list) and len(item) > 1]


def _json_or_none(raw: bytes) -> Json:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _fault(status: int, path: str) -> ServerFault:
    route = path.strip("/").partition("?")[0].partition("/")[0]
    what = f"status {status}" if status != 200 else "something that makes no sense"
    return ServerFault(status, f"ComfyUI answered {route} with {what}", "look into ComfyUI's log")


def _reason(error: urllib3.exceptions.HTTPError) -> str:
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "connection refused"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "timeout"
    return type(error).__name__
