"""``python -m worker doctor``: what this ComfyUI and this volume can serve, and what is missing.

``python -m worker links``: links from the folders where ComfyUI's packs look into the volume; the
image's start script runs it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from worker.comfyui.http import ComfyApi
from worker.doctor.checks import Examination, examine
from worker.doctor.links import link_all
from worker.doctor.report import as_json, as_text
from worker.errors import ComfyError, SettingsError
from worker.settings import Settings

COMPLETE, LACKING, CANNOT_LOOK = 0, 1, 2
"""Exit codes: everything is there, something is missing, there is nothing to look at."""

_TIMEOUT_S = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = Settings.from_env()
    except SettingsError as error:
        print(f"worker: {error}", file=sys.stderr)
        return CANNOT_LOOK
    roots = [Path(root) for root in options.root] or list(settings.model_roots)
    present = [root for root in roots if root.is_dir()]
    if options.command == "links":
        print(f"{link_all(present, options.base)} files of the volume linked", file=sys.stderr)
        return COMPLETE
    if not present:
        said = ", ".join(map(str, roots)) or "none given"
        print(f"doctor: no folder of models ({said}): set MODEL_ROOTS or --root", file=sys.stderr)
        return CANNOT_LOOK
    examination = _examine(present, settings.comfyui_url if options.url is None else options.url)
    if options.json:
        print(json.dumps(as_json(examination), indent=2))
    else:
        print(as_text(examination))
    return COMPLETE if examination.is_complete else LACKING


def _examine(roots: Sequence[Path], url: str) -> Examination:
    """Look at the volume, and at the ComfyUI at `url` if it answers."""
    if not url:
        return examine(roots)
    api = ComfyApi(url, _TIMEOUT_S)
    try:
        version = api.get("/system_stats")["system"]["comfyui_version"]
        return examine(roots, api.get("/object_info").keys(), version)
    except (ComfyError, KeyError, TypeError, AttributeError):
        return examine(roots)
    finally:
        api.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    doctor = commands.add_parser("doctor", help="what can be served, and what is missing")
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.add_argument("--url", help="of the ComfyUI (default COMFYUI_URL); '' looks at none")
    links = commands.add_parser("links", help="link the volume's files to where packs look")
    links.add_argument("--base", type=Path, required=True, help="ComfyUI's base directory")
    for command in (doctor, links):
        command.add_argument(
            "--root", action="append", default=[], help="folder of models (default MODEL_ROOTS)"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
