"""How translating grows with the request: it takes time in proportion, and no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from bench.translation import PICTURE, least_ms, seed_payload
from translator import Options, translate

_ROUNDS = 5
_WANTED = 2.5
"""What twice the request may take at most, in times; in proportion is 2."""


@dataclass(frozen=True)
class Growth:
    """Times of requests of one kind.

    Attributes:
        what: what grows.
        points: how much of it, and milliseconds of the processor.
    """

    what: str
    points: tuple[tuple[int, float], ...]

    @property
    def doubling(self) -> float:
        """How many times as long twice the largest half takes."""
        (_, half), (_, whole) = self.points[-2:]
        return whole / half


def rows() -> list[str]:
    """The figures, a line each."""
    return [
        f"{item.what}: "
        + ", ".join(f"{count} in {taken:.1f} ms" for count, taken in item.points)
        + f"; the last doubling takes {item.doubling:.2f} times as long (wanted: at most {_WANTED})"
        for item in measured()
    ]


@cache
def measured() -> tuple[Growth, ...]:
    """Every kind, measured once."""
    return tuple(
        Growth(what, tuple(_point(make, n) for n in sizes)) for what, make, sizes in _KINDS
    )


def _point(make: Callable[[int], Mapping[str, Any]], size: int) -> tuple[int, float]:
    payload = make(size)
    return size, least_ms(lambda: translate(payload, options=_OPTIONS), _ROUNDS)


_UNITS = 16
_OPTIONS = Options.of({"a1111_options": {"control_net_unit_count": _UNITS}})


def _prompt(words: int) -> Mapping[str, Any]:
    return {"prompt": ", ".join(f"(word{index}:1.1)" for index in range(words)), "seed": 1}


def _batch(images: int) -> Mapping[str, Any]:
    return {"prompt": "a cat", "n_iter": images, "seed": 1}


def _units(count: int) -> Mapping[str, Any]:
    face = seed_payload([PICTURE.read_bytes()] * 2)["alwayson_scripts"]["controlnet"]["args"][0]
    unit = {"module": "canny", "model": "control_v11p_sd15_canny", "image": face["image"]}
    units = [{**unit, "weight": 1 + index / 100} for index in range(count)]
    return {"prompt": "a cat", "seed": 1, "alwayson_scripts": {"controlnet": {"args": units}}}


def _cells(count: int) -> Mapping[str, Any]:
    """An X/Y/Z plot: axis 4 is Steps, 6 is CFG Scale."""
    steps = ", ".join(str(5 + index) for index in range(count // 4))
    axes = [4, steps, [], 6, "4, 5, 6, 7", [], 0, "", []]
    grid = [True, False, False, False, False, False, False, 0, False]
    return {
        "prompt": "a cat",
        "seed": 1,
        "script_name": "x/y/z plot",
        "script_args": [*axes, *grid],
    }


_KINDS: tuple[tuple[str, Callable[[int], Mapping[str, Any]], tuple[int, ...]], ...] = (
    ("words of the prompt", _prompt, (125, 250, 500, 1000, 2000)),
    ("images in turn (n_iter)", _batch, (4, 8, 16, 32, 64)),
    ("ControlNet units", _units, (1, 2, 4, 8, 16)),
    ("cells of an X/Y/Z plot", _cells, (8, 16, 32, 64, 128)),
)
"""What grows, what makes such a request, and how large it is made."""


if __name__ == "__main__":
    print("\n".join(rows()))
