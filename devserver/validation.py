"""Validation of a submitted graph, with the answers of the ComfyUI that the server speaks as.

The rules and the shape of every error follow that version's ``execution.validate_prompt``; where it
walks a set, this walks in the declared order, so that answers are the same from run to run.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from devserver.dialect import Dialect, missing_class
from devserver.dynamic import live_inputs
from devserver.files import Files
from devserver.signatures import InputSpec, NodeSpec

Graph = dict[str, dict[str, Any]]
Error = dict[str, Any]

_LONGEST_LIST_SHOWN = 20
_CASTS: Mapping[str, Any] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}
MATCH_TYPE = "COMFY_MATCHTYPE_V3"
"""The type of links that take the type of one another; only the page sees to that."""

_READS_A_FILE = frozenset({"LoadImage", "LoadImageMask"})
"""Nodes whose ``image`` is checked by their own VALIDATE_INPUTS, and by nothing else."""


@dataclass
class Verdict:
    """What validation says of a graph.

    Attributes:
        error: the ``error`` member of a 400 answer, or None where at least one output is valid.
        outputs: the valid output nodes, in the graph's order.
        node_errors: node id -> errors, class and the outputs that depend on it; ComfyUI answers
            200 with these where another output is valid.
    """

    error: Error | None
    outputs: list[str] = field(default_factory=list)
    node_errors: dict[str, Error] = field(default_factory=dict)


@dataclass
class _Checked:
    """The state of one node: whether it and all above it are valid, and its own errors."""

    valid: bool
    errors: list[Error] = field(default_factory=list)


class Validator:
    """Checks graphs against the nodes and files of one server.

    Args:
        specs: every node that the server has.
        dialect: the version whose answers these are.
    """

    def __init__(self, specs: Mapping[str, NodeSpec], dialect: Dialect, files: Files) -> None:
        self._specs = specs
        self._dialect = dialect
        self._files = files

    def check(self, graph: Graph, targets: Sequence[str] | None = None) -> Verdict:
        """Validate a graph; numbers in it are converted to the types that the inputs declare.

        Args:
            graph: node id -> ``{"class_type", "inputs"}``.
            targets: ``partial_execution_targets``: only these outputs count.
        """
        refused = self._refuse_classes(graph)
        if refused is not None:
            return Verdict(refused)
        outputs = [
            node_id
            for node_id, node in graph.items()
            if self._specs[node["class_type"]].output_node
            and (targets is None or node_id in targets)
        ]
        if not outputs:
            return Verdict(_error("prompt_no_outputs", "Prompt has no outputs", ""))
        return _Pass(self._specs, self._dialect, self._files, graph).check_outputs(outputs)

    def _refuse_classes(self, graph: Graph) -> Error | None:
        for node_id, node in graph.items():
            if "class_type" not in node or node["class_type"] not in self._specs:
                return missing_class(self._dialect, node_id, node)
        return None


class _Pass:
    """One validation of one graph; remembers what was checked."""

    def __init__(
        self, specs: Mapping[str, NodeSpec], dialect: Dialect, files: Files, graph: Graph
    ) -> None:
        self._specs = specs
        self._dialect = dialect
        self._files = files
        self._graph = graph
        self._checked: dict[str, _Checked] = {}
        self._active: dict[str, None] = {}

    def check_outputs(self, outputs: Sequence[str]) -> Verdict:
        good: list[str] = []
        reasons: list[str] = []
        node_errors: dict[str, Error] = {}
        for output in outputs:
            result = self._check_output(output)
            if result.valid:
                good.append(output)
                continue
            reasons += [f"{error['message']}: {error['details']}" for error in result.errors]
            self._collect(output, node_errors)
        if good:
            return Verdict(None, good, node_errors)
        message = "Prompt outputs failed validation"
        error = _error("prompt_outputs_failed_validation", message, "\n".join(reasons))
        return Verdict(error, [], node_errors)

    def _check_output(self, output: str) -> _Checked:
        try:
            return self._check(output)
        except Exception as exception:
            info = {
                "exception_type": type_name(exception),
                "traceback": traceback.format_tb(exception.__traceback__),
            }
            message = "Exception when validating node"
            error = _error("exception_during_validation", message, str(exception), info)
            return self._remember(output, _Checked(False, [error]))

    def _collect(self, output: str, node_errors: dict[str, Error]) -> None:
        """Add every invalid node seen so far; the nodes below it carry no errors of their own."""
        for node_id, result in self._checked.items():
            if result.valid or not result.errors:
                continue
            if node_id not in node_errors:
                node_errors[node_id] = {
                    "errors": result.errors,
                    "dependent_outputs": [],
                    "class_type": self._graph[node_id]["class_type"],
                }
            node_errors[node_id]["dependent_outputs"].append(output)

    def _check(self, node_id: str) -> _Checked:
        if node_id in self._checked:
            return self._checked[node_id]
        if node_id in self._active:
            return self._cycle(node_id)
        self._active[node_id] = None
        try:
            result = self._check_node(node_id)
        finally:
            del self._active[node_id]
        if node_id in self._checked:  # by a cycle that came back to it
            known = self._checked[node_id]
            result.errors = known.errors + [e for e in result.errors if e not in known.errors]
            result.valid = result.valid and known.valid
        return self._remember(node_id, result)

    def _cycle(self, node_id: str) -> _Checked:
        """Older versions run into the recursion limit, and what they note on the way down is
        overwritten on the way up: an invalid node without an error."""
        if not self._dialect.names_cycles:
            return _Checked(False)
        active = list(self._active)
        nodes = active[active.index(node_id) :]
        path = " -> ".join(
            f"{name} ({self._graph[name]['class_type']})" for name in [*nodes, node_id]
        )
        for name in nodes:
            info = {"node_id": name, "cycle_nodes": nodes}
            error = _error("dependency_cycle", "Dependency cycle detected", path, info)
            self._checked[name] = _Checked(False, [error])
        return self._checked[node_id]

    def _remember(self, node_id: str, result: _Checked) -> _Checked:
        self._checked[node_id] = result
        return result

    def _check_node(self, node_id: str) -> _Checked:
        node = self._graph[node_id]
        spec = self._specs[node["class_type"]]
        inputs = node["inputs"]
        result = _Checked(True)
        for item in live_inputs(spec.inputs, inputs):
            if item.name not in inputs:
                if item.required:
                    result.errors.append(_missing(item))
            elif isinstance(inputs[item.name], list):
                self._check_link(item, inputs[item.name], result)
            else:
                error = self._check_value(spec, item, inputs)
                if error is not None:
                    result.errors.append(error)
        if spec.name in _READS_A_FILE:
            result.errors += self._check_file(spec.name, inputs)
        result.valid = result.valid and not result.errors
        return result

    def _check_link(self, item: InputSpec, link: list[Any], result: _Checked) -> None:
        config = item.config(self._files.names)
        if len(link) != 2:
            info = {"input_name": item.name, "input_config": config, "received_value": link}
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            result.errors.append(_error("bad_linked_input", message, item.name, info))
            return
        source, slot = link
        outputs = self._specs[self._graph[source]["class_type"]].outputs
        received = tuple(kind for kind, _ in outputs)[slot]
        if not _types_meet(received, config[0]):
            details = f"{item.name}, received_type({received}) mismatch input_type({config[0]})"
            info = {
                "input_name": item.name,
                "input_config": config,
                "received_type": received,
                "linked_node": link,
            }
            message = "Return type mismatch between linked nodes"
            result.errors.append(_error("return_type_mismatch", message, details, info))
            return
        try:
            if not self._check(source).valid:
                result.valid = False
        except Exception as exception:
            result.valid = False
            info = {
                "input_name": item.name,
                "input_config": config,
                "exception_message": str(exception),
                "exception_type": type_name(exception),
                "traceback": traceback.format_tb(exception.__traceback__),
                "linked_node": link,
            }
            message = "Exception when validating inner node"
            kind = "exception_during_inner_validation"
            self._checked[source] = _Checked(False, [_error(kind, message, str(exception), info)])

    def _check_value(self, spec: NodeSpec, item: InputSpec, inputs: dict[str, Any]) -> Error | None:
        value = inputs[item.name]
        try:
            if isinstance(value, dict) and "__value__" in value:
                value = inputs[item.name] = value["__value__"]
            if item.type in _CASTS:
                value = inputs[item.name] = _CASTS[item.type](value)
        except Exception as exception:
            info = self._info(item, value) | {"exception_message": str(exception)}
            message = f"Failed to convert an input value to a {item.type} value"
            details = f"{item.name}, {value}, {exception}"
            return _error("invalid_input_type", message, details, info)
        if spec.name in _READS_A_FILE and item.name == "image":
            return None
        return self._check_range(item, value) or self._check_choice(item, value)

    def _check_range(self, item: InputSpec, value: Any) -> Error | None:
        low, high = item.settings.get("min"), item.settings.get("max")
        if low is not None and value < low:
            message = f"Value {value} smaller than min of {low}"
            return _error("value_smaller_than_min", message, item.name, self._info(item, value))
        if high is not None and value > high:
            message = f"Value {value} bigger than max of {high}"
            return _error("value_bigger_than_max", message, item.name, self._info(item, value))
        return None

    def _check_choice(self, item: InputSpec, value: Any) -> Error | None:
        if item.type != "COMBO" or not item.checked:
            return None
        choices = item.choices(self._files.names)
        if value in choices:
            return None
        info = self._info(item, value)
        listed = str(choices)
        if len(choices) > _LONGEST_LIST_SHOWN:
            info["input_config"] = None
            listed = f"(list of length {len(choices)})"
        told = repr(value) if self._dialect.quotes_values else f"'{value}'"
        details = f"{item.name}: {told} not in {listed}"
        return _error("value_not_in_list", "Value not in list", details, info)

    def _check_file(self, name: str, inputs: Mapping[str, Any]) -> list[Error]:
        if "image" not in inputs:
            raise TypeError(
                f"{name}.VALIDATE_INPUTS() missing 1 required positional argument: 'image'"
            )
        # What is linked is not known yet, and is None to the node.
        image: Any = None if isinstance(inputs["image"], list) else inputs["image"]
        if self._files.input_path(image).exists():
            return []
        message = "Custom validation failed for node"
        details = f"image - Invalid image file: {image}"
        return [_error("custom_validation_failed", message, details, {"input_name": "image"})]

    def _info(self, item: InputSpec, value: Any) -> Error:
        config = item.config(self._files.names)
        return {"input_name": item.name, "input_config": config, "received_value": value}


def type_name(exception: BaseException) -> str:
    """The name under which ComfyUI reports an exception's type."""
    kind = type(exception)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def _types_meet(received: str, wanted: Any) -> bool:
    """Whether an output may be linked: equal, any, or one of several in common ("A,B")."""
    if not isinstance(wanted, str):
        return False
    if received == wanted or {"*", MATCH_TYPE} & {received, wanted}:
        return True
    return bool(
        {kind.strip() for kind in received.split(",")} & {k.strip() for k in wanted.split(",")}
    )


def _missing(item: InputSpec) -> Error:
    info = {"input_name": item.name}
    return _error("required_input_missing", "Required input is missing", item.name, info)


def _error(kind: str, message: str, details: str, info: Error | None = None) -> Error:
    return {"type": kind, "message": message, "details": details, "extra_info": info or {}}
