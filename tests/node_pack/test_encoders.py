"""Picture files as the node pack writes them, read back by Pillow."""

from __future__ import annotations

import base64
import io
import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("torch")

from PIL import Image  # noqa: E402

from custom_nodes.comfyui_a1111.maths import encoders  # noqa: E402
from worker.pictures import metadata, png_info  # noqa: E402


def noise(height: int, width: int, channels: int = 3) -> Any:
    return np.random.default_rng(1).integers(0, 256, (height, width, channels), np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (64, 48), (33, 129)])
@pytest.mark.parametrize(("channels", "mode"), [(3, "RGB"), (4, "RGBA")])
def test_png_keeps_every_pixel(size: tuple[int, int], channels: int, mode: str) -> None:
    pixels = noise(*size, channels)
    with Image.open(io.BytesIO(encoders.encode_png(pixels, {}))) as image:
        assert image.mode == mode
        assert (np.asarray(image) == pixels).all()


@pytest.mark.parametrize("text", ["a cat\nSteps: 20", "naïve", "桜 🎨", ""])
def test_texts_are_those_that_pillow_reads(text: str) -> None:
    file = encoders.encode(noise(8, 8), "png", 80, text)
    with Image.open(io.BytesIO(file)) as image:
        image.load()
        assert image.text == {"parameters": text}
    assert file.startswith(metadata.PNG_SIGNATURE)
    assert encoders.text_chunk("parameters", text) == metadata.text_chunk("parameters", text)


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_exif_is_that_of_the_worker(kind: str) -> None:
    exif = base64.b64encode(metadata.exif_user_comment("桜 Steps: 20")).decode()
    file = encoders.encode(noise(16, 16), kind, 90, exif)
    assert png_info.read_info(file)[0] == "桜 Steps: 20"


def test_zlib_takes_the_place_of_isal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    encoders._deflate.cache_clear()
    pixels = noise(20, 30)
    with Image.open(io.BytesIO(encoders.encode_png(pixels, {}))) as image:
        assert (np.asarray(image) == pixels).all()
    encoders._deflate.cache_clear()


class Server:
    """ComfyUI's server, as far as the node uses it."""

    client_id, last_prompt_id = "client", "prompt"

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes, str]] = []

    def send_sync(self, event: int, data: bytes, client: str) -> None:
        self.sent.append((event, data, client))


def test_the_node_announces_its_files_and_sends_them_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    from custom_nodes.comfyui_a1111.nodes import output

    server = Server()
    module = SimpleNamespace(PromptServer=SimpleNamespace(instance=server))
    monkeypatch.setitem(sys.modules, "server", module)
    images = torch.rand(3, 8, 8, 3)
    texts = '["one", null]'
    said = output.A1111ImageFrames().send(images, "png", 80, texts, node_id="9")
    assert said == {"ui": {"a1111_frames": [3]}}
    output._pool.submit(int).result()
    while len(server.sent) < 3:
        pass
    found = {}
    for event, data, client in server.sent:
        assert (event, client) == (output.FRAME_EVENT, "client")
        length = int.from_bytes(data[:4], "big")
        label = json.loads(data[4 : 4 + length])
        with Image.open(io.BytesIO(data[4 + length :])) as image:
            image.load()
            found[label["index"]] = (np.asarray(image), image.text.get("parameters"))
    assert [found[index][1] for index in range(3)] == ["one", None, None]
    wanted = (images * 255).numpy().astype(np.uint8)
    assert all((found[index][0] == wanted[index]).all() for index in range(3))


def test_a_picture_that_cannot_be_written_says_so() -> None:
    torch = pytest.importorskip("torch")
    from custom_nodes.comfyui_a1111.nodes import output

    frame = output.Frame(torch.zeros(1, 20000, 3), "webp", 80, None, {"index": 0})
    data = output.message(frame)
    assert b'"error"' in data
    assert data[4 + int.from_bytes(data[:4], "big") :] == b""
