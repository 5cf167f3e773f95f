"""``python -m server``: A1111's HTTP API on 127.0.0.1:7860."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import uvicorn

from server.app import create_app
from server.backend import Backend
from server.flags import Flags, parse, settings_of
from server.local import LocalBackend
from worker.errors import SettingsError
from worker.options import OptionSource
from worker.service import Service
from worker.settings import Settings


def backend_of(flags: Flags, settings: Settings) -> Backend:
    """What the flags say the server stands in front of."""
    if flags.runpod_endpoint:
        # The runpod package is needed here only, and takes a second to import.
        from server.runpod import RunPodBackend
        from server.runpod_api import Endpoint

        return RunPodBackend(Endpoint(flags.runpod_endpoint, flags.runpod_key), settings)
    addresses = flags.backends or (settings.comfyui_url,)
    options = OptionSource(settings)
    return LocalBackend(
        [Service(replace(settings, comfyui_url=address), options) for address in addresses]
    )


def server_of(flags: Flags, settings: Settings) -> uvicorn.Server:
    """A server that is not running yet."""
    holder: list[uvicorn.Server] = []

    def stop() -> None:
        holder[0].should_exit = True

    app = create_app(backend_of(flags, settings), flags, stop)
    config = uvicorn.Config(
        app,
        host=flags.host,
        port=flags.port,
        timeout_keep_alive=flags.keep_alive_s,
        ssl_keyfile=flags.tls_key,
        ssl_certfile=flags.tls_certificate,
        log_level=settings.log_level,
        access_log=settings.log_level == "debug",
    )
    holder.append(uvicorn.Server(config))
    return holder[0]


def main(arguments: Sequence[str] | None = None) -> None:
    flags = parse(arguments)
    try:
        settings = settings_of(flags)
    except SettingsError as error:
        sys.exit(f"server: {error}")
    server_of(flags, settings).run()


if __name__ == "__main__":
    main()
