"""How long translating the seed request takes, beside parsing the JSON it comes in."""

from __future__ import annotations

import base64
import io
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from translator import translate

SEED = Path(__file__).parents[1] / "examples" / "txt2img-instantid.json"

WITH_IMAGES_MS, WITHOUT_IMAGES_MS = 4.0, 2.0
"""What is wanted at the median."""

_ROUNDS = 200
_NOISE_SIZE = (698, 480)
"""A PNG of noise of this size is 1 MB."""


def rows() -> list[str]:
    """The figures, a line each."""
    with_images, without = seed_payload(images=True), seed_payload(images=False)
    text = json.dumps({"input": {"payload": with_images}})
    parse_ms = median_ms(lambda: json.loads(text))
    found = []
    for name, payload, limit in (
        ("with two different images of 1 MB", with_images, WITH_IMAGES_MS),
        ("without images", without, WITHOUT_IMAGES_MS),
    ):
        taken = median_ms(lambda payload=payload: translate(payload))
        found.append(
            f"translating the seed request {name}: {taken:.2f} ms at the median "
            f"(wanted: under {limit:g}); {taken / parse_ms:.2f} times parsing the request's JSON"
        )
    found.append(f"parsing the seed request's JSON, images included: {parse_ms:.2f} ms")
    return found


def seed_payload(*, images: bool) -> dict[str, Any]:
    """The seed request's payload; its units carry two pictures of noise, or it has no units."""
    payload: dict[str, Any] = json.loads(SEED.read_text("utf-8"))["input"]["payload"]
    if not images:
        return {**payload, "alwayson_scripts": {}}
    for number, unit in enumerate(payload["alwayson_scripts"]["controlnet"]["args"]):
        unit["image"] = base64.b64encode(noise_png(number)).decode()
    return payload


def noise_png(seed: int) -> bytes:
    """A PNG of about 1 MB."""
    width, height = _NOISE_SIZE
    pixels = random.Random(seed).randbytes(width * height * 3)
    file = io.BytesIO()
    Image.frombytes("RGB", _NOISE_SIZE, pixels).save(file, "PNG")
    return file.getvalue()


def median_ms(work: Callable[[], object]) -> float:
    """The median of many runs, in milliseconds."""
    taken = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1000


if __name__ == "__main__":
    print("\n".join(rows()))
