"""Links into a volume from the folders in which ComfyUI's packs look for their files.

ComfyUI's own model folders are told by docker/extra_model_paths.yaml. InsightFace, the
preprocessors and face restoration look elsewhere, each under names of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from worker.doctor.data import ModelFile, model_files
from worker.doctor.volume import find


def link_all(roots: Sequence[Path], base: Path) -> int:
    """Link every file of the volume that has a reader of its own; how many there are.

    What lies below `base` from an earlier start is replaced where it is a link.

    Args:
        roots: the volume's folders.
        base: ComfyUI's base directory; ``annotators`` below it is AUX_ANNOTATOR_CKPTS_PATH.
    """
    return sum(_link(file, roots, base) for file in model_files().values() if file.link)


def _link(file: ModelFile, roots: Sequence[Path], base: Path) -> bool:
    found = find(file, roots)
    if found is None:
        return False
    target = base / (file.link or "") / file.name
    if target.is_symlink():
        target.unlink()
    elif target.exists():
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(found)
    return True
