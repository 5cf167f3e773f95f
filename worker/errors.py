"""The errors a job can end in, and what may be said of them to the caller.

Every error that reaches a caller is a `JobError`: one sentence that names the field, node or model
at fault, and one that says what to do. `scrub` takes out what must not leave the worker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_MESSAGE_LENGTH = 2000
"""Characters of a message; a longer one is cut and says so."""

_PATH = re.compile(
    r"(?<![\w:/.])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\":,;)\]]+[/\\])+([^\s/\\'\":,;)\]]*)"
)
_LONG_RUN = re.compile(r"[A-Za-z0-9+/=_-]{200,}")


class SettingsError(ValueError):
    """An environment variable has a value that cannot be used."""


class JobError(Exception):
    """A job ends with this error as its answer.

    Args:
        message: what is wrong, naming the field, node or model.
        remedy: what to do about it; may be empty where `message` says it.
        details: more of it, a sentence each, for answers that have a place for that.
    """

    def __init__(self, message: str, remedy: str = "", details: Iterable[str] = ()) -> None:
        self.message = message
        self.remedy = remedy
        self.details = tuple(details)
        super().__init__(f"{message}; {remedy}" if remedy else message)


class RequestError(JobError):
    """The job's input is wrong.

    Attributes:
        exception: the exception that A1111 raises for it (status 500); empty where it answers 422.
    """

    def __init__(
        self, message: str, remedy: str = "", details: Iterable[str] = (), *, exception: str = ""
    ) -> None:
        self.exception = exception
        super().__init__(message, remedy, details)


class RouteError(RequestError):
    """The API has no such route.

    Attributes:
        status: 404, or 405 where the path takes another method.
    """

    def __init__(self, status: int, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.status = status


class QueryError(RequestError):
    """A query parameter that is neither true nor false.

    Attributes:
        parameter: its name.
    """

    def __init__(self, parameter: str, shown: str) -> None:
        self.parameter = parameter
        super().__init__(f"{parameter}: {shown} is not true or false", "send true or false")


class LimitError(RequestError):
    """The job asks for more than this worker's limits allow."""


class ResultTooLarge(JobError):
    """The answer does not fit RunPod and nothing configured makes it fit."""


class TimeLimit(JobError):
    """The job ran past its time limit."""


class ComfyError(JobError):
    """ComfyUI refused or failed."""


class Unreachable(ComfyError):
    """ComfyUI does not answer."""


class ServerFault(ComfyError):
    """ComfyUI answered an HTTP request with a status that is not one of success.

    Attributes:
        status: the HTTP status code.
    """

    def __init__(self, status: int, message: str, remedy: str = "") -> None:
        self.status = status
        super().__init__(message, remedy)


class PromptRefused(ComfyError):
    """ComfyUI's validation refused the graph, wholly or in part.

    Attributes:
        missing_files: values of inputs that name a file the server does not have.
        queued: whether the server runs what is right of it.
    """

    def __init__(
        self, message: str, remedy: str = "", files: Iterable[str] = (), *, queued: bool = False
    ) -> None:
        self.missing_files = tuple(files)
        self.queued = queued
        super().__init__(message, remedy)


class NodeFailed(ComfyError):
    """A node raised an exception while it ran.

    Attributes:
        node, node_class: the node's id and class.
        text: what the exception says.
    """

    def __init__(
        self,
        message: str,
        remedy: str = "",
        *,
        node: str = "",
        node_class: str = "",
        text: str = "",
    ) -> None:
        self.node = node
        self.node_class = node_class
        self.text = text
        super().__init__(message, remedy)


class Interrupted(ComfyError):
    """The run was interrupted on the server, not by this job."""


class RunLost(ComfyError):
    """A run that ended in no known way: the server forgot it, or messages of it were lost.

    Attributes:
        started: whether it had begun to execute, as far as is known.
    """

    def __init__(self, message: str, *, started: bool) -> None:
        self.started = started
        super().__init__(message, "send the job again")


class ImagesLost(RunLost):
    """A run that ended well, but whose images got lost on the way."""

    def __init__(self, message: str) -> None:
        super().__init__(message, started=False)


class FileGone(ComfyError):
    """A run names a result file that the server does not have (any more).

    Attributes:
        nodes: ids of the output nodes whose files are gone.
    """

    def __init__(self, message: str, nodes: Iterable[str]) -> None:
        self.nodes = tuple(nodes)
        super().__init__(message, "send the job again")


def scrub(text: str, *, keep: Iterable[str] = (), secrets: Iterable[str] = ()) -> str:
    """A text as it may leave the worker.

    Paths are cut to their last part unless they start with one of `keep` (the model folders),
    long runs of base64 are left out, `secrets` are blotted out, and the whole is cut to
    `MAX_MESSAGE_LENGTH` characters.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    prefixes = tuple(prefix for prefix in keep if prefix)
    text = _LONG_RUN.sub(lambda run: f"({len(run[0])} characters)", text)
    text = _PATH.sub(lambda path: path[0] if path[0].startswith(prefixes) else path[1], text)
    if len(text) > MAX_MESSAGE_LENGTH:
        text = f"{text[:MAX_MESSAGE_LENGTH]}... ({len(text)} characters)"
    return text
