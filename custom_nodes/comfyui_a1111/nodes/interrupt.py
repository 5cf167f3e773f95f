"""POST /a1111/stop: ends the sampling of a prompt as A1111's interrupt and skip do.

ComfyUI's own ``/interrupt`` fails the prompt, and its pictures are lost. Here the pass that runs
ends with what it has reached, and the graph goes on to decode and answer it.
"""

from __future__ import annotations

import sys
from typing import Any

from ..maths.stopping import STOPS, Dropped

ROUTE = "/a1111/stop"


def pass_ends() -> bool:
    """Whether the node that samples now ends its pass.

    Raises ComfyUI's own InterruptProcessingException where it is not to run at all.
    """
    from comfy.model_management import InterruptProcessingException
    from comfy_execution.utils import get_executing_context

    context = get_executing_context()
    if context is None:
        return False
    try:
        return STOPS.ends(context.prompt_id, context.node_id)
    except Dropped:
        raise InterruptProcessingException from None


def add_route() -> None:
    """Add the route to ComfyUI's server; nothing where there is none (nodes without a server).

    Its body: ``{"prompt_id", "nodes": [ids of the sampling nodes to end], "drop_others": whether
    the prompt ends at any other sampling node}``.
    """
    module = sys.modules.get("server")  # ComfyUI's own, which is running before its packs load
    server = getattr(getattr(module, "PromptServer", None), "instance", None)
    if server is not None:
        server.routes.post(ROUTE)(_stop)


async def _stop(request: Any) -> Any:
    from aiohttp import web

    try:
        body = await request.json()
        prompt_id, nodes = str(body["prompt_id"]), [str(node) for node in body["nodes"]]
    except (KeyError, TypeError, ValueError):
        return web.json_response({"error": "prompt_id and nodes are expected"}, status=400)
    STOPS.ask(prompt_id, nodes, bool(body.get("drop_others")))
    return web.Response()  # as ComfyUI answers its own POSTs
