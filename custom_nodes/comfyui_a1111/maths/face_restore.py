"""Face restoration as A1111 runs it: RetinaFace alignment, CodeFormer or GFPGAN, paste back.

Needs the packages facexlib and spandrel (CodeFormer also spandrel_extra_arches) and four model
files, none of which ships with ComfyUI; each missing piece raises an error that names it.
Source of the rules: A1111 v1.10.1 `modules/face_restoration_utils.py`, shared facts
`semantics.md` section 10.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

FACE_SIZE = 512
DETECTION_SIZE = 640
MIN_EYE_DISTANCE = 5

HELPER_FOLDERS = ("facedetection", "facexlib")
HELPER_FILES = ("detection_Resnet50_Final.pth", "parsing_parsenet.pth")


@dataclass(frozen=True)
class RestorerFile:
    """Where a restorer's weights are looked for, under ComfyUI's model folder."""

    folders: tuple[str, ...]
    name: str
    packages: tuple[str, ...]


RESTORERS = {
    "CodeFormer": RestorerFile(
        ("facerestore_models", "Codeformer"),
        "codeformer-v0.1.0.pth",
        ("facexlib", "spandrel", "spandrel_extra_arches"),
    ),
    "GFPGAN": RestorerFile(
        ("facerestore_models", "GFPGAN"), "GFPGANv1.4.pth", ("facexlib", "spandrel")
    ),
}


def find_file(models: Path, folders: tuple[str, ...], name: str) -> Path:
    """The first `models/folder/name` that exists. Raises FileNotFoundError naming all of them."""
    candidates = [models / folder / name for folder in folders]
    for path in candidates:
        if path.is_file():
            return path
    wanted = " or ".join(str(path) for path in candidates)
    raise FileNotFoundError(f"{name} is missing; put it at {wanted}")


def helper_folders(models: Path) -> list[Path]:
    """Where facexlib's files are looked for: below ComfyUI's models, and in the package itself."""
    found = [models / folder for folder in HELPER_FOLDERS]
    package = importlib.util.find_spec("facexlib")
    if package is not None and package.origin is not None:
        found.append(Path(package.origin).parent / "weights")
    return found


def require_packages(names: tuple[str, ...]) -> None:
    """Raise RuntimeError naming the first package that cannot be imported."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise RuntimeError(
                f"faces need the Python package {name} ({error}); install it in ComfyUI's "
                "environment, or leave restore_faces off"
            ) from error


@functools.lru_cache(maxsize=2)
def load_network(path: Path) -> torch.nn.Module:
    """The restoration network of a checkpoint file, in evaluation mode on the CPU."""
    import spandrel

    if importlib.util.find_spec("spandrel_extra_arches") is not None:
        extra = importlib.import_module("spandrel_extra_arches")
        spandrel.MAIN_REGISTRY.add(*extra.EXTRA_REGISTRY, ignore_duplicates=True)
    network: torch.nn.Module = spandrel.ModelLoader().load_from_file(path).model
    return network.eval()


def restore_faces(
    images: list[Image.Image],
    model: str,
    codeformer_weight: float,
    models: Path,
    device: torch.device,
) -> list[Image.Image]:
    """Restore every face of each RGB image.

    `codeformer_weight` 0..1: 0 changes faces most; GFPGAN has no weight. `models` is ComfyUI's
    model folder. Raises RuntimeError for a missing package, FileNotFoundError for a missing file.
    """
    restorer = RESTORERS[model]
    require_packages(restorer.packages)
    network = load_network(find_file(models, restorer.folders, restorer.name)).to(device)
    options = restorer_options(model, codeformer_weight)
    helper = face_helper(models, device)
    return [_restore_image(image, helper, network, options, device) for image in images]


def restorer_options(model: str, codeformer_weight: float) -> dict[str, Any]:
    """What the network is called with beside the face."""
    if model == "CodeFormer":
        return {"weight": codeformer_weight, "adain": True}
    return {"return_rgb": False}


def helper_root(models: Path) -> Path:
    """The folder with facexlib's two files. Raises FileNotFoundError when one is missing.

    facexlib would otherwise download them while a request waits.
    """
    for root in helper_folders(models):
        if all((root / name).is_file() for name in HELPER_FILES):
            return root
    root = find_file(models, HELPER_FOLDERS, HELPER_FILES[0]).parent
    return find_file(models, (root.name,), HELPER_FILES[1]).parent


def face_helper(models: Path, device: torch.device) -> Any:
    """facexlib's detector, aligner and parser."""
    from facexlib.utils.face_restoration_helper import FaceRestoreHelper

    return FaceRestoreHelper(
        upscale_factor=1,
        face_size=FACE_SIZE,
        crop_ratio=(1, 1),
        det_model="retinaface_resnet50",
        save_ext="png",
        use_parse=True,
        device=device,
        model_rootpath=str(helper_root(models)),
    )


def _restore_image(
    image: Image.Image,
    helper: Any,
    network: torch.nn.Module,
    options: dict[str, Any],
    device: torch.device,
) -> Image.Image:
    helper.clean_all()
    helper.read_image(np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1]))
    helper.get_face_landmarks_5(
        only_center_face=False, resize=DETECTION_SIZE, eye_dist_threshold=MIN_EYE_DISTANCE
    )
    helper.align_warp_face()
    for face in helper.cropped_faces:
        helper.add_restored_face(_restore_face(face, network, options, device))
    helper.get_inverse_affine(None)
    restored = helper.paste_faces_to_input_image()
    return Image.fromarray(np.ascontiguousarray(restored[:, :, ::-1]).astype(np.uint8))


def _restore_face(
    face: np.ndarray, network: torch.nn.Module, options: dict[str, Any], device: torch.device
) -> np.ndarray:
    """Run the network on one aligned `[512, 512, 3]` BGR face, uint8 in and out."""
    rgb = np.ascontiguousarray(face[:, :, ::-1]).astype(np.float32) / 255.0
    tensor = torch.from_numpy(rgb).permute(2, 0, 1).unsqueeze(0).to(device) * 2.0 - 1.0
    with torch.inference_mode():
        output = network(tensor, **options)[0]
    scaled = (output.squeeze(0).float().clamp(-1, 1).cpu() + 1.0) / 2.0 * 255.0
    return scaled.permute(1, 2, 0).numpy().astype(np.uint8)[:, :, ::-1]
