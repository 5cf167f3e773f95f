"""What the page of the server shows of a request; no route of A1111's."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from translator import TXT2IMG, page
from worker.errors import RequestError
from worker.routes.call import Answerer, Call

_SEEDS = 4294967294
"""A1111 draws seeds below this."""


def _view(call: Call) -> Any:
    asked = call.payload
    endpoint = asked.get("endpoint", TXT2IMG)
    if not isinstance(endpoint, str):
        raise RequestError("endpoint: a text is expected", f"{TXT2IMG} is the usual one")
    options = call.resources.options.for_request(
        asked.get("options"),
        labels_frames=False,
        draw_seed=lambda: random.randrange(_SEEDS),
        now=datetime.now(),
    )
    kept = replace(options, image_output="save")  # what is downloaded runs in ComfyUI's editor
    return page.view(asked.get("payload"), endpoint, call.catalog, kept)


POST: Mapping[str, Answerer] = {"page/view": _view}
