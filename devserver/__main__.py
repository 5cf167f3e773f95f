"""``python -m devserver --port 8188``: a development ComfyUI until it is interrupted."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
from dataclasses import fields
from pathlib import Path

from devserver.dialect import DIALECTS, OLDEST
from devserver.server import DevServer
from devserver.settings import Durations, Settings, default_models


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    options = _parser().parse_args(arguments)
    durations = Durations(**{f.name: getattr(options, f.name) for f in fields(Durations)})
    models = default_models()
    if options.models is not None:
        models = json.loads(options.models.read_text("utf-8"))
    settings = Settings(
        version=options.comfyui,
        models=models,
        missing=frozenset(options.missing),
        durations=durations,
        previews=options.previews,
        pictures=options.pictures,
        metadata=not options.disable_metadata,
    )
    server = DevServer(settings, root=options.root, host=options.listen, port=options.port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with server, contextlib.suppress(KeyboardInterrupt):
        print(f"development ComfyUI on {server.url}", flush=True)
        server.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("devserver", description=__doc__)
    add = parser.add_argument
    add("--listen", default="127.0.0.1", metavar="HOST")
    add("--port", type=int, default=8188)
    add("--root", type=Path, help="folder for input, output and temp; default: a temporary one")
    add("--comfyui", choices=tuple(DIALECTS), default=OLDEST, help="the version it answers as")
    add("--models", type=Path, metavar="FILE", help="JSON object: model folder -> file names")
    add("--missing", action="append", default=[], metavar="PACK_OR_NODE")
    add("--previews", action="store_true", help="send sampling previews")
    add("--pictures", choices=("label", "photo"), default="label")
    add("--disable-metadata", action="store_true", help="do not write the graph into PNGs")
    for field in fields(Durations):
        flag = "--speed" if field.name == "speed" else f"--{field.name}-seconds"
        add(flag, dest=field.name, type=float, default=field.default, metavar="S")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
