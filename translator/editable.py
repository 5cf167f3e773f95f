"""A graph for people to edit in ComfyUI: prompts and steps as A1111's page has them.

A translated graph holds what A1111's grammar and schedules come to, as JSON in A1111TextEncode,
A1111Sampler and A1111Sigmas. Here A1111Prompt and A1111Schedule take their places, wherever they
come to the very same numbers; what cannot be said so keeps its JSON.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from translator.comfy.catalog import Catalog
from translator.comfy.groups import links
from translator.plan.values import Detail, Plan, SamplingPass
from translator.prompt import Emphasis, PromptError, written_input
from translator.schedules.sigmas import ScheduleError
from translator.schedules.written import STARTS, TABLES, lay_out, options_text, scheduler_label

Graph = dict[str, dict[str, Any]]

PROMPT, SCHEDULE = "A1111Prompt", "A1111Schedule"
_ENCODER, _SAMPLER, _SIGMAS, _GUIDER = (
    "A1111TextEncode",
    "A1111Sampler",
    "A1111Sigmas",
    "A1111Guider",
)
_NUMBERS = ("eta", "s_churn", "s_tmin", "s_tmax", "s_noise")
_START_OF_ROLE = {"first": STARTS[0], "hires": STARTS[1], "img2img": STARTS[2], "detail": STARTS[2]}
_SIDES = (("prompt", "positive"), ("negative prompt", "negative"))
"""A1111Prompt's ``kind`` -> the attribute of `PromptPlan`."""

_SAMPLER_OUT, _SIGMAS_OUT, _CALLS_OUT, _PROMPT_CALLS_OUT = range(4)


def editable(graph: Mapping[str, Any], plans: Iterable[Plan], catalog: Catalog) -> Graph:
    """The same graph with its prompts and steps as people write them.

    Args:
        plans: what the graph was made from.
        catalog: of the ComfyUI that is to open it; without the two nodes the graph stays.
    """
    found: Graph = json.loads(json.dumps(graph))
    if catalog.has(PROMPT, SCHEDULE):
        _Writer(found, tuple(_sides(plans))).write()
    return found


@dataclass(frozen=True)
class _Side:
    """A sampling pass beside the one whose model calls its prompts begin with."""

    sampling_pass: SamplingPass
    first: SamplingPass
    old_scheduling: bool

    @property
    def hires(self) -> bool:
        return self.sampling_pass.role == "hires"


def _sides(plans: Iterable[Plan]) -> Iterator[_Side]:
    for plan in plans:
        old = plan.a1111_options.use_old_scheduling
        for sampling_pass in plan.passes:
            own = sampling_pass.role != "hires"
            yield _Side(sampling_pass, sampling_pass if own else plan.first, old)
        yield from _sides(step.plan for step in plan.finish if isinstance(step, Detail))


class _Writer:
    """Rewrites one graph in place."""

    def __init__(self, graph: Graph, sides: tuple[_Side, ...]) -> None:
        self._graph = graph
        self._before = dict(graph)
        self._sides = sides
        self._by_sigmas: dict[Hashable, list[_Side]] = {}
        for side in sides:
            spec = side.sampling_pass.schedule
            key = spec.spec.sampler.name, tuple(spec.sigmas)
            self._by_sigmas.setdefault(key, []).append(side)
        self._by_prompt: dict[Hashable, dict[Hashable, tuple[_Side, str, str]]] = {}
        self._next_node = max(map(int, graph), default=0) + 1
        self._taken: set[str] = set()
        """Nodes of sigmas in whose place there is a schedule."""
        self._of_parts: dict[tuple[str, str], str] = {}
        self._of_pass: dict[int, str] = {}
        """A pass, by identity -> the node of its schedule."""

    def write(self) -> None:
        for node in tuple(self._graph):
            self._write_schedule(node)
        users: dict[str, list[str]] = {}
        for node in self._graph:
            for source in {source for _, source, _ in links(self._graph, node)}:
                users.setdefault(source, []).append(node)
        for node in tuple(self._graph):
            if self._graph[node]["class_type"] == _GUIDER:
                self._link_calls(node, users.get(node, ()))
            elif self._graph[node]["class_type"] == _ENCODER:
                self._write_prompt(node)
        self._drop_unused()

    # --- schedules -------------------------------------------------------------------------------

    def _write_schedule(self, node: str) -> None:
        """Feed a node that samples from an A1111Schedule, where there is one that does the same."""
        inputs = self._graph[node]["inputs"]
        sampler, sigmas = (self._fed_by(node, name) for name in ("sampler", "sigmas"))
        if sampler is None or sigmas is None:
            return
        kinds = tuple(self._before[item]["class_type"] for item in (sampler, sigmas))
        if kinds != (_SAMPLER, _SIGMAS):
            return
        schedule = self._of_parts.get((sampler, sigmas)) or self._schedule(sampler, sigmas)
        if schedule is not None:
            self._of_parts[sampler, sigmas] = schedule
            inputs["sampler"] = [schedule, _SAMPLER_OUT]
            inputs["sigmas"] = [schedule, _SIGMAS_OUT]

    def _fed_by(self, node: str, name: str) -> str | None:
        found = links(self._graph, node)
        return next((source for given, source, _ in found if given == name), None)

    def _schedule(self, sampler: str, sigmas: str) -> str | None:
        """A new A1111Schedule in place of both; None where none does the same."""
        given = self._before[sampler]["inputs"]
        values = json.loads(self._before[sigmas]["inputs"]["sigmas"])
        sides = self._by_sigmas.get((given["sampler"], tuple(values)), ())
        for side in sides:
            written = _written_schedule(side.sampling_pass, given, values)
            if written is not None:
                node = self._place_of(sigmas)
                title = self._before[sigmas]["_meta"]["title"].replace(_SIGMAS, SCHEDULE)
                self._graph[node] = {
                    "class_type": SCHEDULE,
                    "inputs": written,
                    "_meta": {"title": title},
                }
                self._note(sides, given, values, node)
                return node
        return None

    def _place_of(self, sigmas: str) -> str:
        """The node that a schedule becomes: its sigmas', or where that is taken a new one."""
        if sigmas not in self._taken:
            self._taken.add(sigmas)
            return sigmas
        self._next_node += 1
        return str(self._next_node - 1)

    def _note(
        self, sides: Iterable[_Side], given: Mapping[str, Any], values: list[float], node: str
    ) -> None:
        for side in sides:
            if _written_schedule(side.sampling_pass, given, values) is not None:
                self._of_pass.setdefault(id(side.sampling_pass), node)

    def _link_calls(self, guider: str, sampled: Iterable[str]) -> None:
        """A guider counts the calls of the one schedule that it samples by.

        Args:
            sampled: the nodes that it feeds.
        """
        schedules = {self._fed_by(node, "sigmas") for node in sampled}
        schedule = schedules.pop() if len(schedules) == 1 else None
        inputs = self._graph[guider]["inputs"]
        if schedule is None or self._graph[schedule]["class_type"] != SCHEDULE:
            return
        if _laid_out(self._graph[schedule]["inputs"]).total_steps == inputs["total_steps"]:
            inputs["total_steps"] = [schedule, _CALLS_OUT]

    # --- prompts ---------------------------------------------------------------------------------

    def _write_prompt(self, node: str) -> None:
        """Put an A1111Prompt that comes to the same parts in a node's place, if there is one."""
        inputs = self._graph[node]["inputs"]
        written = self._written_prompts(inputs["emphasis"], inputs["old_emphasis"])
        found = written.get(_frozen(json.loads(inputs["prompt"])))
        if found is None:
            return
        side, kind, text = found
        rest = {key: value for key, value in inputs.items() if key not in ("clip", "prompt")}
        if kind != _SIDES[0][0]:
            rest["zero_empty"] = side.sampling_pass.checkpoint.family.zeroes_empty_negative
        hires_calls = _prompt_calls(side.sampling_pass) if side.hires else 0
        prompt = {
            "clip": inputs["clip"],
            "text": text,
            "kind": kind,
            "calls": self._calls_of(side.first, _prompt_calls(side.first)),
            **rest,
            "hires_calls": self._calls_of(side.sampling_pass, hires_calls) if side.hires else 0,
            "old_scheduling": side.old_scheduling,
        }
        self._graph[node].update(class_type=PROMPT, inputs=prompt)

    def _written_prompts(
        self, emphasis: Emphasis, old_emphasis: bool
    ) -> Mapping[Hashable, tuple[_Side, str, str]]:
        """What prompts of the sides come to -> the first such side, the kind and the text."""
        key = emphasis, old_emphasis
        if key not in self._by_prompt:
            found = self._by_prompt[key] = {}
            for side in self._sides:
                for kind, name in _SIDES:
                    text = getattr(side.sampling_pass.prompt, name).text
                    parts = _parts_of(side, kind, text, emphasis, old_emphasis)
                    if parts is not None:
                        found.setdefault(_frozen(parts), (side, kind, text))
        return self._by_prompt[key]

    def _calls_of(self, sampling_pass: SamplingPass, calls: int) -> Any:
        schedule = self._of_pass.get(id(sampling_pass))
        return calls if schedule is None else [schedule, _PROMPT_CALLS_OUT]

    def _drop_unused(self) -> None:
        """Leave out the nodes that schedules have replaced, and keep the order of first use."""
        used = {source for node in self._graph for _, source, _ in links(self._graph, node)}
        for node in tuple(self._graph):
            if self._graph[node]["class_type"] in (_SAMPLER, _SIGMAS) and node not in used:
                del self._graph[node]
        ordered: Graph = {}
        for node in self._graph:
            _add_with_sources(node, self._graph, ordered)
        self._graph.clear()
        self._graph.update(ordered)


def _add_with_sources(node: str, graph: Graph, ordered: Graph) -> None:
    """Put a node behind those that feed it."""
    waiting = [node]
    while waiting:
        item = waiting[-1]
        missing = [source for _, source, _ in links(graph, item) if source not in ordered]
        if missing and item not in ordered:
            waiting += missing
            continue
        ordered.setdefault(waiting.pop(), graph[item])


def _parts_of(side: _Side, kind: str, text: str, emphasis: Emphasis, old_emphasis: bool) -> Any:
    """What an A1111Prompt makes of a text; None where it fails on it."""
    try:
        return written_input(
            text,
            _prompt_calls(side.first),
            _prompt_calls(side.sampling_pass) if side.hires else 0,
            negative=kind != _SIDES[0][0],
            emphasis=emphasis,
            old_emphasis=old_emphasis,
            old_scheduling=side.old_scheduling,
        )
    except PromptError:
        return None


def _frozen(value: Any) -> Hashable:
    """A JSON value that can be looked up; equal ones stay equal."""
    if isinstance(value, Mapping):
        return frozenset((name, _frozen(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    found: Hashable = value
    return found


def _prompt_calls(sampling_pass: SamplingPass) -> int:
    """The model calls that A1111 lays a pass' prompts out over."""
    return sampling_pass.sampler.sampler.total_steps(sampling_pass.steps)


def _written_schedule(
    sampling_pass: SamplingPass, given: Mapping[str, Any], values: list[float]
) -> dict[str, Any] | None:
    """Inputs of an A1111Schedule that comes to a sampler's inputs and sigmas, or None."""
    spec = sampling_pass.schedule.spec
    if given["sampler"] != spec.sampler.name:
        return None
    denoise = sampling_pass.denoise
    written = {
        "sampler": spec.sampler.name,
        "scheduler": scheduler_label(sampling_pass.sampler),
        "steps": sampling_pass.steps,
        "start": _START_OF_ROLE[sampling_pass.role],
        "denoise": 1.0 if denoise is None else float(denoise),
        "table": TABLES[spec.sdxl],
        **{name: given[name] for name in _NUMBERS},
        "options": options_text(spec.options),
        "extra": given["extra"],
    }
    try:
        laid = _laid_out(written)
    except ScheduleError:
        return None
    extra = json.loads(given["extra"] or "{}")
    same = (
        list(laid.sigmas) == values
        and list(laid.timesteps) == json.loads(given["timesteps"] or "[]")
        and (laid.sigma_min, laid.sigma_max) == (given["sigma_min"], given["sigma_max"])
        and laid.sampler_extra.items() <= extra.items()
    )
    rest = {name: value for name, value in extra.items() if name not in laid.sampler_extra}
    return {**written, "extra": json.dumps(rest) if rest else ""} if same else None


def _laid_out(written: Mapping[str, Any]) -> Any:
    """The pass that an A1111Schedule lays out."""
    return lay_out(
        written["sampler"],
        written["scheduler"],
        written["steps"],
        written["denoise"],
        written["start"],
        table=written["table"],
        options=written["options"],
    )
