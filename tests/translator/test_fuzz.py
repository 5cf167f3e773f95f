"""Mutated requests and pictures, a minute of them: a translation or clear words, in bounded time.

``FUZZ_SECONDS`` and ``FUZZ_SEED`` in the environment change how long and where it begins.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import random
import time
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from tests import corpus
from translator import Catalog, Options, TranslationError, translate
from worker.errors import JobError
from worker.pictures import incoming, uploaded
from worker.pictures.png_info import read_info
from worker.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SLOWEST_PICTURE_S = 2.0
"""A changed header may name as many pixels as are allowed, and those are decoded."""
SECONDS = float(os.environ.get("FUZZ_SECONDS", "60"))
SEED = int(os.environ.get("FUZZ_SEED", "18"))
SLOWEST_S = 0.5
"""Of the processor's time, for one translation."""

_TEXTS = (
    *("", " ", "\ud800", "\0", "🎨" * 50, "x" * 5000, " " * 5000, "(" * 150, "[a|b]" * 40),
    *("<lora:", "<lora:x:nan>", "<lora:x:1e999>", "a AND b :-1", "[a:b:1e9]", "[a:b:-0.5]"),
    *("nan", "inf", "-1", "1e400", "9" * 400, "true", "null", "http://x", "data:,", "../../x"),
    *("Steps: 20, Sampler: Euler a, Size: 99999999999x1", 'ab: "\\ud800", cd: 1, ef: 2'),
    *("1-1000000000", "1-9 [99999999]", "BREAK BREAK", "\\", "#", "%", "{prompt}"),
)
_NUMBERS = (0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.0, -0.0, 1e-320, 1e308, 0.5, 3.7)
_ODD = (None, True, False, [], {}, [[]], [None], {"": None}, float("nan"), float("inf"))


def mutated(value: Any, draw: random.Random) -> Any:
    """A document with one to four changes somewhere in it."""
    document = copy.deepcopy(value)
    for _ in range(draw.randint(1, 4)):
        _change(document, draw)
    return document


def _change(document: Any, draw: random.Random) -> None:
    places = list(_places(document))
    if not places:
        return
    holder, key = draw.choice(places)
    kind = draw.random()
    if kind < 0.15:
        del holder[key]
    elif kind < 0.25 and isinstance(holder, list):
        holder.extend(copy.deepcopy(holder[:]) if len(holder) < 50 else [])
    elif kind < 0.35 and isinstance(holder[key], str):
        text = holder[key]
        cut = draw.randrange(len(text) + 1)
        holder[key] = text[:cut] + draw.choice(_TEXTS) + text[cut:]
    elif kind < 0.45 and isinstance(holder, dict):
        holder[draw.choice((*_TEXTS, "steps", "width", "enable_hr", "args"))] = _hostile(draw)
    else:
        holder[key] = _hostile(draw)


def _hostile(draw: random.Random) -> Any:
    return copy.deepcopy(draw.choice(draw.choice((_TEXTS, _NUMBERS, _ODD))))


def _places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        yield value, key
        if isinstance(item, dict | list):
            yield from _places(item)


def test_mutated_requests() -> None:
    draw = random.Random(SEED)
    cases = list(corpus.cases())
    catalogs = (Catalog.bundled(),)
    deadline, runs, refused = time.monotonic() + SECONDS * 0.75, 0, 0
    translate({})
    while time.monotonic() < deadline:
        case = draw.choice(cases)
        payload = mutated(case.payload, draw)
        options = Options(
            unsupported=draw.choice(("error", "warn")),
            fidelity=draw.choice(("exact", "core")),
            draw_seed=lambda: 1,
        )
        start = time.thread_time()
        try:
            translation = translate(payload, case.endpoint, draw.choice(catalogs), options=options)
            json.dumps([translation.graph, translation.info], allow_nan=False).encode()
        except TranslationError as error:
            refused += 1
            assert str(error), payload
        except Exception as error:
            raise AssertionError(f"run {runs} of {case.name}: {_shown(payload)}") from error
        spent = time.thread_time() - start
        assert spent < SLOWEST_S, f"{spent:.2f} s, run {runs} of {case.name}: {_shown(payload)}"
        runs += 1
    assert 0.05 < refused / runs < 0.99, (refused, runs)


def _shown(payload: Any) -> str:
    return json.dumps(payload, default=str)[:3000]


def pictures() -> list[bytes]:
    found = []
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        for mode in ("RGB", "L", "P"):
            image = Image.effect_noise((24, 24), 50).convert(mode)
            out = BytesIO()
            image.convert("RGB" if kind in ("JPEG", "WEBP") else mode).save(out, kind)
            found.append(out.getvalue())
    return found


def test_mutated_pictures() -> None:
    draw, sources, settings = random.Random(SEED), pictures(), Settings()
    deadline = time.monotonic() + SECONDS * 0.25
    while time.monotonic() < deadline:
        data = bytearray(draw.choice(sources))
        for _ in range(draw.randint(1, 8)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        if draw.random() < 0.2:
            del data[draw.randrange(len(data)) :]
        start = time.thread_time()
        try:
            checked = incoming.check(bytes(data), "image", settings)
            read_info(checked.data)
            uploaded.as_plain(checked.data)
        except (JobError, OSError) as error:
            assert str(error)
        except Exception as error:
            raise AssertionError(base64.b64encode(data)) from error
        assert time.thread_time() - start < SLOWEST_PICTURE_S, base64.b64encode(data)
