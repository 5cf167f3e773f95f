"""What of a unit goes together, and how it is refused where it does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from translator.comfy.catalog import Catalog
from translator.comfy.packs import pack_of
from translator.control import models, modules
from translator.control.context import ControlContext
from translator.control.models import Kind
from translator.control.modules import Module
from translator.control.sizes import CROP_AND_RESIZE, Size
from translator.control.units import ARGS_PATH, ControlUnit
from translator.geometry import covering, too_large
from translator.models import families
from translator.models.names import without_hash
from translator.report import Report

_LEFT_OUT = "the unit is left out"

_ONE_CHANNEL = frozenset(("1", "F", "I", "I;16", "L", "P"))
"""Pillow's modes of files that the extension cannot use as a region mask."""

_WHOLE_PICTURE_ROLES = frozenset(("reference", "revision", "style"))
"""Where the extension fails on ``effective_region_mask``, and knows no blocks."""

_PROMPTED_BY = frozenset(("ip_adapter", "face_id", "pulid"))
"""Image prompts whose model's name tells what it reads."""

_HIGHEST_BLOCK_WEIGHT = 10.0
"""The most that Advanced-ControlNet's weight nodes take."""

_T2I_BLOCKS = 4
"""Features of a T2I-Adapter; A1111's form has a fifth number, which is never read."""


class Refused(Exception):
    """A unit was refused; the report has the reason.

    Attributes:
        fails_in_a1111: whether the extension fails on it as well.
    """

    def __init__(self, *, fails_in_a1111: bool = False) -> None:
        self.fails_in_a1111 = fails_in_a1111
        super().__init__()


class Refusals:
    """Refuses a unit, by its field and with a reason."""

    def __init__(self, report: Report, catalog: Catalog) -> None:
        self._report = report
        self._catalog = catalog

    def fail(self, unit: ControlUnit, field: str, message: str, value: Any = None) -> NoReturn:
        """What the extension fails on while it prepares the units; it then leaves out all."""
        path = f"{unit.path}.{field}"
        self._report.unsupported(path, message, instead=models.WITHOUT_UNITS, value=value)
        raise Refused(fails_in_a1111=True)

    def refuse(self, unit: ControlUnit, field: str, message: str, value: Any = None) -> NoReturn:
        """What A1111 honours and cannot be honoured here."""
        path = f"{unit.path}.{field}"
        self._report.unsupported(path, message, instead=_LEFT_OUT, value=value)
        raise Refused

    def invalid(self, unit: ControlUnit, field: str, message: str) -> NoReturn:
        """A field that is wrong in itself."""
        self._report.invalid(f"{unit.path}.{field}", message)
        raise Refused

    def warn(self, unit: ControlUnit, field: str, message: str) -> None:
        """Say something of a unit that takes part."""
        self._report.warn(f"{unit.path}.{field}", message)

    @property
    def as_a1111(self) -> bool:
        """Whether what A1111 fails on is done as A1111 does it."""
        return self._report.lenient

    def has_refused(self, index: int) -> bool:
        """Whether the unit at a position of ``args`` has a problem that ends the request."""
        return self._report.refused(f"{ARGS_PATH}[{index}]")

    def lacks(self, unit: ControlUnit, class_type: str) -> NoReturn:
        """A node that is not there, or that the chosen fidelity leaves out."""
        why = f"which this ComfyUI lacks; install {pack_of(class_type)}"
        if self._catalog.has(class_type):
            why = "which option fidelity=core leaves out (or our node pack is not all there)"
        self._report.missing(
            f"{unit.path}.module",
            f'"{unit.module.name}" needs the node {class_type}, {why}',
            instead=_LEFT_OUT,
        )
        raise Refused


def check_module(
    unit: ControlUnit, module: Module, context: ControlContext, refusals: Refusals
) -> None:
    """The module goes with this checkpoint."""
    if module.role in ("pulid", "revision") and not context.family.pooled_text:
        refusals.fail(
            unit, "module", f"{module.role} works with SDXL, this is {context.architecture}"
        )


def check_model(
    unit: ControlUnit,
    name: str,
    module: Module,
    kind: Kind,
    context: ControlContext,
    refusals: Refusals,
) -> None:
    """The model goes with the module and with the checkpoint, as far as its name tells."""
    if (module.role == "instant_id_embedding") != (kind is Kind.INSTANT_ID_ADAPTER):
        fitting = "another module" if kind is Kind.INSTANT_ID_ADAPTER else "another model"
        refusals.fail(
            unit,
            "model",
            f'"{name}" does not go with module "{module.name}" ({fitting} is needed): '
            "instant_id_face_embedding and ip-adapter_instant_id_sdxl belong together",
            name,
        )
    if kind is Kind.IP_ADAPTER and not module.is_ip_adapter:
        refusals.fail(unit, "module", f'"{module.name}" makes a map, "{name}" takes an image')
    if (module.role == "style") != (kind is Kind.STYLE_ADAPTER):
        refusals.fail(
            unit,
            "module",
            f't2ia_style_clipvision and T2I style models belong together, not "{module.name}" '
            f'and "{name}"',
        )
    if module.role in _PROMPTED_BY and kind is Kind.IP_ADAPTER:
        _check_prompt_model(unit, name, module, refusals)
    if kind is Kind.SPARSECTRL:
        refusals.fail(unit, "model", "SparseCtrl models work with AnimateDiff only", name)
    version = families.control_version(name)
    if version and version not in context.family.control_versions:
        refusals.fail(
            unit,
            "model",
            f'"{name}" is made for {version}, the checkpoint is {context.architecture}',
            name,
        )


def _check_prompt_model(unit: ControlUnit, name: str, module: Module, refusals: Refusals) -> None:
    """The module makes what the model of an image prompt reads, as far as its name tells."""
    stem = without_hash(name).lower()
    told = "pulid" if "pulid" in stem else "face_id" if "faceid" in stem else "ip_adapter"
    if told != module.role:
        reads = {"pulid": "PuLID's face", "face_id": "a face", "ip_adapter": "a picture by CLIP"}
        refusals.fail(unit, "module", f'"{name}" reads {reads[told]}, which "{module.name}" is not')
    if told == "face_id" and ("plus" in stem) != module.name.endswith("_plus"):
        fitting = "ip-adapter_face_id_plus" if "plus" in stem else "ip-adapter_face_id"
        refusals.fail(unit, "module", f'"{name}" goes with {fitting}, not "{module.name}"')
    usual = models.preset_module(name)
    if usual is not None and usual.vision != module.vision:
        refusals.fail(unit, "module", f'"{name}" reads what {usual.name} makes of a picture')


def check_fields(
    unit: ControlUnit, module: Module, kind: Kind, context: ControlContext, refusals: Refusals
) -> None:
    """Fields that only some modules and models take."""
    if module.name == "facexlib" and not unit.pixel_perfect:
        _check_unseen_resolution(unit, refusals)
    if unit.ipadapter_input:
        refusals.refuse(unit, "ipadapter_input", "a torch file cannot be read here: send the image")
    whole = not has_blocks(module, kind)
    if unit.effective_region_mask and whole:
        refusals.fail(
            unit, "effective_region_mask", f'"{module.name}" acts on the whole picture only'
        )
    region = unit.effective_region_mask
    if region is not None and region.mode in _ONE_CHANNEL:
        _check_grey_region(unit, refusals)
    if unit.advanced_weighting is not None and not whole:
        _check_block_weights(unit, unit.advanced_weighting, module, kind, context, refusals)


def _check_unseen_resolution(unit: ControlUnit, refusals: Refusals) -> None:
    """facexlib has no slider for its resolution, so that the extension sets it to half a pixel."""
    what = "A1111 fails on facexlib unless pixel_perfect is true, as it scales the image to nothing"
    if refusals.as_a1111:
        refusals.fail(unit, "module", what)
    refusals.warn(unit, "module", f"{what}; here 512 pixels are taken")


def _check_grey_region(unit: ControlUnit, refusals: Refusals) -> None:
    """A mask file of one channel, on which the extension fails; here it says all that is needed."""
    what = "A1111 fails on a mask file of one channel (send it in RGB)"
    if refusals.as_a1111:
        refusals.fail(unit, "effective_region_mask", what)
    refusals.warn(unit, "effective_region_mask", f"{what}; here it is heeded")


def check_sizes(
    unit: ControlUnit,
    source: Size,
    seen: Iterable[Size],
    resize_mode: str,
    targets: Iterable[Size],
    refusals: Refusals,
) -> None:
    """What is made of an image on the way to a pass has a bounded size.

    Args:
        source: the image's; `seen`: those that its preprocessor makes of it.
        targets: of the passes.
    """
    sizes = [*seen]
    if resize_mode == CROP_AND_RESIZE:
        own = source.width, source.height
        sizes += [Size(*covering(own, (target.width, target.height))) for target in targets]
    for size in sizes:
        fault = too_large(size.width, size.height)
        if fault:
            refusals.invalid(unit, "image", fault)


def has_blocks(module: Module, kind: Kind) -> bool:
    """Whether ``advanced_weighting`` means anything to a unit; others act on the whole picture."""
    return module.role not in _WHOLE_PICTURE_ROLES and kind is not Kind.LLLITE


def _check_block_weights(
    unit: ControlUnit,
    weights: Sequence[float],
    module: Module,
    kind: Kind,
    context: ControlContext,
    refusals: Refusals,
) -> None:
    name = "advanced_weighting"
    if module.role == "pulid":
        refusals.refuse(unit, name, f'the node of "{module.name}" has one weight for all layers')
    wanted = blocks_of(module, kind, context)
    if module.is_ip_adapter and len(weights) != wanted:
        refusals.fail(unit, name, f"holds {len(weights)} numbers, {wanted} are needed")
    if len(weights) < wanted:
        refusals.warn(
            unit, name, f"holds {len(weights)} numbers of {wanted}: the other blocks have no effect"
        )
    if len(weights) > wanted and not (kind is Kind.T2I_ADAPTER and len(weights) == wanted + 1):
        refusals.warn(unit, name, f"holds {len(weights)} numbers, of which {wanted} are read")
    if not all(0 <= weight <= _HIGHEST_BLOCK_WEIGHT for weight in weights[:wanted]):
        refusals.refuse(unit, name, f"weights go from 0 to {_HIGHEST_BLOCK_WEIGHT:g}")


def blocks_of(module: Module, kind: Kind, context: ControlContext) -> int:
    """How many numbers of ``advanced_weighting`` a unit reads."""
    if module.is_ip_adapter:
        return context.family.ip_adapter_layers
    return _T2I_BLOCKS if kind is Kind.T2I_ADAPTER else context.family.control_blocks


def partner_of(
    unit: ControlUnit,
    kind: Kind,
    before: ControlUnit | None,
    planned: set[int],
    refusals: Refusals,
) -> int | None:
    """The index of the embedding unit that a keypoints unit belongs to: the one right before it.

    Args:
        planned: indices of the units that take part.
    """
    if kind is not Kind.INSTANT_ID:
        return None
    if refusals.has_refused(unit.index - 1):
        raise Refused  # for the other unit's fault, which is told
    if before is None or before.module.role != "instant_id_embedding":
        refusals.fail(
            unit,
            "model",
            "InstantID's ControlNet takes its face from the unit right before it, which must "
            "be one with module instant_id_face_embedding",
            unit.model,
        )
    if before.index not in planned:
        refusals.refuse(unit, "model", f"the unit of its face, {before.path}, is left out")
    return before.index


def module_of(unit: ControlUnit, refusals: Refusals) -> Module:
    """A unit's module; for ip-adapter-auto the one that its model's name stands for."""
    if unit.module.role != "ip_adapter_auto":
        return unit.module
    found = models.preset_module(unit.model or "")
    if found is None:
        refusals.fail(
            unit,
            "model",
            f'ip-adapter-auto knows no module for "{unit.model}": name the module itself',
            unit.model,
        )
    return found


def plain_inpaint() -> Module:
    """The module that stands in for inpaint_only beside img2img's own mask."""
    return modules.table()["inpaint"]
