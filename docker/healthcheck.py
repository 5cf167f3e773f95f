"""The container's HEALTHCHECK: exit 0 while ComfyUI answers, else 1. Only the standard library.

With PORT_HEALTH it asks the worker, which also knows whether its warm-up is done.
"""

import os
import sys
import urllib.error
import urllib.request

_TIMEOUT_S = 8


def url() -> str:
    """What is asked: the worker's /ping, or ComfyUI itself."""
    port = os.environ.get("PORT_HEALTH", "0")
    if port not in ("", "0"):
        return f"http://127.0.0.1:{port}/ping"
    return f"http://127.0.0.1:{os.environ.get('COMFYUI_PORT') or 8188}/system_stats"


def main() -> int:
    try:
        with urllib.request.urlopen(url(), timeout=_TIMEOUT_S) as answer:
            return int(answer.status != 200)
    except (urllib.error.URLError, OSError):
        return 1


if __name__ == "__main__":
    sys.exit(main())
