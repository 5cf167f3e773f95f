"""Facts of model files: architectures by header, A1111's hashes."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from devserver import DevServer
from tests.worker.conftest import Worker
from worker.models import files as modelfiles
from worker.models.files import HashCache, facts_of, locate


def tensor(*shape: int) -> dict[str, Any]:
    return {"dtype": "F16", "shape": list(shape), "data_offsets": [0, 0]}


def safetensors(file: Path, header: dict[str, Any], data: bytes = b"weights") -> Path:
    text = json.dumps(header).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return file


def test_hashes_are_a1111s(tmp_path: Path) -> None:
    data = bytes(range(256)) * 8192  # 2 MiB
    file = safetensors(tmp_path / "x.safetensors", {"a": tensor(1)}, data)
    whole = file.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    cache = HashCache(None)
    assert cache.compute(file, "sha256") == hashlib.sha256(whole).hexdigest()
    assert cache.compute(file, "tensors") == hashlib.sha256(whole[8 + length :]).hexdigest()
    old = hashlib.sha256(whole[0x100000:0x110000]).hexdigest()[:8]
    assert modelfiles.old_hash(file) == old


def test_the_hash_cache_outlives_the_worker_and_sees_a_changed_file(tmp_path: Path) -> None:
    file = safetensors(tmp_path / "x.safetensors", {})
    kept = tmp_path / "hashes.json"
    value = HashCache(kept).compute(file, "sha256")
    assert HashCache(kept).known(file, "sha256") == value
    file.write_bytes(file.read_bytes() + b"more")
    assert HashCache(kept).known(file, "sha256") is None


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_broken_hash_cache_starts_empty(tmp_path: Path, content: str) -> None:
    kept = tmp_path / "hashes.json"
    kept.write_text(content)
    file = safetensors(tmp_path / "x.safetensors", {})
    assert HashCache(kept).known(file, "sha256") is None


@pytest.mark.parametrize(
    ("folder", "place"),
    [
        ("checkpoints", "models/Stable-diffusion"),
        ("checkpoints", "Stable-diffusion"),
        ("checkpoints", "models/checkpoints"),
        ("loras", "models/Lora"),
        ("vae", "models/VAE"),
        ("embeddings", "embeddings"),
    ],
)
def test_files_are_found_in_both_layouts(tmp_path: Path, folder: str, place: str) -> None:
    file = safetensors(tmp_path / place / "sub" / "x.safetensors", {})
    assert locate([tmp_path / "none", tmp_path], folder, "sub/x.safetensors") == file
    assert locate([tmp_path], folder, "y.safetensors") is None


def test_a_checkpoints_own_configuration_lies_beside_it(tmp_path: Path) -> None:
    file = safetensors(tmp_path / "x.v2.safetensors", {})
    assert not facts_of("checkpoints", file, HashCache(None)).has_config
    (tmp_path / "x.v2.yaml").write_text("model:", "utf-8")
    assert facts_of("checkpoints", file, HashCache(None)).has_config


def test_a_loras_alias_and_hash(tmp_path: Path) -> None:
    metadata = {"ss_output_name": "detail", "sshs_model_hash": "a" * 64}
    file = safetensors(tmp_path / "x.safetensors", {"__metadata__": metadata})
    facts = facts_of("loras", file, HashCache(None))
    assert (facts.alias, facts.addnet_hash) == ("detail", "a" * 64)


def test_a_file_that_is_no_safetensors_has_no_header(tmp_path: Path) -> None:
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"not a model")
    huge = tmp_path / "huge.safetensors"
    huge.write_bytes(struct.pack("<Q", 1 << 60))
    for file in (junk, huge, tmp_path / "none.safetensors", tmp_path / "x.ckpt"):
        assert modelfiles.read_header(file) is None


async def test_the_model_hash_reaches_the_infotext(tmp_path: Path) -> None:
    name = "v1-5-pruned-emaonly.safetensors"
    key = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    file = safetensors(tmp_path / "models/Stable-diffusion" / name, {key: tensor(49408, 768)})
    expected = hashlib.sha256(file.read_bytes()).hexdigest()
    with DevServer() as server:
        worker = Worker(server, model_roots=(tmp_path,))
        payload = {"prompt": "a cat", "steps": 1, "width": 64, "height": 64}
        envelope = {"method": "POST", "endpoint": "sdapi/v1/txt2img"}
        answer = await worker.run({"api": envelope, "payload": payload})
        worker.close()
    info = json.loads(answer["info"])
    assert info["sd_model_hash"] == expected[:10]
    assert f"Model hash: {expected[:10]}, Model: v1-5-pruned-emaonly" in info["infotexts"][0]
