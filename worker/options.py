"""Translation options: the worker's own, with a request's over them."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from translator.options import REQUEST_OPTIONS, Options, Style
from translator.request.styles import StylesError
from translator.request.styles import read_styles as parse_styles
from worker.errors import RequestError
from worker.settings import Settings

log = logging.getLogger(__name__)

_FRAMES, _FILES = "websocket", "preview"


class OptionSource:
    """Builds the `Options` of each translation.

    The A1111 options that POST /sdapi/v1/options sets live here too, for as long as the worker
    does, over those of A1111_OPTIONS.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self.a1111: dict[str, Any] = json.loads(settings.a1111_options)
        self._base: dict[str, Any] = {
            "unsupported": settings.unsupported,
            "fidelity": settings.fidelity,
            "defaults": settings.a1111_defaults,
            "detected_maps": settings.detected_maps,
            "architectures": json.loads(settings.architectures),
            "styles": read_styles(settings.styles_file),
        }
        if settings.default_checkpoint:
            self._base["default_checkpoint"] = settings.default_checkpoint

    def change_a1111(self, changes: Mapping[str, Any]) -> None:
        """Set A1111 options for the worker's life; a job under translation keeps its own."""
        with self._lock:
            self.a1111 = {**self.a1111, **changes}

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
