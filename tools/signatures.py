"""Bundle the node signatures of a running ComfyUI: one command for a new version.

python -m tools.signatures --url http://127.0.0.1:8188

The server must have the packs of custom_nodes.txt. What is left to do by hand is in docs/adding.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.install_packs import read
from translator.__main__ import main as translator
from translator.comfy.catalog import VERSIONS
from worker.comfyui.http import ComfyApi

ROOT = Path(__file__).parents[1]
_TIMEOUT_S = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", required=True, help="of the ComfyUI")
    url = parser.parse_args(arguments).url.rstrip("/")
    api = ComfyApi(url, _TIMEOUT_S)
    version = str(api.get("/system_stats")["system"]["comfyui_version"])
    api.close()
    table = ROOT / "translator" / "tables" / f"signatures-{version}.json"
    packs = read((ROOT / "custom_nodes.txt").read_text("utf-8").splitlines())
    folders = [pack.folder for pack in packs]
    status = translator(["capture", "--url", url, "--out", str(table), "--packs", *folders])
    print(f"{table.relative_to(ROOT)}: written")
    if version not in VERSIONS:
        print(f"add {version!r} to VERSIONS in translator/comfy/catalog.py, then run make test")
    return status


if __name__ == "__main__":
    sys.exit(main())
