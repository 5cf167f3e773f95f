"""What the server stands in front of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from server.activity import Job
from worker.api import ApiAnswer, ApiRequest


class Backend(Protocol):
    """Answers A1111's requests, wherever their pictures are made."""

    @property
    def at_once(self) -> int:
        """Jobs that it takes together."""

    @property
    def is_ready(self) -> bool:
        """Whether requests can be taken."""

    @property
    def options(self) -> Mapping[str, Any]:
        """A1111's options in force, as far as progress needs them."""

    async def start(self) -> None:
        """Connect, and make ready in the background."""

    async def close(self) -> None:
        """End everything."""

    async def answer(self, request: ApiRequest, job: Job | None) -> ApiAnswer:
        """Answer a request.

        Args:
            job: the one it is, where it makes pictures; its progress is written there.
        """

    async def interrupt(self, job: Job) -> None:
        """End a job with the pictures so far."""

    async def skip(self, job: Job) -> None:
        """Leave the batch under way at what it has reached."""
