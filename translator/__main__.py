"""The command line: a request in, a graph out. The one place of the package with side effects."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from translator import TXT2IMG, Catalog, Options, TranslationError, page, translate
from translator.comfy.capture import signature_file
from translator.explain import explain
from translator.options import DEFAULT_CHECKPOINT, REQUEST_OPTIONS, Defaults, Fidelity, Style
from translator.report import Problem, Unsupported, show
from translator.request.styles import StylesError, read_styles

BAD_REQUEST = 2
_OBJECT_INFO = "/object_info"
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
    parser.add_argument(
        "--explain",
        action="store_true",
        help="print what becomes of the request as text for people, one line a node",
    )
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="write it as a page to look at, which stands for itself without a network",
    )
    parser.add_argument("--unsupported", choices=get_args(Unsupported))
    parser.add_argument("--fidelity", choices=get_args(Fidelity))
    parser.add_argument("--defaults", choices=get_args(Defaults))
    parser.add_argument("--default-checkpoint", metavar="FILE", help=DEFAULT_CHECKPOINT)
    parser.add_argument("--styles", type=Path, metavar="CSV", help="A1111's styles.csv")
    parser.add_argument(
        "--a1111-options",
        "--settings",
        type=Path,
        metavar="JSON",
        help="A1111's options, such as its config.json",
    )
    parser.add_argument(
        "--object-info",
        metavar="FILE_OR_URL",
        help="what a ComfyUI has: its /object_info as a file, or its address",
    )
    return parser


def _translate(arguments: argparse.Namespace) -> int:
    payload, told, requested = unwrap(_read_json(arguments.request, "request"))
    endpoint, catalog = arguments.endpoint or told or TXT2IMG, _catalog(arguments.object_info)
    options = _options(arguments, requested)
    if arguments.html is not None:
        _write_page(arguments.html, payload, endpoint, catalog, options, requested)
    translation = translate(payload, endpoint, catalog, options=options)
    if arguments.explain:
        print(explain(translation, catalog or Catalog.bundled()), end="")
        return 0
    for warning in translation.warning_texts:
        print(f"warning: {warning}", file=sys.stderr)
    printed = translation.to_json() if arguments.full else translation.graph
    json.dump(printed, sys.stdout, indent=2)
    print()
    return 0


def _write_page(
    file: Path,
    payload: Any,
    endpoint: str,
    catalog: Catalog | None,
    options: Options,
    requested: Mapping[str, Any],
) -> None:
    """Write the page of a request, the refused ones too."""
    job = {"endpoint": endpoint, "payload": payload, "options": dict(requested)}
    shown = page.view(payload, endpoint, catalog, options)
    try:
        file.write_text(page.html({**shown, "job": job}), "utf-8")
    except OSError as error:
        raise TranslationError(
            [Problem("--html", f"{file} cannot be written: {error.strerror}")]
        ) from None
    print(f"written: {file}", file=sys.stderr)


def _options(arguments: argparse.Namespace, requested: Mapping[str, Any]) -> Options:
    """The request's own options, under those of the command line."""
    options: dict[str, Any] = {
        "draw_seed": lambda: secrets.randbelow(_SEEDS),
        "now": datetime.now(),
        **requested,
    }
    for name in ("unsupported", "fidelity", "defaults", "default_checkpoint"):
        if getattr(arguments, name) is not None:
            options[name] = getattr(arguments, name)
    if arguments.styles is not None:
        options["styles"] = _styles(arguments.styles)
    if arguments.a1111_options is not None:
        options["a1111_options"] = _read_object(str(arguments.a1111_options), "--settings")
    return Options.of(options)


def _styles(file: Path) -> Mapping[str, Style]:
    try:
        return read_styles(_read_text(file, "--styles"))
    except StylesError as error:
        raise _unreadable("--styles", file, str(error)) from None


def unwrap(request: Any) -> tuple[Any, str | None, Mapping[str, Any]]:
    """Payload, endpoint (None where it is not said) and options of a job, an input or a payload."""
    if not isinstance(request, Mapping):
        return request, None, {}
    content = request.get("input", request)
    if isinstance(content, Mapping) and "workflow" in content:
        message = "a workflow is a ComfyUI graph already: there is nothing to translate"
        raise TranslationError([Problem("workflow", message)])
    if not isinstance(content, Mapping) or "payload" not in content:
        return content, None, {}
    api = content.get("api")
    endpoint = api.get("endpoint") if isinstance(api, Mapping) else None
    return content["payload"], endpoint, _wishes(content.get("options"))


def _wishes(options: Any) -> Mapping[str, Any]:
    """``input.options``, or nothing where it is absent."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise TranslationError([Problem("options", f"{show(options)} is not an object", options)])
    known = ", ".join(REQUEST_OPTIONS)
    problems = [
        Problem(f"options.{name}", f"unknown option; there are {known}")
        for name in options
        if name not in REQUEST_OPTIONS
    ]
    if problems:
        raise TranslationError(problems)
    return options


def _catalog(source: str | None) -> Catalog | None:
    if source is None:
        return None
    path = "--object-info"
    if _is_url(source) and urlsplit(source).path in ("", "/"):
        source = source.rstrip("/") + _OBJECT_INFO
    document = _read_object(source, path)
    try:
        return Catalog.from_object_info(document, extra_folders=_embeddings(source))
    except (AttributeError, IndexError, KeyError, TypeError):
        raise _unreadable(path, source, "it is not an object of node classes") from None


def _embeddings(source: str) -> Mapping[str, Sequence[str]]:
    """The server's embeddings, which no node lists; none where its object_info came as a file."""
    if not (_is_url(source) and source.endswith(_OBJECT_INFO)):
        return {}
    url = source.removesuffix(_OBJECT_INFO) + "/embeddings"
    try:
        return {"embeddings": _read_json(url, "--object-info")}
    except TranslationError as error:
        print(f"warning: no embeddings are known: {error}", file=sys.stderr)
        return {}


def _read_object(source: str, path: str) -> Mapping[str, Any]:
    document = _read_json(source, path)
    if not isinstance(document, Mapping):
        raise _unreadable(path, source, "it is not a JSON object")
    return document


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _read_json(source: str, path: str) -> Any:
    text = _read_text(source, path)
    try:
        return json.loads(text)
    except ValueError as error:
        raise _unreadable(path, source, f"it is not JSON: {error}") from None


def _read_text(source: str | Path, path: str) -> str:
    try:
        if source == "-":
            return sys.stdin.buffer.read().decode("utf-8")
        if _is_url(str(source)):
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
        _read_object(f"{url}/object_info", "--url"),
        _read_object(f"{url}/system_stats", "--url"),
        arguments.packs,
    )
    if arguments.out is None:
        sys.stdout.write(text)
    else:
        arguments.out.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
