"""Direct submissions that answer no pictures: videos, animations, sound and bodies, whole."""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.comfyui.exchange import Client
from tests.comfyui.models import CACHE
from tests.comfyui.pictures import as_base64, photo
from tests.comfyui.server import REPO, Checkout, ComfyServer
from tests.comfyui.worker import Worker, worker_at

NODES = REPO / "tests" / "comfyui" / "lab" / "media_nodes.py"

Graph = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def server(checkout: Checkout) -> Iterator[ComfyServer]:
    """ComfyUI with its own nodes and the lab's, without models."""
    with ComfyServer(checkout, CACHE / "run-media", (), packs=False, nodes=(NODES,)) as server:
        yield server


@pytest.fixture(scope="module")
def worker(server: ComfyServer) -> Iterator[Worker]:
    with worker_at(server) as worker:
        yield worker


@pytest.fixture(scope="module")
def have(server: ComfyServer) -> Mapping[str, Any]:
    """The server's nodes."""
    info: Mapping[str, Any] = Client(server.url).get("/object_info")
    return info


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def frames(save: str, **inputs: Any) -> Graph:
    """Three frames of an uploaded picture and two more, saved by a node."""
    return {
        "1": node("LoadImage", image="frame.png"),
        "2": node("ImageInvert", image=["1", 0]),
        "3": node("ImageBatch", image1=["1", 0], image2=["2", 0]),
        "4": node("ImageBatch", image1=["3", 0], image2=["1", 0]),
        "9": node(save, **{"filename_prefix": "lab", **inputs}),
    }


def video(**inputs: Any) -> Graph:
    graph = frames("SaveVideo", video=["5", 0], format="mp4", codec="h264", **inputs)
    return {**graph, "5": node("CreateVideo", images=["4", 0], fps=6.0)}


def with_sound(prefix: str = "sound") -> Graph:
    graph = video(filename_prefix=prefix)
    graph["5"]["inputs"]["audio"] = ["6", 0]
    return {**graph, "6": node("LabSound", seconds=0.5)}


def sound(save: str, **inputs: Any) -> Graph:
    return {
        "6": node("LabSound", seconds=0.5),
        "9": node(save, audio=["6", 0], filename_prefix="lab", **inputs),
    }


def body() -> Graph:
    return {
        "6": node("LabVoxel", cells=16),
        "7": node("VoxelToMeshBasic", voxel=["6", 0], threshold=0.4),
        "9": node("SaveGLB", mesh=["7", 0], filename_prefix="lab"),
    }


def boxes(data: bytes) -> list[bytes]:
    """The kinds of an MP4's boxes, which must fill it to its end."""
    kinds, at = [], 0
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        kinds.append(kind)
        at += size or len(data) - at
    assert at == len(data)
    return kinds


def is_mp4(data: bytes) -> None:
    assert {b"ftyp", b"moov", b"mdat"} <= set(boxes(data))


def has_three_frames(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 3  # type: ignore[attr-defined]
        assert image.size == (64, 48)


def is_webm(data: bytes) -> None:
    assert data.startswith(b"\x1a\x45\xdf\xa3") and b"webm" in data[:64]


def is_glb(data: bytes) -> None:
    magic, version, length = struct.unpack("<4sII", data[:12])
    assert (magic, version, length) == (b"glTF", 2, len(data))


def starts_with(*heads: bytes) -> Callable[[bytes], None]:
    def check(data: bytes) -> None:
        assert data.startswith(heads)

    return check


ANIMATED = {"images": ["4", 0], "fps": 6.0}

CASES: Mapping[str, tuple[Graph, str, Callable[[bytes], None]]] = {
    "video": (video(), "mp4", is_mp4),
    "video with sound": (with_sound(), "mp4", is_mp4),
    "WebM": (frames("SaveWEBM", **ANIMATED, codec="vp9", crf=32.0), "webm", is_webm),
    "animated WebP": (
        frames("SaveAnimatedWEBP", **ANIMATED, lossless=True, quality=80, method="default"),
        "webp",
        has_three_frames,
    ),
    "animated PNG": (
        frames("SaveAnimatedPNG", **ANIMATED, compress_level=4),
        "png",
        has_three_frames,
    ),
    "FLAC": (sound("SaveAudio"), "flac", starts_with(b"fLaC")),
    "MP3": (sound("SaveAudioMP3", quality="128k"), "mp3", starts_with(b"ID3", b"\xff\xfb")),
    "Opus": (sound("SaveAudioOpus", quality="96k"), "opus", starts_with(b"OggS")),
    "body": (body(), "glb", is_glb),
}
"""What is saved -> the graph, the file's extension, and what its bytes must be."""


MEDIA_TYPES = {
    "mp4": "video/mp4",
    "webm": "video/webm",
    "webp": "image/webp",
    "png": "image/png",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "glb": "model/gltf-binary",
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_that_is_no_picture_comes_back_whole(
    worker: Worker, server: ComfyServer, have: Mapping[str, Any], name: str
) -> None:
    graph, extension, check = CASES[name]
    missing = {item["class_type"] for item in graph.values()} - set(have)
    if missing:
        pytest.skip(f"this ComfyUI has no {', '.join(sorted(missing))}")
    picture = as_base64(photo(64, 48))
    answer = worker.run({"workflow": graph, "images": [{"name": "frame.png", "image": picture}]})
    assert "error" not in answer, answer
    media_type = MEDIA_TYPES[extension]
    is_image = media_type.startswith("image/")
    (file,) = answer["images" if is_image else "files"]
    assert file["type"] == "base64"
    assert is_image or file["media_type"] == media_type
    assert file["filename"].rpartition(".")[2] == extension
    data = base64.b64decode(file["data"])
    check(data)
    assert data == saved(server, file["filename"]).read_bytes()


def saved(server: ComfyServer, name: str) -> Path:
    """The file as ComfyUI saved it."""
    (found,) = (server.run_dir / "output").rglob(name)
    return found


def test_a_picture_beside_a_video_and_a_sound(worker: Worker, have: Mapping[str, Any]) -> None:
    if "SaveVideo" not in have:
        pytest.skip("this ComfyUI saves no videos")
    graph = {
        **with_sound("pair"),
        "10": node("SaveImage", images=["1", 0], filename_prefix="still"),
    }
    picture = as_base64(photo(64, 48))
    answer = worker.run({"workflow": graph, "images": [{"name": "frame.png", "image": picture}]})
    found = {key: [file["filename"] for file in answer[key]] for key in ("images", "files")}
    assert found == {"images": ["still_00001_.png"], "files": ["pair_00001_.mp4"]}
