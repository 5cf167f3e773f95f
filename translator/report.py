"""What can be wrong with a request, and the report that travels through the stages."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from translator.suggest import did_you_mean

Unsupported = Literal["error", "warn"]

_SHOWN_VALUE_LENGTH = 60

MOST_PROBLEMS = 500
"""Problems with which a translation ends at once; nobody reads more."""

MOST_COMPARED = 30_000
"""Known names that a translation's unknown ones are compared with; further ones get no hint."""

MOST_WARNINGS = 2000
"""Warnings of one translation; the last one says that there would be more."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a request.

    Attributes:
        path: where, as a JSON path: ``alwayson_scripts.controlnet.args[0].weight``.
        message: what is wrong and what would be right, in one sentence.
        value: the offending value, or None where there is none to show.
        kind: ``invalid`` (the request is wrong), ``unsupported`` (it is valid and cannot be
            honoured here) or ``missing`` (this ComfyUI lacks a node or a file).
    """

    path: str
    message: str
    value: Any = None
    kind: Literal["invalid", "unsupported", "missing"] = "invalid"

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


@dataclass(frozen=True)
class Warning:
    """One thing that is done otherwise than the request says.

    Attributes:
        path: where, as a JSON path; empty where it concerns the request as a whole.
        message: what is done, in one sentence.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class TranslationError(Exception):
    """A request that cannot be translated; ``str()`` gives its ``problems``, one a line.

    ``warnings`` are those of the way up to there.
    """

    def __init__(self, problems: Iterable[Problem], warnings: Iterable[Warning] = ()) -> None:
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def show(value: object) -> str:
    """A value as it may stand in a message: JSON, shortened so that no image ends up in a log."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) <= _SHOWN_VALUE_LENGTH:
        return text
    return f"{text[:_SHOWN_VALUE_LENGTH]}... ({len(text)} characters)"


class Report:
    """Collects the warnings and problems of one translation.

    `invalid`, `unsupported` and `missing` refuse and return: the caller goes on with a stand-in, so
    that the request's other problems are found in the same run. `refused` says whether a part of
    the request was refused; `raise_if_refused` ends a stage. The problem after `MOST_PROBLEMS` of
    them raises `TranslationError`.

    Args:
        unsupported: what becomes of what is valid and cannot be honoured: ``error`` refuses the
            request, ``warn`` does what A1111 would do and says so.
    """

    def __init__(self, unsupported: Unsupported = "error") -> None:
        self._unsupported = unsupported
        self._warnings: dict[Warning, None] = {}
        self._problems: dict[tuple[str, str], Problem] = {}
        self._set_by: Mapping[str, str] = {}
        self._compared = 0

    @contextmanager
    def set_by(self, paths: Mapping[str, str]) -> Iterator[None]:
        """Say where the values of fields come from that the request does not hold itself.

        What is reported of such a field meanwhile is reported at the path that set it, and names
        the field.

        Args:
            paths: field (``steps``, ``override_settings.sd_vae``) -> JSON path of what sets it.
        """
        around, self._set_by = self._set_by, paths
        try:
            yield
        finally:
            self._set_by = around

    @property
    def lenient(self) -> bool:
        """Whether what cannot be honoured is a warning and A1111's way out, not an error."""
        return self._unsupported == "warn"

    @property
    def warnings(self) -> tuple[Warning, ...]:
        """The warnings so far, each once, in order."""
        return tuple(self._warnings)

    @property
    def warning_texts(self) -> list[str]:
        """The warnings as an answer holds them, a sentence each, path first."""
        return list(map(str, self._warnings))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The problems so far, each once, in order."""
        return tuple(self._problems.values())

    def warn(self, path: str, message: str) -> None:
        """Tell the caller something that does not stop the request."""
        origin = self._set_by.get(path)
        if origin is not None:
            path, message = origin, f"{path}: {message}"
        found = Warning(path, message)
        if len(self._warnings) >= MOST_WARNINGS and found not in self._warnings:
            found = Warning("", f"there are more warnings than these {MOST_WARNINGS}")
        self._warnings[found] = None

    def invalid(self, path: str, message: str, value: Any = None) -> None:
        """Refuse: the request itself is wrong."""
        self._refuse(Problem(path, message, value))

    def unsupported(self, path: str, message: str, *, instead: str, value: Any = None) -> None:
        """Valid, and cannot be honoured: an error, or a warning and A1111's way out.

        Args:
            instead: what is done instead where the caller goes on, in the present tense.
        """
        self._refuse_or_warn(Problem(path, message, value, "unsupported"), instead)

    def missing(self, path: str, message: str, *, instead: str, value: Any = None) -> None:
        """As `unsupported`, for a node or a file that this ComfyUI does not have."""
        self._refuse_or_warn(Problem(path, message, value, "missing"), instead)

    def did_you_mean(self, name: str, known: Collection[str]) -> str:
        """See `suggest.did_you_mean`: for names of a server's, which may have thousands of each."""
        self._compared += len(known)
        return did_you_mean(name, known) if self._compared <= MOST_COMPARED else ""

    def refused(self, path: str) -> bool:
        """Whether what stands at a path was refused, or a part of it."""
        return any(_lies_under(problem.path, path) for problem in self.problems)

    def raise_if_refused(self) -> None:
        """Raise `TranslationError` if anything was refused so far."""
        if self._problems:
            raise TranslationError(self.problems, self.warnings)

    def _refuse_or_warn(self, problem: Problem, instead: str) -> None:
        if self.lenient:
            self.warn(problem.path, f"{problem.message}; {instead}")
        else:
            self._refuse(replace(problem, message=f"{problem.message}; {_SWITCH} {instead}"))

    def _refuse(self, problem: Problem) -> None:
        origin = self._set_by.get(problem.path)
        if origin is not None:
            message = f"{problem.path}: {problem.message}"
            problem = replace(problem, path=origin, message=message)
        if len(self._problems) >= MOST_PROBLEMS:
            more = Problem("", f"it has more problems than these {MOST_PROBLEMS}")
            raise TranslationError((*self.problems, more), self.warnings)
        self._problems.setdefault((problem.path, problem.message), problem)


_SWITCH = 'with option unsupported="warn"'
"""What lets a request go on that is refused otherwise; every such refusal names it."""


def _lies_under(path: str, whole: str) -> bool:
    """Whether a JSON path is another one or a part of what stands there."""
    return path == whole or path.startswith((f"{whole}.", f"{whole}["))
