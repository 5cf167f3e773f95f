"""Routes that cannot be answered here, and why."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from worker.errors import RequestError
from worker.routes.call import Call, Endpoint

_NO_TRAINING = "this worker trains nothing"
_NO_PROCESS = "RunPod starts and ends workers"

REFUSED: Mapping[tuple[str, str], str] = {
    ("POST", "sdapi/v1/create/embedding"): _NO_TRAINING,
    ("POST", "sdapi/v1/create/hypernetwork"): _NO_TRAINING,
    ("POST", "sdapi/v1/train/embedding"): _NO_TRAINING,
    ("POST", "sdapi/v1/train/hypernetwork"): _NO_TRAINING,
    ("POST", "sdapi/v1/server-kill"): _NO_PROCESS,
    ("POST", "sdapi/v1/server-restart"): _NO_PROCESS,
    ("POST", "sdapi/v1/server-stop"): _NO_PROCESS,
    ("POST", "controlnet/txt2img"): "the extension removed it; send the units with txt2img",
    ("POST", "controlnet/img2img"): "the extension removed it; send the units with img2img",
}
"""Routes of A1111, its extension and runpod-worker-a1111 that cannot be answered -> why."""


async def _refused(path: str, why: str, call: Call) -> Any:
    raise RequestError(f"api.endpoint: {path} cannot be answered by this worker: {why}")


ENDPOINTS: Mapping[tuple[str, str], Endpoint] = {
    (method, path): partial(_refused, path, why) for (method, path), why in REFUSED.items()
}
