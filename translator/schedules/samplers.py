"""Samplers and schedulers: A1111's names, how it reads them, and what stands for them in ComfyUI.

The rows lie in ``tables/samplers.json`` and ``tables/schedulers.json``, in A1111's order (the order
decides how a suffix is cut off a sampler name); rows with ``beyond_a1111`` stand behind them.
Sources: A1111 v1.10.1 ``modules/sd_samplers.py`` (``get_sampler_and_scheduler``),
``sd_schedulers.py``, ``sd_samplers_kdiffusion.py``, ``sd_samplers_timesteps.py``,
``sd_samplers_lcm.py``.

`resolve` reads the names of a request's first pass, `resolve_hires` those of its second. A1111
takes an unknown first-pass name for ``DPM++ 2M`` without a word; `resolve` does the same and says
so in `ResolvedSampler.unknown_sampler`, with suggestions. An unknown sampler of the second pass
is an error in A1111 (500 "bad sampler name") and raises `UnknownSamplerError` here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NotRequired, TypedDict, cast

from translator.suggest import nearest
from translator.tables import read_table

Family = Literal["kdiffusion", "timesteps", "lcm"]
"""Which of A1111's three sampler classes runs it: on sigmas, on timesteps, on LCM's sigma table."""

Evaluation = Literal[
    "single", "midpoint", "endpoint", "restart", "range", "adaptive", "ddim", "plms", "unipc"
]
"""How a sampler calls the model, see `schedule.model_calls`."""

EtaOption = Literal["eta_ancestral", "eta_ddim"]

Match = Literal["same", "noise", "near", "other"]
"""How near ComfyUI's form is to A1111's: the same picture, the same maths with other step noise,
nearly the same picture, or another picture."""

AUTOMATIC = "Automatic"

_SUGGESTIONS = 3
"""How many near names a message holds."""


class UnknownSamplerError(ValueError):
    """A hires sampler that A1111 does not know.

    Attributes:
        name: the name asked for.
        suggestions: near names, best first.
        parts: the sampler, and the scheduler at the name's end, where it is made of both.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.suggestions = sampler_suggestions(name)
        bare, scheduler = _split(name)
        known = scheduler is not None and find_sampler(bare) is not None
        self.parts = (bare, scheduler.label) if known and scheduler is not None else None
        super().__init__(f"there is no sampler {name!r}")


@dataclass(frozen=True)
class ComfySampler:
    """What stands for an A1111 sampler in core ComfyUI.

    Attributes:
        sampler_name: the name that KSampler and KSamplerSelect take.
        scheduler: KSampler's scheduler that comes nearest to what a timestep sampler walks; None
            where the request's scheduler counts.
        node: the SAMPLER node that takes eta and s_noise, or None where there is none.
        node_inputs: the node's inputs that A1111's parameters fill: parameter -> input.
        node_constants: the node's other inputs.
        match: how near it comes.
        note: what differs, for a warning; empty where nothing does.
    """

    sampler_name: str
    scheduler: str | None
    node: str | None
    node_inputs: Mapping[str, str]
    node_constants: Mapping[str, str | float | int]
    match: Match
    note: str


@dataclass(frozen=True, eq=False)
class Sampler:
    """A row of A1111's sampler table. There is one object a row, so identity is equality.

    Attributes:
        name: the full name, which is the only one that A1111's API accepts.
        aliases: short names that only the command line and old versions knew.
        legacy_aliases: short names of the scheduler variants before 1.9.
        family: the class that runs it.
        default_scheduler: the scheduler that Automatic stands for; None is the model's own uniform
            schedule.
        second_order: A1111 counts two model calls a step (prompt schedules, progress).
        discard_penultimate: the schedule is made one step longer and loses its last sigma but one.
        brownian_noise: step noise comes from a Brownian tree over the full schedule.
        uses_ensd: infotext prints eta_noise_seed_delta.
        eta_option: the option that gives eta where the request does not; None takes no eta.
        noise_params: which of s_churn, s_tmin, s_tmax and s_noise it takes.
        evaluation: how it calls the model.
        comfy: its form in core ComfyUI.
        beyond_a1111: A1111 has no such sampler; ComfyUI's own runs, in exact mode too.
        elsewhere: its names in other programs (diffusers, hosted services), for messages.
    """

    name: str
    aliases: tuple[str, ...]
    legacy_aliases: tuple[str, ...]
    family: Family
    default_scheduler: str | None
    second_order: bool
    discard_penultimate: bool
    brownian_noise: bool
    uses_ensd: bool
    eta_option: EtaOption | None
    noise_params: tuple[str, ...]
    evaluation: Evaluation
    comfy: ComfySampler
    beyond_a1111: bool
    elsewhere: tuple[str, ...] = ()

    @property
    def multistep_sde(self) -> bool:
        """Whether it is one of those that carry a step over and draw from a Brownian tree."""
        return self.brownian_noise and self.evaluation == "single"

    @property
    def uses_timesteps(self) -> bool:
        """Runs on whole timesteps and ignores the scheduler (DDIM, DDIM CFG++, PLMS, UniPC)."""
        return self.family == "timesteps"

    def total_steps(self, steps: int) -> int:
        """The model calls A1111 counts for ``steps``, on which prompt schedules are laid out."""
        return steps * 2 if self.second_order else steps


@dataclass(frozen=True)
class ComfyScheduler:
    """What stands for an A1111 scheduler in core ComfyUI.

    Attributes:
        scheduler: the name that KSampler and BasicScheduler take (None: Automatic).
        node: the SIGMAS node, or None where none gives the same list.
        match: how near it comes.
        note: what differs; empty where nothing does.
    """

    scheduler: str | None
    node: str | None
    match: Match
    note: str


@dataclass(frozen=True, eq=False)
class Scheduler:
    """A row of A1111's scheduler table. There is one object a row, so identity is equality.

    Attributes:
        name: the internal name ("karras").
        label: the name shown and printed ("Karras").
        aliases: further suffixes of a sampler name.
        default_rho: the rho that option rho replaces; -1 where there is none.
        need_inner_model: the function reads the model's sigma table.
        comfy: its form in core ComfyUI.
        beyond_a1111: A1111 has no such scheduler.
        elsewhere: its names in other programs, for messages.
    """

    name: str
    label: str
    aliases: tuple[str, ...]
    default_rho: float
    need_inner_model: bool
    comfy: ComfyScheduler
    beyond_a1111: bool
    elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True)
class ResolvedSampler:
    """The sampler and scheduler of one pass.

    Attributes:
        sampler: the row that runs.
        scheduler: the row that draws the sigmas; None is the model's uniform schedule, and always
            None for the timestep samplers, which have no schedule of sigmas.
        label: what A1111 keeps in ``p.scheduler`` (``hr_scheduler`` as sent, in the second pass).
        unknown_sampler: the name asked for where A1111 does not know it, else None.
        unknown_scheduler: the same for the scheduler.
        ignored_suffix: the scheduler that the sampler name ends with, where another one was sent
            and wins.
        suggestions: near names for what is unknown, best first.
    """

    sampler: Sampler
    scheduler: Scheduler | None
    label: str
    unknown_sampler: str | None = None
    unknown_scheduler: str | None = None
    ignored_suffix: str | None = None
    suggestions: tuple[str, ...] = ()

    @property
    def schedule_type(self) -> str:
        """Infotext's "Schedule type": the label of the scheduler that ran, else `label`."""
        return self.scheduler.label if self.scheduler else self.label


class _SamplerRow(TypedDict):
    name: str
    aliases: list[str]
    legacy_aliases: list[str]
    family: Family
    default_scheduler: str | None
    second_order: bool
    discard_penultimate: bool
    brownian_noise: bool
    uses_ensd: bool
    eta_option: EtaOption | None
    noise_params: list[str]
    evaluation: Evaluation
    beyond_a1111: NotRequired[bool]
    elsewhere: NotRequired[list[str]]
    comfy: dict[str, Any]


class _SchedulerRow(TypedDict):
    name: str
    label: str
    aliases: list[str]
    default_rho: float
    need_inner_model: bool
    beyond_a1111: NotRequired[bool]
    elsewhere: NotRequired[list[str]]
    comfy: dict[str, Any]


@lru_cache(maxsize=1)
def samplers() -> tuple[Sampler, ...]:
    """A1111's samplers in its order; the first stands in for every unknown name."""
    return tuple(_sampler(row) for row in cast(list[_SamplerRow], _rows("samplers")))


@lru_cache(maxsize=1)
def schedulers() -> tuple[Scheduler, ...]:
    """A1111's schedulers in its order; the first is Automatic."""
    return tuple(_scheduler(row) for row in cast(list[_SchedulerRow], _rows("schedulers")))


def find_sampler(name: str) -> Sampler | None:
    """The sampler of exactly this name, or None."""
    return _sampler_index().get(name)


def find_scheduler(name: str) -> Scheduler | None:
    """The scheduler whose internal name or label is exactly ``name``, or None."""
    return _scheduler_index().get(name)


def get_sampler_and_scheduler(
    sampler_name: str | None, scheduler: str | None, *, convert_automatic: bool = True
) -> tuple[Sampler, Scheduler]:
    """A1111's function of this name, quirks included.

    Every scheduler in list order may cut its label, name or alias off the end of the sampler name,
    and the loop goes on with what is left: "DPM++ 2M SGM Uniform" loses " Uniform" first and ends
    as the unknown "DPM++ 2M SGM", so as DPM++ 2M with Uniform.

    Args:
        sampler_name: the name with or without a scheduler suffix.
        scheduler: name or label; anything else counts as Automatic.
        convert_automatic: answer Automatic where the scheduler found is the sampler's own.
    """
    name, cut = _split(sampler_name or samplers()[0].name)
    found = cut or _scheduler_index().get(scheduler or "", schedulers()[0])
    sampler = _sampler_index().get(name, samplers()[0])
    if convert_automatic and sampler.default_scheduler == found.name:
        found = schedulers()[0]
    return sampler, found


def resolve(
    sampler_name: str | None, scheduler: str | None = None, sampler_index: str | None = None
) -> ResolvedSampler:
    """Sampler and scheduler of a first pass, as the API and ``process_images`` settle them.

    The API cuts the suffix off the name and takes the scheduler found only where the request sends
    none; ``process_images`` then reads both once more. So "Euler Karras" with scheduler
    "Automatic" runs without Karras.

    Args:
        sampler_name: the request's field; empty or None falls back to ``sampler_index``.
        scheduler: the request's field.
        sampler_index: the request's deprecated field, by default "Euler" in A1111's API.
    """
    asked = sampler_name or sampler_index
    first, found = get_sampler_and_scheduler(asked, scheduler)
    kept = scheduler or ("" if found.label == AUTOMATIC else found.label)
    sampler, found = get_sampler_and_scheduler(first.name, kept, convert_automatic=False)
    bare, suffix = _split(asked or sampler.name)
    unknown_sampler = None if find_sampler(bare) else asked
    unknown_scheduler = scheduler if scheduler and not find_scheduler(scheduler) else None
    return ResolvedSampler(
        sampler,
        _effective(sampler, found),
        found.label,
        unknown_sampler,
        unknown_scheduler,
        suffix.label if suffix and scheduler and suffix is not found else None,
        _suggestions(unknown_sampler, unknown_scheduler),
    )


def resolve_hires(
    first: ResolvedSampler, hr_sampler_name: str | None, hr_scheduler: str | None
) -> ResolvedSampler:
    """Sampler and scheduler of the hires pass.

    ``hr_scheduler`` None inherits the first pass' `ResolvedSampler.label`, so Automatic is settled
    by the hires sampler; "" counts as Automatic; an unknown one is the model's uniform schedule.

    Raises:
        UnknownSamplerError: ``hr_sampler_name`` is not exactly a sampler's name. A1111 does not
            cut suffixes here.
    """
    sampler = find_sampler(hr_sampler_name) if hr_sampler_name else first.sampler
    if sampler is None:
        raise UnknownSamplerError(str(hr_sampler_name))
    label = first.label if hr_scheduler is None else hr_scheduler or AUTOMATIC
    scheduler = find_scheduler(label)
    unknown = None if scheduler else label
    effective = _effective(sampler, scheduler) if scheduler else None
    suggestions = _suggestions(None, unknown)
    return ResolvedSampler(
        sampler, effective, label, unknown_scheduler=unknown, suggestions=suggestions
    )


def sampler_suggestions(name: str) -> tuple[str, ...]:
    """Samplers that ``name`` may mean, best first: by another name of it, else by nearness."""
    sampler = _sampler_meant(name)
    if sampler:
        return (sampler,)
    words = _plain(name)
    for scheduler in schedulers():
        for suffix in (scheduler.label, scheduler.name, *scheduler.aliases):
            bare = words.removesuffix(f" {_plain(suffix)}")
            sampler = _sampler_meant(bare) if bare != words else None
            if sampler:
                return (f"{sampler} {_read_at_the_end(scheduler)}",)
    return nearest(name, _sampler_index(), count=_SUGGESTIONS)


def _sampler_meant(name: str) -> str | None:
    """The sampler that a name written otherwise stands for."""
    words = _plain(name)
    bare = words.removeprefix("k ").removesuffix(" gpu").removesuffix("scheduler")
    return _alias_index().get(words) or _alias_index().get(bare)


def _read_at_the_end(scheduler: Scheduler) -> str:
    """What a sampler's name ends with for this scheduler; " SGM Uniform" loses " Uniform" first."""
    return next(
        text
        for text in (scheduler.label, *scheduler.aliases, scheduler.name)
        if _split(f"{samplers()[0].name} {text}") == (samplers()[0].name, scheduler)
    )


def _plain(name: str) -> str:
    """A name without regard to case, and with blanks for underscores."""
    return name.strip().lower().replace("_", " ")


def scheduler_suggestions(name: str) -> tuple[str, ...]:
    """Schedulers that ``name`` may mean, best first."""
    own = _plain(name)
    for scheduler in schedulers():
        if own in map(
            _plain, (scheduler.name, scheduler.label, *scheduler.aliases, *scheduler.elsewhere)
        ):
            return (scheduler.label,)
    for scheduler in schedulers():
        if own == _plain(scheduler.comfy.scheduler or ""):
            return (scheduler.label,)
    return nearest(name, [row.label for row in schedulers()], count=_SUGGESTIONS)


def _effective(sampler: Sampler, scheduler: Scheduler) -> Scheduler | None:
    """The scheduler that runs: Automatic is the sampler's own, or None for the uniform schedule."""
    if sampler.uses_timesteps:
        return None
    if scheduler.label != AUTOMATIC:
        return scheduler
    return find_scheduler(sampler.default_scheduler) if sampler.default_scheduler else None


@lru_cache(maxsize=256)
def _split(name: str) -> tuple[str, Scheduler | None]:
    """A sampler name without scheduler suffixes, and the scheduler of the last one cut off."""
    found = None
    for scheduler in schedulers():
        for suffix in (scheduler.label, scheduler.name, *scheduler.aliases):
            if name.endswith(f" {suffix}"):
                found = scheduler
                name = name[: -len(suffix) - 1]
                break
    return name, found


def _suggestions(sampler: str | None, scheduler: str | None) -> tuple[str, ...]:
    return (sampler_suggestions(sampler) if sampler else ()) + (
        scheduler_suggestions(scheduler) if scheduler else ()
    )


@lru_cache(maxsize=1)
def _sampler_index() -> Mapping[str, Sampler]:
    return {sampler.name: sampler for sampler in samplers()}


@lru_cache(maxsize=1)
def _scheduler_index() -> Mapping[str, Scheduler]:
    by_name = {scheduler.name: scheduler for scheduler in schedulers()}
    return by_name | {scheduler.label: scheduler for scheduler in schedulers()}


@lru_cache(maxsize=1)
def _alias_index() -> Mapping[str, str]:
    """Plain aliases and names, ComfyUI's and other programs' among them -> A1111's name."""
    index: dict[str, str] = {}
    for sampler in samplers():
        index.setdefault(_plain(sampler.comfy.sampler_name), sampler.name)
    for sampler in samplers():
        names = (sampler.name, *sampler.aliases, *sampler.elsewhere)
        index |= dict.fromkeys(map(_plain, names), sampler.name)
        index |= {
            _plain(alias): f"{sampler.name} {'Karras' if alias.endswith('_ka') else 'Exponential'}"
            for alias in sampler.legacy_aliases
        }
    return index


def _rows(name: str) -> list[dict[str, Any]]:
    return cast(list[dict[str, Any]], read_table(name)[name])


def _sampler(row: _SamplerRow) -> Sampler:
    return Sampler(
        name=row["name"],
        aliases=tuple(row["aliases"]),
        legacy_aliases=tuple(row["legacy_aliases"]),
        family=row["family"],
        default_scheduler=row["default_scheduler"],
        second_order=row["second_order"],
        discard_penultimate=row["discard_penultimate"],
        brownian_noise=row["brownian_noise"],
        uses_ensd=row["uses_ensd"],
        eta_option=row["eta_option"],
        noise_params=tuple(row["noise_params"]),
        evaluation=row["evaluation"],
        comfy=ComfySampler(**row["comfy"]),
        beyond_a1111=row.get("beyond_a1111", False),
        elsewhere=tuple(row.get("elsewhere", ())),
    )


def _scheduler(row: _SchedulerRow) -> Scheduler:
    return Scheduler(
        name=row["name"],
        label=row["label"],
        aliases=tuple(row["aliases"]),
        default_rho=row["default_rho"],
        need_inner_model=row["need_inner_model"],
        comfy=ComfyScheduler(**row["comfy"]),
        beyond_a1111=row.get("beyond_a1111", False),
        elsewhere=tuple(row.get("elsewhere", ())),
    )
