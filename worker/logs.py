"""Logs as JSON, one object a line, on standard error; one line of them for every job."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from worker.errors import scrub

_ROOTS = ("worker", "server")

_LONGEST_FIELD = 4000
"""Characters of a field."""


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object; ``extra={"fields": {...}}`` are added to it."""

    def __init__(self, clean: Callable[[str], str]) -> None:
        super().__init__()
        self._clean = clean

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._clean(record.getMessage()),
        }
        fields = getattr(record, "fields", {})
        line.update({name: _bounded(value) for name, value in fields.items()})
        if record.exc_info:
            line["traceback"] = self._clean(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


def _bounded(value: Any) -> Any:
    """A field of a line; a text from outside may be of any length."""
    if isinstance(value, str) and len(value) > _LONGEST_FIELD:
        return f"{value[:_LONGEST_FIELD]}... ({len(value)} characters)"
    return value


def configure(level: str, secrets: tuple[str, ...] = ()) -> None:
    """Send the worker's logs to standard error as JSON lines; asking twice changes the level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(lambda text: scrub(text, keep=("/",), secrets=secrets)))
    for root in _ROOTS:
        logger = logging.getLogger(root)
        logger.setLevel(level.upper())
        logger.propagate = False
        logger.handlers[:] = [handler]


class Stages:
    """The times of a job's stages, in milliseconds, in the order in which they came."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self.current = "start"
        self._start = time.perf_counter()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a stage; one that comes again adds up."""
        self.current = name
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - start) * 1000
            self.times[name] = round(self.times.get(name, 0.0) + spent, 1)

    @property
    def total_ms(self) -> float:
        return round((time.perf_counter() - self._start) * 1000, 1)
