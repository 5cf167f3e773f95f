"""Translation options: the worker's own, with a request's over them."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from translator.options import REQUEST_OPTIONS, Options, Style
from translator.request.a1111_options import option_rows
from translator.request.styles import StylesError
from translator.request.styles import read_styles as parse_styles
from worker.errors import RequestError
from worker.settings import Settings
from worker.wildcards import read_wildcards

log = logging.getLogger(__name__)

_FRAMES, _FILES = "websocket", "preview"


class OptionSource:
    """Builds the `Options` of each translation.

    The A1111 options that POST /sdapi/v1/options sets live here too, for as long as the worker
    does, over those of A1111_OPTIONS; with A1111_OPTIONS_FILE they outlast it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self.a1111: dict[str, Any] = {
            **json.loads(settings.a1111_options),
            **_read_options(settings.options_file),
        }
        self._base: dict[str, Any] = {
            "unsupported": settings.unsupported,
            "fidelity": settings.fidelity,
            "defaults": settings.a1111_defaults,
            "detected_maps": settings.detected_maps,
            "embed_workflow": settings.embed_workflow,
            "architectures": json.loads(settings.architectures),
            "styles": read_styles(settings.styles_file),
            "wildcards": read_wildcards(settings.wildcards_dir),
        }
        if settings.default_checkpoint:
            self._base["default_checkpoint"] = settings.default_checkpoint

    def change_a1111(self, changes: Mapping[str, Any]) -> bool:
        """Set A1111 options for the worker's life; a job under translation keeps its own.

        Returns:
            False where the file that should keep them cannot be written.
        """
        with self._lock:
            self.a1111 = {**self.a1111, **changes}
            if self._settings.options_file is None or not changes:
                return True
            return _write_options(self._settings.options_file, changes)

    @property
    def styles(self) -> Mapping[str, Style]:
        styles: Mapping[str, Style] = self._base["styles"]
        return styles

    def for_request(self, given: object, *, labels_frames: bool, **drawn: Any) -> Options:
        """The options of one request.

        Args:
            given: ``input.options``, or None.
            labels_frames: whether images can come over the websocket.
            drawn: ``draw_seed`` and ``now``.

        Raises:
            RequestError: an option that a request may not set.
            TranslationError: a value that an option does not take.
        """
        own = given if given is not None else {}
        if not isinstance(own, Mapping):
            raise RequestError("options: an object is expected")
        for name in own:
            if name not in REQUEST_OPTIONS:
                raise RequestError(
                    f"options.{name}: unknown option", f"there are {', '.join(REQUEST_OPTIONS)}"
                )
        output = self._settings.image_output
        if output == "auto":
            output = _FRAMES if labels_frames else _FILES
        return Options.of(
            {**self._base, **own, "image_output": output, "a1111_options": self.a1111, **drawn}
        )


def read_styles(file: Path | None) -> dict[str, Style]:
    """The styles of A1111's styles.csv; none where it cannot be read, which is logged."""
    if file is None:
        return {}
    try:
        return parse_styles(file.read_text("utf-8"))
    except (OSError, StylesError, UnicodeDecodeError) as error:
        log.error("the styles file cannot be read: %s", error)
        return {}


def _read_options(file: Path | None) -> dict[str, Any]:
    """The options that a file keeps, as far as A1111 1.10.1 has them; none where there is none."""
    if file is None or not file.is_file():
        return {}
    return {name: value for name, value in _kept(file).items() if name in option_rows()}


def _write_options(file: Path, changes: Mapping[str, Any]) -> bool:
    """Keep options beside what else the file holds; False where it cannot be written."""
    kept = {**(_kept(file) if file.is_file() else {}), **changes}
    fresh = file.with_name(f"{file.name}.new")
    try:
        fresh.write_text(json.dumps(kept, indent=4, ensure_ascii=False), "utf-8")
        fresh.replace(file)
    except OSError as error:
        log.error("the options file cannot be written: %s", error)
        return False
    return True


def _kept(file: Path) -> dict[str, Any]:
    try:
        kept = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        log.error("the options file cannot be read: %s", error)
        return {}
    return kept if isinstance(kept, dict) else {}
