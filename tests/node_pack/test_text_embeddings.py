"""Reading textual inversion files."""

from __future__ import annotations

import base64
import json
import logging
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from PIL import Image, PngImagePlugin  # noqa: E402

from custom_nodes.comfyui_a1111.maths import embeddings  # noqa: E402

pytestmark = pytest.mark.torch


def vectors(count: int, width: int = 768) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(count))


def load(path: Path) -> embeddings.Embedding:
    embedding = embeddings.load_embedding(path)
    assert embedding is not None
    return embedding


def test_a1111s_own_form(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    torch.save({"string_to_param": {"*": vectors(3)}, "name": "other", "step": 5}, path)
    embedding = load(path)
    assert (embedding.name, embedding.length, embedding.width) == ("mine", 3, 768)
    assert torch.equal(embedding.for_encoder("l"), vectors(3))


def test_old_files_hold_a_parameter_dict(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save({"string_to_param": torch.nn.ParameterDict({"*": vectors(2)})}, path)
    assert torch.equal(load(path).for_encoder("l"), vectors(2))


def test_diffusers_concepts_may_be_one_vector(tmp_path: Path) -> None:
    path = tmp_path / "concept.bin"
    torch.save({"<concept>": vectors(1)[0].half()}, path)
    embedding = load(path)
    assert embedding.length == 1
    assert embedding.for_encoder("l").dtype == torch.float32


def test_sdxl_has_vectors_for_both_encoders(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    path = tmp_path / "xl.safetensors"
    save_file({"clip_l": vectors(4), "clip_g": vectors(4, 1280)}, path)
    embedding = load(path)
    assert (embedding.length, embedding.width) == (4, 2048)
    assert torch.equal(embedding.for_encoder("g"), vectors(4, 1280))


@pytest.mark.parametrize(
    "data", [{"a": vectors(1), "b": vectors(1)}, {"words": ["no", "tensor"]}, {}]
)
def test_other_content_is_refused(tmp_path: Path, data: dict[str, Any]) -> None:
    path = tmp_path / "bad.pt"
    torch.save(data, path)
    with pytest.raises(embeddings.EmbeddingError):
        embeddings.load_embedding(path)


def json_form(name: str, tensor: torch.Tensor) -> bytes:
    values = {"TORCHTENSOR": tensor.tolist()}
    return json.dumps({"name": name, "string_to_param": {"*": values}}).encode()


def test_a_png_may_carry_one_in_its_text(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    payload = json_form("named", vectors(1, 4))
    info.add_text(embeddings.TEXT_CHUNK, base64.b64encode(payload).decode())
    path = tmp_path / "picture.png"
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    embedding = load(path)
    assert embedding.name == "named"
    assert torch.allclose(embedding.for_encoder("l"), vectors(1, 4))


def hide_in_pixels(payload: bytes) -> Image.Image:
    """A1111's picture form: scrambled low nibbles, picture, scrambled high nibbles."""
    data = np.frombuffer(zlib.compress(payload), dtype=np.uint8)
    height = 16
    width = -(-data.size // (height * 3))
    padded = np.zeros(height * width * 3, dtype=np.uint8)
    padded[: data.size] = data
    block = padded.reshape(height, width, 3)
    lower, upper = (
        embeddings._unscramble(nibbles).astype(np.uint8) | 0x40
        for nibbles in (block & 0x0F, block >> 4)
    )
    middle = np.full((height, 6, 3), 0x30, dtype=np.uint8)
    return Image.fromarray(np.concatenate([lower, middle, upper], axis=1))


def test_a_png_may_hide_one_in_its_pixels(tmp_path: Path) -> None:
    path = tmp_path / "hidden.png"
    framed = Image.new("RGB", (400, 40))
    hidden = hide_in_pixels(json_form("hidden one", vectors(2, 8)))
    framed.paste(hidden, (5, 7))
    framed.save(path)
    embedding = load(path)
    assert embedding.name == "hidden one"
    assert torch.allclose(embedding.for_encoder("l"), vectors(2, 8))


def test_plain_pictures_carry_none(tmp_path: Path) -> None:
    for name, image in (
        ("black", Image.new("RGB", (9, 9))),
        ("noise", Image.fromarray(np.random.default_rng(0).integers(1, 255, (9, 9, 3), np.uint8))),
    ):
        image.save(tmp_path / f"{name}.png")
        assert embeddings.load_embedding(tmp_path / f"{name}.png") is None


def test_folders_are_walked_and_misfits_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    below = tmp_path / "style" / "deep"
    below.mkdir(parents=True)
    torch.save({"*": vectors(2)}, below / "good.pt")
    torch.save({"*": vectors(2, 1024)}, below / "sd2.pt")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "broken.pt").write_bytes(b"no archive")
    (tmp_path / "notes.txt").write_text("no embedding")
    Image.new("RGB", (8, 8)).save(tmp_path / "good.preview.png")
    with caplog.at_level(logging.WARNING):
        found = embeddings.find_embeddings([tmp_path], 768)
    assert [embedding.name for embedding in found] == ["good"]
    assert "broken.pt" in caplog.text
    assert embeddings.find_embeddings([tmp_path / "missing"], 768) == []


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    torch.save({"*": vectors(1)}, path)
    before = embeddings.fingerprint([tmp_path])
    assert embeddings.find_embeddings([tmp_path], 768)[0].length == 1
    torch.save({"*": vectors(5)}, path)
    os.utime(path, ns=(1, 1))
    assert embeddings.fingerprint([tmp_path]) != before
    assert embeddings.find_embeddings([tmp_path], 768)[0].length == 5
