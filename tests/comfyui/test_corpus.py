"""Every request of the corpus passes the validation of a real ComfyUI.

The server sees an empty file for each model that the corpus names: validation opens none. What it
then begins to execute is taken from its queue at once, and fails at the first loader anyway.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.comfyui import models
from tests.comfyui.conftest import Serve
from tests.comfyui.exchange import Client
from tests.comfyui.server import A1111_LAYOUT
from tests.corpus import Case, cases, model_files
from translator import Catalog, TranslationError

FIDELITIES = ("exact", "core")

NETWORK_FOLDERS = {"oneformer": "config.json"}
"""Model folder whose networks are folders -> the file by which one is told."""


def empty_models(root: Path) -> Path:
    """An A1111 root with an empty file for every model of the corpus."""
    shutil.rmtree(root, ignore_errors=True)
    for folder, name in model_files():
        path = root / A1111_LAYOUT[folder][0] / name / NETWORK_FOLDERS.get(folder, "")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.fixture(scope="module")
def client(serve: Serve) -> Iterator[Client]:
    with serve("corpus", empty_models(models.CACHE / "corpus-models")) as server:
        yield Client(server.url)


@pytest.fixture(scope="module")
def catalog(client: Client) -> Catalog:
    embeddings = client.get("/models/embeddings")
    return Catalog.from_object_info(
        client.get("/object_info"), extra_folders={"embeddings": embeddings}
    )


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_the_server_accepts_it(client: Client, catalog: Catalog, case: Case, fidelity: str) -> None:
    try:
        translation = case.translate(fidelity, catalog)
    except TranslationError:
        classes = {node["class_type"] for node in case.translate(fidelity).graph.values()}
        if catalog.has(*classes):
            raise
        pytest.skip(f"this ComfyUI has no {', '.join(sorted(classes - catalog.nodes.keys()))}")
    for upload in translation.uploads:
        client.upload(upload.name, base64.b64decode(upload.data))
    try:
        reply = client.post("/prompt", {"prompt": translation.graph})
        assert reply.status_code == 200, reply.text[:2000]
        assert reply.json()["node_errors"] == {}
    finally:
        client.post("/queue", {"clear": True})
        client.post("/interrupt", {})
