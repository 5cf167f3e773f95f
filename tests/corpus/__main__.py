"""Show which graphs differ from what is kept; with ``--write`` keep what they are now."""

from __future__ import annotations

import argparse
import sys

from tests.corpus import (
    GRAPHS,
    SEED_WORKFLOW,
    cases,
    readable,
    seed_workflow,
    snapshot,
    spelled,
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the files of graphs/ anew")
    write = parser.parse_args().write
    wanted = {}
    for case in cases():
        for fidelity in case.fidelities:
            translation = case.translate(fidelity)
            wanted[case.graph_file(fidelity)] = spelled(snapshot(translation))
            wanted[case.text_file(fidelity)] = readable(translation)
    wanted[SEED_WORKFLOW] = spelled(seed_workflow())
    kept = {
        file: file.read_text("utf-8")
        for file in (*GRAPHS.glob("*.*"), SEED_WORKFLOW)
        if file.is_file()
    }
    stale = sorted(file for file, text in wanted.items() if kept.get(file) != text)
    surplus = sorted(kept.keys() - wanted.keys())
    for file in stale:
        print(f"differs: {file.name}")
    for file in surplus:
        print(f"no request: {file.name}")
    if not write:
        return 1 if stale or surplus else 0
    for file in stale:
        file.write_text(wanted[file], "utf-8")
    for file in surplus:
        file.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
