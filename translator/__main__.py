"""The command line: a request in, a graph out. The one place of the package with side effects."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from translator import TXT2IMG, Catalog, Options, Translation, TranslationError, translate
from translator.capture import signature_file
from translator.errors import Problem, Unsupported
from translator.options import DEFAULT_CHECKPOINT, Defaults, Fidelity
from translator.styles import read_styles

BAD_REQUEST = 2
_TIMEOUT_S = 30
_SEEDS = 4294967294


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, or 2 for a request that cannot be translated."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["capture"]:
            return _capture(_capture_parser().parse_args(words[1:]))
        return _translate(_translate_parser().parse_args(words))
    except TranslationError as error:
        print(error, file=sys.stderr)
        return BAD_REQUEST


def _translate_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m translator",
        description="Translate an A1111 request into a ComfyUI graph (API format) on stdout.",
        epilog='"python -m translator capture --help" tells how to read a server\'s signatures.',
    )
    parser.add_argument(
        "request", help='a RunPod job, its "input", or a bare payload, as a JSON file; - is stdin'
    )
    parser.add_argument("--endpoint", default=None, help=f"of a bare payload (default {TXT2IMG})")
    parser.add_argument(
        "--full",
        action="store_true",
        help="print graph, outputs, uploads, info, parameters and warnings as one object",
    )
    parser.add_argument("--unsupported", choices=get_args(Unsupported))
    parser.add_argument("--fidelity", choices=get_args(Fidelity))
    parser.add_argument("--defaults", choices=get_args(Defaults))
    parser.add_argument("--default-checkpoint", metavar="FILE", help=DEFAULT_CHECKPOINT)
    parser.add_argument("--styles", type=Path, metavar="CSV", help="A1111's styles.csv")
    parser.add_argument(
        "--settings", type=Path, metavar="JSON", help="A1111's options, such as its config.json"
    )
    parser.add_argument(
        "--object-info", metavar="FILE_OR_URL", help="what a ComfyUI has: its /object_info"
    )
    return parser


def _translate(arguments: argparse.Namespace) -> int:
    request = _read_json(arguments.request, "request")
    payload, endpoint, wishes = unwrap(request)
    options: dict[str, Any] = {
        "draw_seed": lambda: secrets.randbelow(_SEEDS),
        "now": datetime.now(),
        **wishes,
    }
    for name in ("unsupported", "fidelity", "defaults", "default_checkpoint"):
        if getattr(arguments, name) is not None:
            options[name] = getattr(arguments, name)
    if arguments.styles is not None:
        options["styles"] = read_styles(_read_text(arguments.styles, "--styles"))
    if arguments.settings is not None:
        options["settings"] = _read_json(str(arguments.settings), "--settings")
    translation = translate(
        payload,
        arguments.endpoint or endpoint or TXT2IMG,
        _catalog(arguments.object_info),
        options=Options.of(options),
    )
    for warning in translation.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    printed = _members(translation) if arguments.full else translation.graph
    json.dump(printed, sys.stdout, ensure_ascii=False, indent=2)
    print()
    return 0


def unwrap(request: Any) -> tuple[Any, str | None, Mapping[str, Any]]:
    """Payload, endpoint (None where it is not said) and options of a job, an input or a payload."""
    if not isinstance(request, Mapping):
        return request, None, {}
    content = request.get("input", request)
    if not isinstance(content, Mapping) or "payload" not in content:
        return content, None, {}
    api = content.get("api")
    endpoint = api.get("endpoint") if isinstance(api, Mapping) else None
    options = content.get("options")
    return content["payload"], endpoint, options if isinstance(options, Mapping) else {}


def _members(translation: Translation) -> dict[str, Any]:
    """The six members that ``--full`` prints."""
    members = asdict(translation)
    del members["answer"]
    return members


def _catalog(source: str | None) -> Catalog | None:
    if source is None:
        return None
    return Catalog.from_object_info(_object_info(source, "--object-info"))


def _object_info(source: str, path: str) -> Mapping[str, Any]:
    document = _read_json(source, path)
    if not isinstance(document, Mapping):
        raise _unreadable(path, source, "it is not an object of node classes")
    return document


def _read_json(source: str, path: str) -> Any:
    text = _read_text(source, path)
    try:
        return json.loads(text)
    except ValueError as error:
        raise _unreadable(path, source, f"it is not JSON: {error}") from None


def _read_text(source: str | Path, path: str) -> str:
    try:
        if source == "-":
            return sys.stdin.read()
        if str(source).startswith(("http://", "https://")):
            with urllib.request.urlopen(str(source), timeout=_TIMEOUT_S) as answer:
                text: str = answer.read().decode("utf-8")
                return text
        return Path(source).read_text("utf-8")
    except (OSError, UnicodeDecodeError, urllib.error.URLError) as error:
        raise _unreadable(path, source, str(error)) from None


def _unreadable(path: str, source: object, why: str) -> TranslationError:
    return TranslationError([Problem(path, f"{source} cannot be read: {why}")])


def _capture_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m translator capture",
        description="Write the node signatures of a running ComfyUI: structural facts only.",
    )
    parser.add_argument("--url", required=True, help="of the ComfyUI, http://127.0.0.1:8188")
    parser.add_argument("--out", type=Path, help="the file; stdout without it")
    parser.add_argument(
        "--packs",
        nargs="*",
        metavar="PACK",
        help="keep these node packs beside the core (folder names); all without it",
    )
    return parser


def _capture(arguments: argparse.Namespace) -> int:
    url = arguments.url.rstrip("/")
    text = signature_file(
        _object_info(f"{url}/object_info", "--url"),
        _object_info(f"{url}/system_stats", "--url"),
        arguments.packs,
    )
    if arguments.out is None:
        sys.stdout.write(text)
    else:
        arguments.out.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
