"""``alwayson_scripts``: one table of titles, and a reader for each script that is honoured.

A script that is off is a warning at most, whoever sent it: the web interface dumps every script it
has. One that is on and unknown is A1111's 422. The rows lie in ``tables/always_on.json``; a script
that becomes supported gets the state ``read`` there and a row of `_READERS` here. Source: A1111
v1.10.1 ``api/api.py`` (``init_script_args``) and ``modules/scripts.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

from translator.control.units import ControlUnit, parse_units
from translator.detailer.units import OFF as DETAILER_OFF
from translator.detailer.units import DetailerScript, default_detector, parse_script
from translator.faceswap.script import FaceSwapScript
from translator.faceswap.script import parse_script as face_swap_script
from translator.plan.patches import ModelPatch
from translator.plan.starts import SoftInpainting
from translator.prompt.block_weights import Script as BlockWeightScript
from translator.report import Report, show
from translator.request.hints import meaning
from translator.request.schema import Tab
from translator.scope import Scope
from translator.scripts.arguments import Arguments
from translator.scripts.block_weights import read_block_weights
from translator.scripts.dynamic_prompts import DynamicPrompts, read_dynamic_prompts
from translator.scripts.patches.readers import PATCH_READERS
from translator.scripts.patches.values import PatchScript
from translator.scripts.regions.forge_couple import read_forge_couple
from translator.scripts.regions.planner import RegionScript
from translator.scripts.regions.regional_prompter import read_regional_prompter
from translator.scripts.tiled_diffusion import (
    TiledDiffusionScript,
    is_tile_bound,
    read_multi_diffusion,
    read_tiled_diffusion,
)
from translator.suggest import did_you_mean
from translator.tables import read_table

State = Literal["read", "harmless", "ignored", "unsupported"]

_SWITCHES = ("enabled", "enable", "active", "is_active", "ad_tab_enable")
"""Members of an object among the arguments that turn a script on; absent counts as on."""

_PAGE_SECTIONS = frozenset({"sampler", "seed"})
"""What only a dump of A1111's page names, in small letters."""

_NOTHING = (None, False, 0, "", "None", "none")
"""Arguments that ask for nothing."""


@dataclass(frozen=True)
class AlwaysOnRow:
    """What is known of one always-on script.

    Attributes:
        title: as A1111 shows it; ``*`` at its end stands for a version.
        state: see the table's head.
        why: why its arguments are without effect, or cannot be honoured, and what to do.
        switch: position of the argument that turns it on.
        default: whether it is on without that argument.
        tab: the only endpoint that has it, or None.
        unit: member of each of its objects that names what the unit does; one without is off.
        becomes: of a script that is read, what it becomes here.
        match: how near that comes to A1111's picture: ``exact`` or ``near``.
        needs: nodes without which it cannot run.
        listed: what ``GET /sdapi/v1/scripts`` calls it, if not its title in small letters.
        also: titles of other releases.
    """

    title: str
    state: State
    why: str = ""
    becomes: str = ""
    match: Literal["exact", "near", ""] = ""
    switch: int = 0
    default: bool = False
    tab: Tab | None = None
    unit: str = ""
    needs: tuple[str, ...] = ()
    listed: str = ""
    also: tuple[str, ...] = ()

    @property
    def is_of_forge(self) -> bool:
        """Whether it is one that Forge brings along, and A1111 has not."""
        return "Integrated" in self.title

    def is_called(self, title: str) -> bool:
        """Whether a request that names this title means the row."""
        own, given = self.title.lower(), title.strip().lower()
        if own.endswith("*"):
            return given.startswith(own[:-1])
        return given == own or given in map(str.lower, self.also)

    def lacks_switch(self, args: Sequence[Any]) -> bool:
        """Whether arguments that ask for something end before the one that turns it on."""
        return bool(args) and len(args) <= self.switch and not self.default

    def is_on(self, args: Sequence[Any]) -> bool:
        """Whether arguments turn it on."""
        if len(args) <= self.switch:
            return self.default
        if self.unit and args[self.switch] is not False:
            units = [value for value in args if isinstance(value, Mapping)]
            return any(_wants(unit) and unit.get(self.unit) not in _NOTHING for unit in units)
        return _wants(args[self.switch])


@dataclass(frozen=True)
class AlwaysOnScripts:
    """What the always-on scripts of a request ask for.

    Attributes:
        control: ControlNet's units that take part.
        detailer: ADetailer's units.
        face_swap: what ReActor is to do, None where it is off.
        model_patches: what the scripts change of the model, in the request's order.
        patch_infotext: what those scripts write into the infotext.
        soft_inpainting: img2img's Soft Inpainting, None where it is off.
        block_weights: how LoRA Block Weight is set.
        dynamic_prompts: what Dynamic Prompts draws, None where it is off.
        tiled: how Tiled Diffusion cuts latents, None where it is off.
        regions: prompts by region, None without.
    """

    control: tuple[ControlUnit, ...] = ()
    detailer: DetailerScript = DETAILER_OFF
    face_swap: FaceSwapScript | None = None
    model_patches: tuple[ModelPatch, ...] = ()
    patch_infotext: Mapping[str, Any] = field(default_factory=dict)
    soft_inpainting: SoftInpainting | None = None
    block_weights: BlockWeightScript = field(default_factory=BlockWeightScript)
    dynamic_prompts: DynamicPrompts | None = None
    tiled: TiledDiffusionScript | None = None
    regions: RegionScript | None = None

    def with_cropped_control(self) -> AlwaysOnScripts:
        """The same, every unit's image cut with "only masked": ControlNet beside upscalers."""
        control = (replace(unit, inpaint_crop_input_image=True) for unit in self.control)
        return replace(self, control=tuple(control))


@dataclass(frozen=True)
class Call:
    """A script as a request calls it.

    Attributes:
        path: JSON path of its arguments.
        args: the arguments, a list.
        tab: the endpoint.
    """

    path: str
    args: list[Any]
    tab: Tab


def _control_net(call: Call, scope: Scope) -> dict[str, Any]:
    count = scope.a1111_options.control_net_unit_count
    return {"control": parse_units(call.args, count, scope.report)}


def _adetailer(call: Call, scope: Scope) -> dict[str, Any]:
    units = [value for value in call.args if isinstance(value, Mapping)]
    if units and not any(_wants(unit) and unit.get("ad_model") not in _NOTHING for unit in units):
        scope.report.warn(
            call.path,
            "no unit names a model (ad_model) and is on: the script is off; A1111 may run its "
            "page's default unit beside them, send [true, false, unit] for one of your own",
        )
        return {}
    script = parse_script(
        call.args,
        scope.a1111_options.ad_max_models,
        default_detector(scope.catalog),
        call.path,
        scope.report,
    )
    return {"detailer": script}


_SOFT_USUAL = (False, 1, 0.5, 4, 0, 0.5, 2)
"""The page's values of Soft Inpainting."""

_HIGHEST_SOFT = 1e6
"""Its sliders end at 100; A1111's API takes more."""


def _soft_inpainting(call: Call, scope: Scope) -> dict[str, Any]:
    given = Arguments(call.args, call.path, scope, _SOFT_USUAL)
    if not given.switch(0):
        return {}
    given.warn_of_surplus()
    for position in range(1, len(_SOFT_USUAL)):
        given.number(position, 0, _HIGHEST_SOFT)
    numbers = given.values[1 : len(_SOFT_USUAL)]  # as they were sent: the infotext shows them so
    return {"soft_inpainting": SoftInpainting(*numbers)} if given.sound else {}


def _block_weights(call: Call, scope: Scope) -> dict[str, Any]:
    return {"block_weights": read_block_weights(call.args, call.path, scope)}


def _reactor(call: Call, scope: Scope) -> dict[str, Any]:
    return {"face_swap": face_swap_script(call.args, call.path, scope.report)}


def _dynamic_prompts(call: Call, scope: Scope) -> dict[str, Any]:
    return {"dynamic_prompts": read_dynamic_prompts(call.args, call.path, scope)}


def _tiled_diffusion(call: Call, scope: Scope) -> dict[str, Any]:
    return {"tiled": read_tiled_diffusion(call.args, call.path, call.tab, scope)}


def _multi_diffusion(call: Call, scope: Scope) -> dict[str, Any]:
    return {"tiled": read_multi_diffusion(call.args, call.path, scope)}


def _regional_prompter(call: Call, scope: Scope) -> dict[str, Any]:
    return {"regions": read_regional_prompter(call.args, call.path, scope)}


def _forge_couple(call: Call, scope: Scope) -> dict[str, Any]:
    return {"regions": read_forge_couple(call.args, call.path, scope)}


Reader = Callable[[Call, Scope], dict[str, Any]]
"""Reads a script's arguments into attributes of `AlwaysOnScripts`."""

_READERS: Mapping[str, Reader] = {
    "adetailer": _adetailer,
    "controlnet": _control_net,
    "dynamic prompts v*": _dynamic_prompts,
    "forge couple": _forge_couple,
    "lora block weight": _block_weights,
    "multidiffusion integrated": _multi_diffusion,
    "reactor": _reactor,
    "regional prompter": _regional_prompter,
    "soft inpainting": _soft_inpainting,
    "tiled diffusion": _tiled_diffusion,
}
"""Lower-case title -> what reads its arguments; rows of state ``read`` that are not here have a
reader in `PATCH_READERS`."""


@cache
def always_on_rows() -> tuple[AlwaysOnRow, ...]:
    """The table."""
    return tuple(AlwaysOnRow(**row) for row in read_table("always_on")["scripts"])


def find_row(title: str) -> AlwaysOnRow | None:
    """The row of a title, as A1111 compares them; None for an unknown one."""
    return next((row for row in always_on_rows() if row.is_called(title)), None)


def read_always_on(scripts: Mapping[str, Any], tab: Tab, scope: Scope) -> AlwaysOnScripts:
    """What a request's always-on scripts ask for; the report says what becomes of the others.

    Args:
        scripts: the request's ``alwayson_scripts``: title -> ``{"args": [...]}``.
    """
    found: dict[str, Any] = {}
    patches: list[PatchScript] = []
    for title, script in scripts.items():
        path = f"alwayson_scripts.{title}"
        row = find_row(title)
        if row is None or row.tab not in (None, tab):
            _report_unknown(title, script, path, scope, dumped=_is_dump(scripts))
            continue
        call = Call(f"{path}.args", _arguments(script, path, scope), tab)
        if row.lacks_switch(call.args) and any(map(_wants, call.args)):
            scope.report.warn(
                call.path, f"[{row.switch}], which turns it on, is not sent: the script is off"
            )
        _add(found, _read(row, call, scope), call, scope.report)
        patches += _patches(row, call, scope)
    read = AlwaysOnScripts(
        model_patches=tuple(item.patch for item in patches),
        patch_infotext={name: value for item in patches for name, value in item.infotext.items()},
        **found,
    )
    if read.tiled is not None and any(is_tile_bound(unit) for unit in read.control):
        scope.report.unsupported(
            read.tiled.path,
            "a unit that changes the model (reference, color fix, inpaint_only, image prompts) is "
            "made for the whole picture, not for tiles; leave out one of both",
            instead="latents are not cut",
        )
        return replace(read, tiled=None)
    return read


def _add(found: dict[str, Any], asked: Mapping[str, Any], call: Call, report: Report) -> None:
    """Add what one more script asks for; a script that is off takes nothing from another."""
    for name, value in asked.items():
        if not value:
            continue
        if name in found:
            report.unsupported(
                call.path,
                "another script of the request does the same; leave one of both out",
                instead="it is left out",
            )
        else:
            found[name] = value


def _arguments(script: Any, path: str, scope: Scope) -> list[Any]:
    """The arguments of a script; none after a report where there is no list of them.

    A1111 looks for "args" in whatever stands there, and so finds none in a list or a text.
    """
    if not isinstance(script, Mapping):
        _report_no_object(script, path, scope)
        return []
    args = script.get("args", [])
    if not isinstance(args, list):
        scope.report.invalid(f"{path}.args", f"{show(args)} is not a list", args)
        return []
    for key in script:
        if key != "args":
            message = "A1111 reads only args of a script, it is ignored"
            scope.report.warn(f"{path}.{key}", message)
    return args


def _report_no_object(script: Any, path: str, scope: Scope) -> None:
    message = f'{show(script)} is not an object with a list "args"'
    if not isinstance(script, list | str) or "args" in script:
        scope.report.invalid(path, message, script)
    elif script:
        scope.report.unsupported(
            path, message, instead="A1111 reads nothing of it", value=show(script)
        )


def _read(row: AlwaysOnRow, call: Call, scope: Scope) -> dict[str, Any]:
    """What a known script asks for."""
    if row.state == "read":
        reader = _READERS.get(row.title.lower())
        return reader(call, scope) if reader else {}
    if row.state == "ignored" and row.is_on(call.args) and not _is_page(row, call.args):
        scope.report.warn(call.path, f"without effect: {row.why}")
    elif row.state == "unsupported" and row.is_on(call.args):
        scope.report.unsupported(call.path, row.why, instead="it is left out")
    return {}


def _is_page(row: AlwaysOnRow, args: Sequence[Any]) -> bool:
    """Whether arguments are what A1111's page has, as of a dump of all its scripts."""
    known = read_table("api")["script_arguments"].get(row.title.lower(), {"args": []})
    usual = [item["value"] for item in known["args"]]
    return bool(usual) and list(args) == usual[: len(args)]


def _patches(row: AlwaysOnRow, call: Call, scope: Scope) -> list[PatchScript]:
    """What a script that changes the model asks for; empty for others and where it is off."""
    reader = PATCH_READERS.get(row.title.lower())
    if reader is None or not row.is_on(call.args):
        return []
    patch = reader(call.args, call.path, scope)
    return [] if patch is None else [patch]


def _is_dump(scripts: Mapping[str, Any]) -> bool:
    """Whether a page's every script is named: no client writes A1111's own sections by hand."""
    return not _PAGE_SECTIONS.isdisjoint(title.strip().lower() for title in scripts)


def _report_unknown(title: str, script: Any, path: str, scope: Scope, *, dumped: bool) -> None:
    """A title that no script of this tab has: A1111's 422, but for what is switched off.

    Args:
        dumped: whether the page's every script is named; one without arguments is none then.
    """
    report = scope.report
    args = script.get("args", []) if isinstance(script, Mapping) else script
    args = args if isinstance(args, list) else [args]
    if title.lower() in _selectable_titles():
        report.invalid(
            path,
            "Cannot have a selectable script in the always on scripts params; "
            "it belongs in script_name",
        )
    elif (args or dumped) and not any(map(_wants, args[:1] if _is_switch(args) else args)):
        report.warn(path, "there is no such script here; it is off, so it is left out")
    else:
        titles = [row.title.removesuffix(" v*") for row in always_on_rows()]
        meant, hint = meaning("request", title), did_you_mean(title, titles)
        if meant and not hint:
            hint = f', did you mean "{meant}"?'
        report.unsupported(path, f"Script '{title}' not found{hint}", instead="it is left out")


def _is_switch(args: Sequence[Any]) -> bool:
    """Whether the first argument of an unknown script looks like its switch."""
    return bool(args) and isinstance(args[0], bool)


def _wants(value: Any) -> bool:
    """Whether an argument asks for something."""
    if isinstance(value, Mapping):
        asked = [value[name] for name in _SWITCHES if name in value]
        return all(map(_wants, asked)) and bool(value)
    if isinstance(value, list):
        return any(map(_wants, value))
    return value not in _NOTHING


@cache
def _selectable_titles() -> frozenset[str]:
    """Titles, in lower case, of the scripts that belong in script_name."""
    rows = read_table("api")["script_arguments"].items()
    return frozenset(title for title, row in rows if not row["is_alwayson"])
