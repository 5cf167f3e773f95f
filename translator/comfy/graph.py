"""A ComfyUI graph under construction: nodes are checked, shared and numbered as they are added."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from translator.comfy.catalog import Catalog, InputSignature, NodeSignature
from translator.comfy.ranges import usual_field, within
from translator.report import Report


class GraphError(Exception):
    """A node that the signatures refuse: a defect of the translator, never of the request."""


class MissingNodeError(GraphError):
    """A node class that the catalog lacks.

    Attributes:
        class_type: its name.
    """

    def __init__(self, class_type: str) -> None:
        super().__init__(f"{class_type}: no such node in the catalog")
        self.class_type = class_type


@dataclass(frozen=True, slots=True)
class Ref:
    """An output of a node: its id, the output's position, and the ComfyUI type it carries."""

    node: str
    index: int
    type: str


class Model(Ref):
    """MODEL"""

    __slots__ = ()


class Clip(Ref):
    """CLIP"""

    __slots__ = ()


class Vae(Ref):
    """VAE"""

    __slots__ = ()


class Conditioning(Ref):
    """CONDITIONING"""

    __slots__ = ()


class Latent(Ref):
    """LATENT"""

    __slots__ = ()


class Image(Ref):
    """IMAGE: a batch of pictures"""

    __slots__ = ()


class Mask(Ref):
    """MASK"""

    __slots__ = ()


class ControlNet(Ref):
    """CONTROL_NET"""

    __slots__ = ()


class ClipVision(Ref):
    """CLIP_VISION"""

    __slots__ = ()


class ClipVisionOutput(Ref):
    """CLIP_VISION_OUTPUT"""

    __slots__ = ()


class StyleModel(Ref):
    """STYLE_MODEL"""

    __slots__ = ()


class UpscaleModel(Ref):
    """UPSCALE_MODEL"""

    __slots__ = ()


class Noise(Ref):
    """NOISE"""

    __slots__ = ()


class Sigmas(Ref):
    """SIGMAS"""

    __slots__ = ()


class Sampler(Ref):
    """SAMPLER"""

    __slots__ = ()


class Number(Ref):
    """INT"""

    __slots__ = ()


class Text(Ref):
    """STRING"""

    __slots__ = ()


class Regions(Ref):
    """A1111_REGIONS: the regions that a detector found on a picture"""

    __slots__ = ()


class BboxDetector(Ref):
    """BBOX_DETECTOR"""

    __slots__ = ()


class SegmDetector(Ref):
    """SEGM_DETECTOR"""

    __slots__ = ()


class Guider(Ref):
    """GUIDER"""

    __slots__ = ()


class Hooks(Ref):
    """HOOKS: changes of a model's weights that its conditioning brings"""

    __slots__ = ()


class HookKeyframes(Ref):
    """HOOK_KEYFRAMES: strengths of hooks by percent of the noise schedule"""

    __slots__ = ()


R = TypeVar("R", bound=Ref)

_Inputs = Mapping[str, Any]
_Key = tuple[str, frozenset[tuple[str, type, Any]]]


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the graph, by its id."""

    id: str
    signature: NodeSignature

    def out(self, kind: type[R], index: int = 0) -> R:
        """Output `index`, typed as `kind`."""
        return kind(self.id, index, self.signature.outputs[index])


class Graph:
    """Collects nodes and spells them in ComfyUI's API format.

    Adding a node that equals one already there (class and inputs) gives that one back, and ids are
    numbers in order of first use: ComfyUI caches by inputs, and equal requests give equal graphs.

    Args:
        catalog: what nodes there are.
        report: takes numbers out of a node's range; they come from the request.

    Attributes:
        bounded: JSON path of a field whose number is out of a node's range -> the bound that is
            used in its place.
    """

    def __init__(self, catalog: Catalog, report: Report) -> None:
        self._catalog = catalog
        self._report = report
        self._nodes: dict[str, dict[str, Any]] = {}
        self._provided: Mapping[str, Image | Mask] = {}
        self._shared: dict[_Key, Node] = {}
        self._fields: Mapping[str, str] = {}
        self.bounded: dict[str, float] = {}

    def add(self, class_type: str, /, title: str | None = None, **inputs: Any) -> Node:
        """Add a node, or find its equal.

        Args:
            class_type: the node's class.
            title: what the node is called in ComfyUI's editor; no part of its identity.
            inputs: values, or `Ref` for links. None leaves an input out.

        Raises:
            MissingNodeError: the catalog has no such class.
            GraphError: an input is unknown, missing, of the wrong type or not in its list.
        """
        signature = self._catalog.nodes.get(class_type)
        if signature is None:
            raise MissingNodeError(class_type)
        given, key = self._given(signature, inputs)
        found = self._shared.get(key)
        if found is not None:
            return found
        spelled = self._checked(signature, given)
        node = Node(str(len(self._nodes) + 1), signature)
        self._nodes[node.id] = {
            "class_type": class_type,
            "inputs": spelled,
            "_meta": {"title": title or class_type},
        }
        self._shared[key] = node
        return node

    @contextmanager
    def numbers_from(self, fields: Mapping[str, str]) -> Iterator[None]:
        """Say, for the nodes added meanwhile, which field of the request sets an input's number.

        Args:
            fields: input -> JSON path, beside those of the code around and of `ranges`.
        """
        around = self._fields
        self._fields = {**around, **fields}
        try:
            yield
        finally:
            self._fields = around

    @contextmanager
    def providing(self, pictures: Mapping[str, Image | Mask]) -> Iterator[None]:
        """Let outputs stand for the uploads of these names, for as long as the block runs."""
        before, self._provided = self._provided, {**self._provided, **pictures}
        try:
            yield
        finally:
            self._provided = before

    def provided(self, name: str) -> Image | Mask | None:
        """The output that stands for an upload, see `providing`."""
        return self._provided.get(name)

    def signature(self, class_type: str) -> NodeSignature:
        """The signature of a node class that there is."""
        return self._catalog.nodes[class_type]

    def has(self, class_type: str) -> bool:
        """Whether the catalog has a node class."""
        return self._catalog.has(class_type)

    def offers(self, class_type: str, name: str, value: str) -> bool:
        """Whether a value is in the list of a node's input."""
        return value in self._catalog.options(class_type, name)

    def to_api(self) -> dict[str, dict[str, Any]]:
        """The graph in API format, ready for ``POST /prompt`` as ``{"prompt": ...}``."""
        return self._nodes

    def _given(self, signature: NodeSignature, inputs: Mapping[str, Any]) -> tuple[_Inputs, _Key]:
        """The inputs that are set, numbers within their ranges; and what makes them this node's."""
        given: dict[str, Any] = {}
        identity = []
        for name, value in inputs.items():
            if value is None:
                continue
            item = signature.inputs.get(name)
            if item is None:
                raise GraphError(f"{signature.name}.{name}: no such input")
            kind = type(value)
            if kind is float or kind is int:
                if kind is int and item.type == "FLOAT":
                    kind, value = float, float(value)
                low, high = item.min, item.max
                if (low is not None and value < low) or (high is not None and value > high):
                    value = self._within(signature.name, name, item, value)
            given[name] = value
            identity.append((name, kind, value))  # the kind keeps 1 and True apart
        return given, (signature.name, frozenset(identity))

    def _within(self, node: str, name: str, item: InputSignature, value: float) -> float:
        field = self._fields.get(name) or usual_field(node, name)
        bounded = within(node, name, item, value, field, self._report)
        if bounded != value:
            self.bounded[field] = bounded
        return bounded

    def _checked(self, signature: NodeSignature, given: _Inputs) -> dict[str, Any]:
        """The inputs as ComfyUI's API writes them."""
        for name in signature.required:
            if name not in given:
                raise GraphError(f"{signature.name}.{name}: required input missing")
        spelled = dict(given)
        for name, value in given.items():
            item = signature.inputs[name]
            wanted = item.type
            if isinstance(value, Ref):
                if value.type != wanted and not _fits(value.type, wanted):
                    raise GraphError(
                        f"{signature.name}.{name}: takes {wanted}, got a link of type {value.type}"
                    )
                spelled[name] = [value.node, value.index]
            elif type(value) is not _WIDGETS.get(wanted):
                self._check_value(f"{signature.name}.{name}", item, value)
        return spelled

    def _check_value(self, where: str, item: InputSignature, value: Any) -> None:
        if item.type == "COMBO":
            self._check_choice(where, item, value)
        elif item.type not in _WIDGETS:
            raise GraphError(f"{where}: takes a link of type {item.type}, got {value!r}")
        elif isinstance(value, bool) or not isinstance(value, _WIDGETS[item.type]):
            raise GraphError(f"{where}: takes {item.type}, got {value!r}")

    def _check_choice(self, where: str, item: InputSignature, value: Any) -> None:
        if item.folder == "input":
            return  # uploaded before the graph is submitted
        allowed = self._catalog.files(item.folder) if item.folder else item.options
        if allowed is not None and value not in allowed:
            raise GraphError(f"{where}: {value!r} is not in its list")


_WIDGETS: Mapping[str, type] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


def _fits(produced: str, wanted: str) -> bool:
    """ComfyUI's rule for links: equal types, or a union written with commas, or ``*``."""
    if produced == wanted or "*" in (produced, wanted):
        return True
    return bool(set(produced.split(",")) & set(wanted.split(",")))
