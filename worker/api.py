"""One request of an API and its answer, as every entry point gives and gets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.pictures.delivery import Picture

_PICTURE_KEYS = ("image", "images")


@dataclass(frozen=True)
class ApiRequest:
    """A request as it reaches `Service.answer`, whichever way it came.

    Attributes:
        method: ``GET`` or ``POST``.
        path: without slashes around it: ``sdapi/v1/txt2img``.
        query: the query string's parameters; values may also be JSON's.
        body: the parsed body; None where there is none.
        options: the translator's options for this request alone; None for none.
    """

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    options: Any = None


@dataclass(frozen=True)
class ApiAnswer:
    """What a request is answered.

    Attributes:
        status: A1111's HTTP status.
        body: A1111's body. Its pictures are `Picture`s: how they leave (base64, a URL) is the
            entry point's to say.
        warnings: what is not as the request asks, a sentence each.
        error: our own sentence about a failure, naming the field and what to do; empty on success.
        outcome: ``done``, or the kind of the failure, as the log names it.
        cause: the failure itself; None on success.
    """

    status: int
    body: Any
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    outcome: str = "done"
    cause: Exception | None = None

    @property
    def pictures(self) -> list[Picture]:
        """The pictures of the body, in order."""
        return [item for _, items in self._picture_members() for item in items]

    def body_with(self, values: list[str]) -> Any:
        """The body with a text in each picture's place."""
        body, rest = self.body, list(values)
        for key, items in self._picture_members():
            texts, rest = rest[: len(items)], rest[len(items) :]
            body = {**body, key: texts if key == "images" else texts[0]}
        return body

    def _picture_members(self) -> list[tuple[str, list[Picture]]]:
        if not isinstance(self.body, dict):
            return []
        found: list[tuple[str, list[Picture]]] = []
        for key in _PICTURE_KEYS:
            value = self.body.get(key)
            items = value if isinstance(value, list) else [value]
            pictures = [item for item in items if isinstance(item, Picture)]
            if pictures:
                found.append((key, pictures))
        return found
