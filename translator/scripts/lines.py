"""The script "Prompts from file or textbox": one generation per line.

Source: A1111 v1.10.1 ``scripts/prompts_from_file.py``.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from translator.infotext.text import GenerationFacts, create_info, create_infotext
from translator.plan.answer import DetectedMaps, Output
from translator.plan.pictures import Picture
from translator.request.a1111_options import A1111Options
from translator.schedules.samplers import AUTOMATIC, get_sampler_and_scheduler, samplers
from translator.scripts.expansion import (
    MAX_CHARACTERS,
    MAX_IMAGES,
    RANDOM_SEEDS,
    Expansion,
    Fields,
    ScriptContext,
    prompt_length,
    settled_sampler,
    share_parameters,
    within_bounds,
)
from translator.suggest import did_you_mean

TITLE = "Prompts from file or textbox"

ARGUMENTS = ("iterate_seed_every_line", "same_random_seed", "prompt_position", "prompt_txt")

_LINES = f"script_args[{ARGUMENTS.index('prompt_txt')}]"

_PROMPTS = ("prompt", "negative_prompt")


class _LineError(ValueError):
    """A line with "--" that cannot be read as options; A1111 takes it for a prompt."""


def _text(value: str) -> str:
    return value


def _flag(value: str) -> bool:
    return value == "true"


def _sampler(value: str) -> str | None:
    """A sampler by name or alias in any case, None for an unknown one."""
    known = {row.name.lower(): row.name for row in samplers()}
    aliases = {alias.lower(): row.name for row in samplers() for alias in row.aliases}
    return {**known, **aliases}.get(value.lower())


def _settled_sampler(value: str, context: ScriptContext) -> str:
    """The sampler of a line; A1111 takes its first one for a name that it does not know."""
    found = _sampler(value)
    if found is not None:
        return found
    first = samplers()[0].name
    bare, scheduler = get_sampler_and_scheduler(value, None)
    instead = f"{first} is used with the request's scheduler, as A1111 does"
    if scheduler.label != AUTOMATIC and bare.name == first:
        context.report.warn(
            _LINES, f'--sampler_name "{value}": no scheduler is read at its end; {instead}'
        )
    else:
        context.report.unsupported(
            _LINES,
            f'--sampler_name: A1111 has no sampler "{value}" here'
            f"{did_you_mean(value, [row.name for row in samplers()])}",
            instead=instead,
            value=value,
        )
    return first


_TAGS: Mapping[str, Callable[[str], Any]] = {
    "sd_model": _text,
    "styles": list,
    "seed": int,
    "subseed_strength": float,
    "subseed": int,
    "seed_resize_from_h": int,
    "seed_resize_from_w": int,
    "sampler_name": _text,
    "batch_size": int,
    "n_iter": int,
    "steps": int,
    "cfg_scale": float,
    "width": int,
    "height": int,
    "restore_faces": _flag,
    "tiling": _flag,
}
"""Option of a line -> how its text is read. A1111 keeps ``--styles`` as a text, of which it then
takes every letter for a style's name; `list` does the same."""

_WITHOUT_EFFECT: Mapping[str, Callable[[str], Any]] = {
    "outpath_samples": _text,
    "outpath_grids": _text,
    "prompt_for_display": _text,
    "sampler_index": int,
    "do_not_save_samples": _flag,
    "do_not_save_grid": _flag,
}


@dataclass(frozen=True)
class LinesExpansion(Expansion):
    """The lines of a text, one variant each.

    Attributes:
        seed: the request's seed after all lines, as ``info`` shows it.
        server_options: the options without the request's overrides, which A1111 has taken back
            when it writes ``info``.
    """

    seed: int
    server_options: A1111Options

    @property
    def set_by(self) -> tuple[Mapping[str, str], ...]:
        """The fields that a line sets, all from the script's text."""
        return tuple(
            {
                name: _LINES
                for name, value in variant.items()
                if name not in ("seed", "override_settings") and value != self.fields[name]
            }
            for variant in self.variants
        )

    def info(self, facts: Sequence[GenerationFacts], now: datetime | None = None) -> dict[str, Any]:
        """All images' prompts and texts over what the request itself says.

        A1111 fills it from the request that no generation has touched: no model, one seed, the
        negative prompt as sent.
        """
        shared = share_parameters(facts)
        texts = [
            create_infotext(item, index) for item in shared for index in range(len(item.seeds))
        ]
        fields, a1111_options = self.fields, self.server_options
        prompts = [prompt for item in shared for prompt in item.prompts]
        restores = fields["restore_faces"]
        return {
            **create_info(shared[-1], texts, now=now),
            "prompt": prompts[0],
            "all_prompts": prompts,
            "negative_prompt": fields["negative_prompt"],
            "all_negative_prompts": [fields["negative_prompt"]],
            "seed": self.seed,
            "all_seeds": [self.seed],
            "subseed": -1,
            "all_subseeds": [-1],
            "subseed_strength": fields["subseed_strength"],
            "width": fields["width"],
            "height": fields["height"],
            "sampler_name": fields["sampler_name"],
            "cfg_scale": fields["cfg_scale"],
            "steps": fields["steps"],
            "batch_size": fields["batch_size"],
            "restore_faces": restores,
            "face_restoration_model": a1111_options.face_restoration_model if restores else None,
            "sd_model_name": None,
            "sd_model_hash": None,
            "sd_vae_name": None,
            "sd_vae_hash": None,
            "seed_resize_from_w": fields["seed_resize_from_w"],
            "seed_resize_from_h": fields["seed_resize_from_h"],
            "denoising_strength": fields["denoising_strength"],
            "styles": list(fields["styles"] or ()),
            "clip_skip": a1111_options.CLIP_stop_at_last_layers,
            "is_using_inpainting_conditioning": False,
        }


def expand_lines(
    fields: Fields, args: Sequence[Any], context: ScriptContext
) -> LinesExpansion | None:
    """The generations of a text of prompts, or None after a report.

    Args:
        fields: the request.
        args: script_args, as many as `ARGUMENTS`.
    """
    given = dict(zip(ARGUMENTS, args, strict=True))
    text = given["prompt_txt"]
    if not isinstance(text, str) or not text.strip():
        context.report.invalid(_LINES, "a text with at least one prompt is wanted", text)
        return None
    base = settled_sampler(fields)
    if len(text) > MAX_CHARACTERS:
        context.report.invalid(_LINES, f"the text has more than {MAX_CHARACTERS} characters")
        return None
    prompts = list(filter(None, map(str.strip, text.splitlines())))
    if not within_bounds(len(prompts), prompt_length(base), _LINES, context.report):
        return None
    iterates = bool(given["iterate_seed_every_line"])
    if (iterates or given["same_random_seed"]) and base["seed"] in RANDOM_SEEDS:
        base["seed"] = context.draw_seed()
    seed = -1 if base["seed"] in RANDOM_SEEDS else base["seed"]
    step = base["batch_size"] * base["n_iter"] if iterates else 0
    variants = list(_variants(base, prompts, seed, step, given, context))
    seed += step * len(variants)
    pictures = sum(variant["batch_size"] * variant["n_iter"] for variant in variants)
    if pictures > MAX_IMAGES:
        context.report.invalid(_LINES, f"there would be more than {MAX_IMAGES} images")
        return None
    outputs: list[Output] = []
    for number, variant in enumerate(variants):
        count = variant["batch_size"] * variant["n_iter"]
        outputs += [Picture(number, index) for index in range(count)]
        outputs.append(DetectedMaps(number))
    return LinesExpansion(
        base, context.a1111_options, tuple(variants), tuple(outputs), seed, context.server_options
    )


def _variants(
    base: Fields,
    prompts: Sequence[str],
    seed: int,
    step: int,
    given: Mapping[str, Any],
    context: ScriptContext,
) -> Iterator[dict[str, Any]]:
    """The request of each line.

    Args:
        seed: of the first line.
        step: what is added to it from line to line.
    """
    overrides = dict(base["override_settings"] or {})
    for number, line in enumerate(prompts):
        options = _read_line(line, context)
        model = options.pop("sd_model", None)
        if model is not None:
            overrides["sd_model_checkpoint"] = model
        yield {
            **base,
            "seed": seed + step * number,
            "override_settings": dict(overrides),
            **options,
            **_joined_prompts(base, options, at_start=given["prompt_position"] == "start"),
        }


def _read_line(line: str, context: ScriptContext) -> dict[str, Any]:
    """The fields that a line changes: its options where it has any, else its text as a prompt.

    A checkpoint (``--sd_model``) stays for the lines after it, since A1111's copies of the request
    share their override_settings.
    """
    if "--" not in line:
        return {"prompt": line}
    try:
        options = _read_options(line)
    except ValueError as error:
        context.report.warn(_LINES, f'"{line}" is taken for a prompt as it stands: {error}')
        return {"prompt": line}
    for name in [name for name in options if name in _WITHOUT_EFFECT]:
        context.report.warn(_LINES, f"--{name} is without effect")
        del options[name]
    if "styles" in options:
        context.report.warn(
            _LINES,
            "--styles replaces the request's styles by none, since A1111 takes every "
            "letter of it for a name",
        )
    if "sampler_name" in options:
        options["sampler_name"] = _settled_sampler(options["sampler_name"], context)
    if "sd_model" in options:
        options["sd_model"] = context.checkpoint(options["sd_model"], _LINES)
    return options


def _read_options(line: str) -> dict[str, Any]:
    """``--name value`` pairs; a prompt takes all words up to the next option.

    Raises:
        ValueError: the line has another form, an unknown option or a value of the wrong kind.
    """
    words = shlex.split(line)
    options: dict[str, Any] = {}
    position = 0
    while position < len(words):
        name = words[position].removeprefix("--")
        if name == words[position]:
            raise _LineError(f'"{name}" stands where an option is expected')
        if position + 1 == len(words):
            raise _LineError(f"--{name} has no value")
        end = position + 2
        if name in _PROMPTS:
            while end < len(words) and not words[end].startswith("--"):
                end += 1
            options[name] = " ".join(words[position + 1 : end])
        else:
            read = _TAGS.get(name) or _WITHOUT_EFFECT.get(name)
            if read is None:
                raise _LineError(f"there is no option --{name}")
            options[name] = read(words[position + 1])
        position = end
    return options


def _joined_prompts(base: Fields, options: Fields, *, at_start: bool) -> dict[str, str]:
    """The line's prompts joined with the request's, where both are there."""
    joined = {}
    for field in _PROMPTS:
        line, own = options.get(field), base[field]
        if line and own:
            joined[field] = f"{line} {own}" if at_start else f"{own} {line}"
    return joined
