"""``make demo-server``: A1111's API on a ComfyUI, or on a development server that draws labels."""

from __future__ import annotations

import os
import subprocess
import sys

from tools.demo import comfyui

_ASK = """
ask it from another shell:
  curl -s http://127.0.0.1:7860/sdapi/v1/txt2img -d '{"prompt": "a lighthouse", "steps": 20}' \\
    | python3 -c 'import base64, json, sys; sys.stdout.buffer.write(
        base64.b64decode(json.load(sys.stdin)["images"][0]))' > lighthouse.png
its documentation: http://127.0.0.1:7860/docs (Ctrl+C ends it)
"""


def main() -> int:
    with comfyui() as url:
        print(_ASK, flush=True)
        environment = {**os.environ, "COMFYUI_URL": url}
        try:
            return subprocess.run([sys.executable, "-m", "server"], env=environment).returncode
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
