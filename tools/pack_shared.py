"""Copies into the node pack what it shares with the translator: prompts, schedules, plan values.

python -m tools.pack_shared          write custom_nodes/comfyui_a1111/vendor anew
python -m tools.pack_shared --check  exit 1 if a copy is not what its source gives

The pack is copied into ComfyUI by itself and imports nothing of the translator, so it carries
copies. Only imports are written otherwise, relative to the copy; the one place to edit is the
translator. `tests/node_pack/test_shared.py` holds both against each other.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "translator"
COPY = ROOT / "custom_nodes" / "comfyui_a1111" / "vendor"

_ROOTS = ("plan/free_u.py", "plan/lines.py", "prompt/__init__.py", "schedules/written.py")
"""What the pack uses; copied with all that it imports of the translator."""

_TABLES = ("tables/samplers.json", "tables/schedulers.json")

_IMPORT = re.compile(r"^from translator(\.[\w.]+) import ", re.MULTILINE)


def copies() -> Mapping[Path, str]:
    """Every file of the copy -> its text."""
    found = {COPY / "__init__.py": '"""What the pack shares with the translator, copied."""\n'}
    for path in _sources():
        text = (SOURCE / path).read_text("utf-8")
        found[COPY / path] = text if path.suffix == ".json" else _copied(path, text)
    return found


def _sources() -> Iterator[Path]:
    waiting, seen = [Path(root) for root in _ROOTS], set[Path]()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += _imported((SOURCE / path).read_text("utf-8"))
            waiting += [path.parent / "__init__.py"] if path.parent != Path() else []
    yield from sorted(seen)
    yield from map(Path, _TABLES)


def _imported(text: str) -> Iterator[Path]:
    """The files of the modules that a text imports."""
    for name in _IMPORT.findall(text):
        module = Path(*name[1:].split("."))
        own = SOURCE / module
        yield module / "__init__.py" if own.is_dir() else module.with_suffix(".py")


def _copied(path: Path, text: str) -> str:
    dots = "." * len(path.parts)
    source = f"# Copied from translator/{path.as_posix()} by tools/pack_shared.py: edit it there.\n"
    return source + _IMPORT.sub(lambda found: f"from {dots}{found[1][1:]} import ", text)


def stale() -> list[Path]:
    """The files of the copy that are missing, differ or have no source any more."""
    wanted = copies()
    present = {path for path in COPY.rglob("*") if path.suffix in (".py", ".json")}
    differing = [path for path, text in wanted.items() if not _holds(path, text)]
    return sorted({*differing, *(present - wanted.keys())})


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text("utf-8") == text


def main() -> int:
    old = stale()
    for path in old:
        print(f"{path.relative_to(ROOT)}: not what its source gives")
    if "--check" in sys.argv[1:]:
        return int(bool(old))
    wanted = copies()
    for path in old:
        if path not in wanted:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
