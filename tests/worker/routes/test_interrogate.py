"""POST /sdapi/v1/interrogate through the worker and the development server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devserver import DevServer
from tests.captioning import NODES, documents
from tests.corpus import picture
from tests.worker.conftest import Worker

ROUTE = {"method": "POST", "endpoint": "/sdapi/v1/interrogate"}


@pytest.fixture(scope="module")
def teller() -> Iterator[Worker]:
    with DevServer(signatures=documents(NODES)) as server:
        worker = Worker(server)
        yield worker
        worker.close()


async def test_a_caption_is_what_blip_tells(teller: Worker) -> None:
    job = {"api": ROUTE, "payload": {"image": picture("photo.jpg")}}
    answer = await teller.run(job)
    assert answer["caption"] == "a picture 640 pixels wide"
    assert any("BLIP's alone" in text for text in answer["warnings"])
    again = await teller.run(job, "job-2")
    assert again["caption"] == answer["caption"]  # answered from ComfyUI's cache


async def test_tags_are_a1111s(teller: Worker) -> None:
    payload = {"image": picture("photo.jpg"), "model": "deepdanbooru"}
    answer = await teller.run({"api": ROUTE, "payload": payload})
    assert answer["caption"] == r"1girl, 640px, long hair, saber \(fate\)"


async def test_without_the_nodes_it_says_what_to_install() -> None:
    with DevServer() as server:
        worker = Worker(server)
        payload = {"image": picture("photo.jpg"), "model": "deepdanbooru"}
        answer = await worker.run({"api": ROUTE, "payload": payload})
        worker.close()
    assert "install the pack ComfyUI-WD14-Tagger (MIT" in answer["error"]
