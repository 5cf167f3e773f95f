"""What this worker can serve and what is missing, as a job: what the doctor says, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker.doctor.checks import examine
from worker.doctor.report import as_json
from worker.routes.call import Answerer, Call


def _doctor(call: Call) -> Any:
    stats = call.resources.comfy.api.get("/system_stats")
    version = (stats.get("system") or {}).get("comfyui_version")
    roots = call.resources.settings.model_roots
    return as_json(examine(roots, call.catalog.nodes.keys(), version))


GET: Mapping[str, Answerer] = {"worker/doctor": _doctor}
"""Path -> what answers it. Not a route of A1111's."""
