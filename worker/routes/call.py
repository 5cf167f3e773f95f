"""One request on its way through a route, with what answers it at hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from translator import Catalog, Options
from translator.models.names import Checkpoint, Models
from translator.report import Report
from translator.request.a1111_options import A1111Options, resolve_a1111_options
from worker.api import ApiRequest
from worker.errors import RequestError
from worker.models.files import FOLDERS, locate
from worker.pictures import addresses
from worker.resources import Resources
from worker.running import Task


@dataclass
class Call:
    """A request under way.

    Attributes:
        resources: what it is answered from.
        request: as it came.
        task: what is run for it.
        switches: its query parameters, read.
        warnings: for its answer.
    """

    resources: Resources
    request: ApiRequest
    task: Task
    switches: Mapping[str, bool] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def payload(self) -> dict[str, Any]:
        """The body.

        Raises:
            RequestError: there is none, or it is no object.
        """
        if not isinstance(self.request.body, dict):
            raise RequestError("payload: an object with the request's fields is missing")
        return self.request.body

    @cached_property
    def catalog(self) -> Catalog:
        return self.resources.current_catalog()

    @cached_property
    def options(self) -> Options:
        return self.resources.options.for_request(None, labels_frames=False)

    @cached_property
    def a1111_options(self) -> A1111Options:
        """The A1111 options in force."""
        return resolve_a1111_options(self.options.a1111_options, None, Report("warn"))

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint of a request that names none."""
        if not self.catalog.files("checkpoints"):
            return None
        models = Models(self.catalog, self.options, Report("warn"))
        return models.checkpoint(
            self.a1111_options.sd_model_checkpoint, "sd_model_checkpoint", None
        )

    def locate(self, folder: str, name: str) -> str:
        """Where a model file lies; below A1111's folder where this worker cannot see it."""
        found = locate(self.resources.settings.model_roots, folder, name)
        return str(found) if found else f"models/{FOLDERS.get(folder, (folder,))[0]}/{name}"

    def warn(self, message: str) -> None:
        self.warnings.append(message)


Endpoint = Callable[[Call], Awaitable[Any]]
"""What answers a route: the body, its pictures as `Picture`s."""

Answerer = Callable[[Call], Any]
"""What answers a route that runs no graph; called in a thread."""


def in_thread(answerer: Answerer) -> Endpoint:
    """An endpoint of an answerer."""

    async def answer(call: Call) -> Any:
        return await call.resources.in_thread(answerer, call)

    return answer


def outside(answerer: Answerer) -> Endpoint:
    """An endpoint of an answerer that waits for others' servers."""

    async def answer(call: Call) -> Any:
        return await call.resources.runner.outside(answerer, call)

    return answer


async def fetch_pictures(call: Call) -> None:
    """Put pictures in place of the web addresses of the request.

    Raises:
        RequestError, LimitError: as `addresses.fetch`; also if they are not there in time.
    """
    body = call.request.body
    found = addresses.addresses(body) if isinstance(body, dict) else {}
    if not found:
        return
    deadline = time.monotonic() + addresses.FETCHING_S
    try:
        async with asyncio.timeout(addresses.FETCHING_S):
            fetched = await call.resources.runner.outside(
                addresses.with_fetched, body, call.resources.settings, deadline
            )
    except TimeoutError:
        path, _ = next(iter(found))
        raise RequestError(f"{path}: the address cannot be read ({addresses.TOO_LATE})") from None
    call.request = replace(call.request, body=fetched)
