"""The step in exact mode beside core's, in a process with a real ComfyUI where there is one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def rows() -> list[str]:
    """`bench.step` run with the interpreter of ``COMFYUI_DIR``; a line that says so without."""
    named = os.environ.get("COMFYUI_DIR", "").strip()
    if not named:
        return ["COMFYUI_DIR is not set: no real ComfyUI to time steps in"]
    folder = Path(named).resolve()
    python = os.environ.get("COMFYUI_PYTHON") or str(folder / ".venv" / "bin" / "python")
    done = subprocess.run(
        [python, "-m", "bench.step", "--comfyui", str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,  # what each turn found goes to the error output, as it is found
        text=True,
        check=False,
    )
    if done.returncode:
        return [f"bench.step failed (status {done.returncode}): see above"]
    return [f"{line} (wanted: at most 1.02)" for line in done.stdout.splitlines()]


if __name__ == "__main__":
    print("\n".join(rows()))
