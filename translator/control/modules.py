"""The table of ControlNet modules (preprocessors): names, sliders, and the nodes of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

from translator.report import Report
from translator.tables import read_table

Role = Literal[
    "control",
    "colorfix",
    "recolor",
    "inpaint",
    "reference",
    "revision",
    "style",
    "ip_adapter",
    "ip_adapter_auto",
    "face_id",
    "pulid",
    "instant_id_embedding",
    "instant_id_keypoints",
]
"""What a unit with the module does: ``control`` feeds a map to a ControlNet and nothing more."""

Status = Literal["exact", "near"]
MaskUse = Literal["none", "accepted", "required"]
Vision = Literal["H", "G", "L"]
OwnNodesFor = Literal["every", "small"]

IP_ADAPTER_ROLES: frozenset[Role] = frozenset(
    ("ip_adapter", "ip_adapter_auto", "face_id", "pulid", "instant_id_embedding")
)


@dataclass(frozen=True, slots=True)
class Slider:
    """A slider of a module: a value outside of `low`..`high` counts as `default`."""

    label: str
    low: float
    high: float
    default: float
    step: float

    def settled(self, value: float) -> float:
        """The value as A1111 uses it."""
        return value if self.low <= value <= self.high else self.default

    def checked(self, value: float, path: str, report: Report) -> float:
        """`settled`, and a warning where another value is used than was sent; -1 asks for that."""
        settled = self.settled(value)
        if settled != value and value != _DEFAULT_ASKED and self is not HIDDEN_SLIDER:
            report.warn(
                path,
                f"{value:g} is not within {self.low:g}..{self.high:g}, which the module takes: its "
                f"default {self.default:g} is used, as the extension does",
            )
        return settled


_DEFAULT_ASKED = -1
"""What stands for a slider's default in a request."""

HIDDEN_SLIDER = Slider("EMPTY_LABEL", 0.0, 1.0, 0.5, 0.01)
"""What a module has where it shows no slider."""


@dataclass(frozen=True, slots=True)
class NodeRecipe:
    """A node with its inputs; ``$...`` stands for a value of the unit, see the table's head."""

    class_type: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Weights:
    """A model file that a node of ours is told by name.

    Attributes:
        folder: ComfyUI's model folder.
        file: its usual name.
        pattern: what the name of a file that serves as well holds, whatever the case.
        place: where to put it, in words.
    """

    folder: str
    file: str
    pattern: str
    place: str


@dataclass(frozen=True, slots=True)
class Module:
    """A row of the table.

    Attributes:
        name: A1111's internal name.
        label: what its user interface shows.
        names: other names it answers to: the label, and Forge's.
        tags: control types under which it is listed.
        priority: A1111 lists a type's modules by falling priority.
        role: what a unit with it does.
        returns_image: whether its result is a map that is fitted to the picture.
        model_free: whether the unit needs no model.
        mask: whether a mask belongs to the module rather than being a drawn image.
        resolution, threshold_a, threshold_b: sliders, None where A1111 shows none.
        nodes: the nodes that do the work, each fed by the one before.
        own_nodes: the same with nodes of ours, which come nearer; empty where there are none.
        own_nodes_for: ``every`` picture, or ``small`` ones, whose resolution is out of the range of
            `nodes`.
        vision: the CLIP vision model it needs: ``H``, ``G`` or ``L``; None for none.
        weights: the file that its own nodes load; None where they need none.
        without_own_node: what differs where our node is not there.
        without_weights: what differs where the file of `weights` is not there.
        files: the weights that the nodes want, as their pack names them.
        status, why: how near to A1111 the result is, and why not nearer.
        exact_at: values of a unit (``processor_res``, ``threshold_a``) at which it is exact.
        differs: in a word or two what is not A1111's where the status is ``near``: the model, the
            network (its weights in another library's code), resolution, post-processing ...
        near_with: what in a model's name makes it near; with other models it is exact. Empty where
            the model is no matter.
    """

    name: str
    label: str
    names: tuple[str, ...]
    tags: tuple[str, ...]
    priority: int
    role: Role
    returns_image: bool
    model_free: bool
    mask: MaskUse
    resolution: Slider | None
    threshold_a: Slider | None
    threshold_b: Slider | None
    nodes: tuple[NodeRecipe, ...]
    own_nodes: tuple[NodeRecipe, ...]
    own_nodes_for: OwnNodesFor
    vision: Vision | None
    weights: Weights | None
    without_own_node: str | None
    without_weights: str | None
    files: tuple[str, ...]
    status: Status
    why: str | None
    exact_at: Mapping[str, float]
    near_with: tuple[str, ...]
    differs: str | None

    @property
    def sliders(self) -> tuple[Slider, Slider, Slider]:
        """Resolution and both thresholds, the hidden ones too."""
        shown = (self.resolution, self.threshold_a, self.threshold_b)
        first, second, third = (slider or HIDDEN_SLIDER for slider in shown)
        return first, second, third

    @property
    def uses_mask(self) -> bool:
        """Whether a mask of the image is its business: inpainting and CLIP, as A1111 tells them."""
        clip = "ip-adapter" in self.name and "face_id" not in self.name
        return clip or self.role in ("inpaint", "revision", "style")

    @property
    def keeps_source(self) -> bool:
        """Whether its image stays as it is outside of its mask: inpaint_only, with LaMa or not."""
        return self.name.startswith("inpaint_only")

    @property
    def is_ip_adapter(self) -> bool:
        """Whether its model is an IP-Adapter's, InstantID's among them."""
        return self.role in IP_ADAPTER_ROLES


@cache
def table() -> Mapping[str, Module]:
    """All modules by internal name, in the order of A1111's list."""
    rows = read_table("modules")["modules"]
    return {name: _module(name, row) for name, row in rows.items()}


def find(name: str) -> Module | None:
    """A module by internal name, label or Forge's name, whatever the case; None without one."""
    return _by_name().get(name.strip().lower())


@cache
def _by_name() -> Mapping[str, Module]:
    found: dict[str, Module] = {}
    for module in table().values():
        found[module.name.lower()] = module
    for module in table().values():
        for name in module.names:
            found.setdefault(name.lower(), module)
    return found


def _module(name: str, row: Mapping[str, Any]) -> Module:
    for field, kinds in (("role", Role), ("status", Status), ("mask", MaskUse)):
        if row[field] not in get_args(kinds):
            raise ValueError(f"modules.json: {name}: {field} is {row[field]!r}")
    return Module(
        name=name,
        label=row["label"],
        names=tuple(row["names"]),
        tags=tuple(row["tags"]),
        priority=row["priority"],
        role=row["role"],
        returns_image=row["returns_image"],
        model_free=row["model_free"],
        mask=row["mask"],
        resolution=_slider(row["resolution"]),
        threshold_a=_slider(row["threshold_a"]),
        threshold_b=_slider(row["threshold_b"]),
        nodes=_recipes(row["nodes"]),
        own_nodes=_recipes(row.get("own_nodes", ())),
        own_nodes_for=row.get("own_nodes_for", "every"),
        vision=row.get("vision"),
        weights=Weights(**row["weights"]) if "weights" in row else None,
        without_own_node=row.get("without_own_node"),
        without_weights=row.get("without_weights"),
        files=tuple(row["files"]),
        status=row["status"],
        why=row.get("why"),
        exact_at=row.get("exact_at", {}),
        near_with=tuple(row.get("near_with", ())),
        differs=row.get("differs"),
    )


def _recipes(rows: Sequence[Mapping[str, Any]]) -> tuple[NodeRecipe, ...]:
    return tuple(NodeRecipe(row["class"], row["inputs"]) for row in rows)


def _slider(row: Mapping[str, Any] | None) -> Slider | None:
    if row is None:
        return None
    return Slider(row["label"], row["min"], row["max"], row["default"], row["step"])
