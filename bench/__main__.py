"""``make bench``: every figure in one run; worker-comfyui's beside ours where PEER_DIR has it."""

from __future__ import annotations

import argparse

from bench import gap, memory, overhead, start, translation

_SECTIONS = {
    "translation": translation.rows,
    "overhead": overhead.rows,
    "memory": memory.rows,
    "gap": gap.rows,
    "start": start.rows,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*_SECTIONS, []], help="all by default")
    for name in parser.parse_args().sections or _SECTIONS:
        print(f"\n{name}", flush=True)
        for row in _SECTIONS[name]():
            print(f"  {row}", flush=True)


if __name__ == "__main__":
    main()
