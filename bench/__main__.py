"""``make bench``: every figure in one run; worker-comfyui's beside ours where PEER_DIR has it."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import (
    gap,
    growth,
    http,
    memory,
    overhead,
    plot,
    second,
    start,
    step_ratio,
    translation,
)

PAGE = Path(__file__).parents[1] / "out" / "bench.html"

_SECTIONS = {
    "translation": translation.rows,
    "growth": growth.rows,
    "overhead": overhead.rows,
    "http": http.rows,
    "memory": memory.rows,
    "gap": gap.rows,
    "start": start.rows,
    "step": step_ratio.rows,
    "second": second.rows,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*_SECTIONS, []], help="all by default")
    told: dict[str, list[str]] = {}
    for name in parser.parse_args().sections or _SECTIONS:
        print(f"\n{name}", flush=True)
        told[name] = []
        for row in _SECTIONS[name]():
            print(f"  {row}", flush=True)
            told[name].append(row)
    grown = growth.measured() if "growth" in told else ()
    plot.write(PAGE, told, [(item.what, item.points) for item in grown])
    print(f"\n{PAGE.relative_to(PAGE.parents[1])}: the figures as bars")


if __name__ == "__main__":
    main()
