"""The server's command line: A1111's own flags where they make sense, each also an environment
variable."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from worker.settings import Settings

_PORT = 7860
_LOCAL, _EVERYWHERE = "127.0.0.1", "0.0.0.0"
_RUNPOD = "runpod"

PROFILE: Mapping[str, str] = {
    "UNSUPPORTED": "warn",
    "CONTROLNET_DETECTED_MAPS": "all",
    "IMAGE_URLS": "true",
}
"""Environment of a server where the operator has set nothing: as lenient as A1111 is."""


@dataclass(frozen=True)
class Flags:
    """How the server listens, and what it stands in front of.

    Attributes:
        auth: user -> password of HTTP basic authentication; empty for none.
        subpath: path below which the API is reached, without slashes.
        server_stop: whether the routes that end the process exist.
        options_file: where the A1111 options that are set over the API last.
        backends: addresses of ComfyUI; empty for COMFYUI_URL.
        runpod_endpoint: id or URL of a RunPod endpoint; empty for a local ComfyUI.
    """

    host: str = _LOCAL
    port: int = _PORT
    auth: Mapping[str, str] = field(default_factory=dict)
    cors_origins: tuple[str, ...] = ()
    cors_origin_regex: str | None = None
    subpath: str = ""
    tls_key: str | None = None
    tls_certificate: str | None = None
    keep_alive_s: int = 30
    server_stop: bool = False
    options_file: Path | None = None
    backends: tuple[str, ...] = ()
    runpod_endpoint: str = ""
    runpod_key: str = field(default="", repr=False)


def parse(arguments: Sequence[str] | None, environment: Mapping[str, str] | None = None) -> Flags:
    """Flags from a command line, with the environment for what it leaves out.

    Exits with a usage message at a flag that makes no sense.
    """
    environment = os.environ if environment is None else environment
    parser = _parser(environment)
    given = parser.parse_args(arguments)
    backends = _words(given.backend)
    runpod = backends == (_RUNPOD,)
    if runpod and not given.runpod_endpoint:
        parser.error("--backend runpod needs --runpod-endpoint (or RUNPOD_ENDPOINT_ID)")
    try:
        auth = _auth(given.api_auth)
    except ValueError as error:
        parser.error(f"--api-auth: {error}")
    return Flags(
        host=given.server_name or (_EVERYWHERE if given.listen else _LOCAL),
        port=given.port,
        auth=auth,
        cors_origins=_words(given.cors_allow_origins),
        cors_origin_regex=given.cors_allow_origins_regex or None,
        subpath=given.subpath.strip("/"),
        tls_key=given.tls_keyfile or None,
        tls_certificate=given.tls_certfile or None,
        keep_alive_s=given.timeout_keep_alive,
        server_stop=given.api_server_stop,
        options_file=Path(given.ui_settings_file) if given.ui_settings_file else None,
        backends=() if runpod else backends,
        runpod_endpoint=given.runpod_endpoint if runpod else "",
        runpod_key=environment.get("RUNPOD_API_KEY", ""),
    )


def settings_of(flags: Flags, environment: Mapping[str, str] | None = None) -> Settings:
    """The worker's settings under the server's profile.

    Raises:
        SettingsError: an environment variable that cannot be used.
    """
    environment = os.environ if environment is None else environment
    given = {name: value for name, value in environment.items() if value.strip()}
    settings = Settings.from_env({**PROFILE, **given})
    if settings.comfyui_dir and not settings.model_roots:
        models = settings.comfyui_dir / "models"
        settings = replace(settings, model_roots=(models,) if models.is_dir() else ())
    if settings.health_port == flags.port:
        settings = replace(settings, health_port=0)
    return replace(settings, options_file=flags.options_file or settings.options_file)


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server",
        description="A1111's HTTP API in front of ComfyUI (COMFYUI_URL, COMFYUI_COMMAND) or of a "
        "RunPod endpoint. Every flag is also an environment variable: --api-auth is API_AUTH.",
    )

    def add(flag: str, default: Any, text: str, **how: Any) -> None:
        raw = environment.get(flag.lstrip("-").replace("-", "_").upper(), "").strip()
        if how.get("action") == "store_true":
            default = raw.lower() in ("1", "true", "yes")
        elif raw:
            default = raw  # argparse reads a default that is a text as if it had been given
        parser.add_argument(flag, default=default, help=text, **how)

    add("--port", _PORT, "where the server listens", type=int)
    on_runpod = "PORT" in environment
    add("--listen", False, "listen on every address, not only this machine's", action="store_true")
    add("--server-name", _EVERYWHERE if on_runpod else "", "address to listen on")
    add("--api-auth", "", 'basic authentication: "user:password", several separated by commas')
    add("--cors-allow-origins", "", "origins of browsers, separated by commas; * for all")
    add("--cors-allow-origins-regex", "", "origins of browsers, as a regular expression")
    add("--subpath", "", "path below which a proxy hands on the API")
    add("--tls-keyfile", "", "key of HTTPS")
    add("--tls-certfile", "", "certificate of HTTPS")
    add("--timeout-keep-alive", 30, "seconds that an idle connection is kept", type=int)
    add("--api-server-stop", False, "let the API end the server", action="store_true")
    add("--ui-settings-file", "", "JSON file that keeps the options set over the API")
    add(
        "--backend",
        "",
        "addresses of several ComfyUI, separated by commas, or runpod; empty: COMFYUI_URL",
    )
    runpod_id = environment.get("RUNPOD_ENDPOINT_ID", "")
    add("--runpod-endpoint", runpod_id, "id or URL of the RunPod endpoint (RUNPOD_API_KEY)")
    return parser


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _auth(text: str) -> dict[str, str]:
    users = {}
    for pair in _words(text):
        user, colon, password = pair.partition(":")
        if not colon or not user:
            raise ValueError("user:password is expected")
        users[user] = password
    return users
