"""RunPod's API for callers of one endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from runpod.endpoint.runner import RunPodClient
from urllib3.util import Retry

BASE_URL = "https://api.runpod.ai/v2"
AT_ONCE = 100
"""Jobs sent together: RunPod's own queue hands them to as many workers as there are."""

_SUBMIT_S = 60
_STATUS_S = 30
_WHOLE_JOB_S = 3600
"""For RunPod's local server, whose status answers when the job is done."""


class EndpointFault(Exception):
    """RunPod answers nothing that makes sense."""


class _WrongMethod(EndpointFault):
    """The server takes another method for this path."""


class Endpoint:
    """RunPod's API for one endpoint, by the ``runpod`` package's client. Blocks.

    Args:
        name: the endpoint's id, or the URL under which ``run`` and ``status`` lie.
    """

    def __init__(self, name: str, key: str) -> None:
        self._client = RunPodClient(key or "none")
        again = Retry(connect=2, read=0, status=2, backoff_factor=0.2, status_forcelist=[429])
        adapter = HTTPAdapter(max_retries=again, pool_maxsize=AT_ONCE)
        for scheme in ("http://", "https://"):
            self._client.rp_session.mount(scheme, adapter)
        is_url = name.startswith(("http://", "https://"))
        self._client.endpoint_url_base = name.rstrip("/") if is_url else f"{BASE_URL}/{name}"

    def run(self, job_input: Mapping[str, Any], *, sync: bool) -> dict[str, Any]:
        """Submit a job; with `sync` RunPod waits for its end for a while.

        Raises:
            EndpointFault: it was not taken.
        """
        path = "runsync" if sync else "run"
        return self._told(partial(self._client.post, path, {"input": job_input}, _SUBMIT_S * 3))

    def status(self, job_id: str) -> dict[str, Any]:
        """How a job stands.

        Raises:
            EndpointFault: no sensible answer.
        """
        try:
            return self._told(partial(self._client.get, f"status/{job_id}", _STATUS_S))
        except _WrongMethod:  # RunPod's local server
            return self._told(partial(self._client.post, f"status/{job_id}", {}, _WHOLE_JOB_S))

    def cancel(self, job_id: str) -> None:
        self._told(partial(self._client.post, f"cancel/{job_id}", {}, _STATUS_S))

    def health(self) -> dict[str, Any]:
        return self._told(partial(self._client.get, "health", _STATUS_S))

    @staticmethod
    def _told(ask: Callable[[], Any]) -> dict[str, Any]:
        try:
            told = ask()
        except requests.HTTPError as error:
            status = error.response.status_code
            if status == 405:
                raise _WrongMethod(f"RunPod answered {status}") from error
            raise EndpointFault(f"RunPod answered {status}") from error
        except (requests.RequestException, RuntimeError, ValueError) as error:
            reason = str(error) if isinstance(error, RuntimeError) else type(error).__name__
            raise EndpointFault(f"RunPod cannot be asked: {reason}") from error
        if not isinstance(told, dict):
            raise EndpointFault("RunPod answered something that makes no sense")
        return told
