"""How long translating the seed request takes, beside parsing the JSON it comes in.

Figures are processor time, which other work of the machine changes little, and the least of many
runs. With BASE_DIR, another checkout is timed in turns with this one.
"""

from __future__ import annotations

import base64
import io
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from bench import beside
from translator import translate

SEED = Path(__file__).parents[1] / "examples" / "txt2img-instantid.json"
PICTURE = SEED.with_name("face.jpg")

WITH_IMAGES_MS, WITHOUT_IMAGES_MS = 4.0, 2.0
"""What is wanted."""

_ROUNDS = 150
_NOISE_SIZE = (698, 480)
"""A PNG of noise of this size is 1 MB."""


def rows() -> list[str]:
    """The figures, a line each."""
    payloads = {
        "with two different pictures of 1 MB": seed_payload([noise_png(0), noise_png(1)]),
        "without pictures": seed_payload([]),
    }
    text = json.dumps({"input": {"payload": payloads["with two different pictures of 1 MB"]}})
    parsing = least_ms(lambda: json.loads(text))
    found = []
    for (name, payload), limit in zip(
        payloads.items(), (WITH_IMAGES_MS, WITHOUT_IMAGES_MS), strict=True
    ):
        taken = least_ms(lambda payload=payload: translate(payload))
        found.append(
            f"translating the seed request {name}: {taken:.2f} ms (wanted: under {limit:g} ms); "
            f"{taken / parsing:.2f} times parsing its JSON with pictures"
        )
    found.append(f"parsing the seed request's JSON, pictures included: {parsing:.2f} ms")
    base = beside.folder()
    if base is None:
        return [*found, "BASE_DIR is not set: no other checkout to compare with"]
    payloads["with the example's face"] = seed_payload([PICTURE.read_bytes()] * 2)
    return found + [
        f"the seed request {name}, beside {base.name}: {here * 1e3:.2f} ms here, "
        f"{there * 1e3:.2f} ms there, {here / there:.2f} times as long (wanted: at most 1)"
        for name, (there, here) in beside.ratios(base, payloads).items()
    ]


def seed_payload(pictures: list[bytes]) -> dict[str, Any]:
    """The seed request's payload; its units carry these pictures, or it has no units."""
    payload: dict[str, Any] = json.loads(SEED.read_text("utf-8"))["input"]["payload"]
    if not pictures:
        return {**payload, "alwayson_scripts": {}}
    units = payload["alwayson_scripts"]["controlnet"]["args"]
    for unit, picture in zip(units, pictures, strict=True):
        unit["image"] = base64.b64encode(picture).decode()
    return payload


def noise_png(seed: int) -> bytes:
    """A PNG of about 1 MB."""
    width, height = _NOISE_SIZE
    pixels = random.Random(seed).randbytes(width * height * 3)
    file = io.BytesIO()
    Image.frombytes("RGB", _NOISE_SIZE, pixels).save(file, "PNG")
    return file.getvalue()


def least_ms(work: Callable[[], object], rounds: int = _ROUNDS) -> float:
    """The least processor time of many runs, in milliseconds."""
    taken = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return min(taken) * 1000


if __name__ == "__main__":
    print("\n".join(rows()))
