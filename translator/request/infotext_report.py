"""What of an infotext has no effect on the request: told once, since A1111 drops it in silence."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from translator.comfy.catalog import Catalog
from translator.models.names import Checkpoint, stem
from translator.report import Report, show
from translator.schedules.samplers import resolve

_PATH = "infotext"

_SHOWN = 30
"""Unused keys that a message holds."""

_FOR_THE_RECORD = frozenset(("Version", "Model", "Model hash", "VAE hash", "Hashes", "Batch pos"))
"""Keys that say how a picture was made, and change none; the model is told by `warn_of_model`."""

_HIRES = ("Hires upscale", "Hires upscaler", "Hires resize", "First pass size")

_HASHES = ("Lora hashes", "TI hashes", "Used embeddings")


def warn_of_form(text: str, listed: Collection[str], report: Report) -> None:
    """A text whose lines are not where A1111 looks for them.

    Args:
        listed: the keys of its parameters.
    """
    whole = text.strip()
    if not listed:
        report.warn(
            _PATH,
            "its last line holds no parameters (at least three are wanted, as in "
            '"Steps: 20, Sampler: Euler, Seed: 1"), so the whole text becomes the prompts, as in '
            "A1111; leave out what stands after that line",
        )
    elif "\n" not in whole and not whole.startswith("Steps:"):
        _warn_of_one_line(report)


def _warn_of_one_line(report: Report) -> None:
    report.warn(
        _PATH,
        "the text is one line, which A1111 takes for parameters as a whole: its prompts and what "
        'is joined to them are lost; put the prompt, "Negative prompt: ..." and "Steps: ..." on '
        "lines of their own",
    )


def warn_of_unused(listed: Iterable[str], used: Collection[str], report: Report) -> None:
    """Keys that nothing is made of, those of extensions above all."""
    known = {*used, *_FOR_THE_RECORD, *_HASHES}
    unused = [key for key in dict.fromkeys(listed) if key not in known]
    if unused:
        more = f" and {len(unused) - _SHOWN} more" if len(unused) > _SHOWN else ""
        report.warn(
            _PATH,
            f"not used, as in A1111's API: {', '.join(unused[:_SHOWN])}{more}; what an extension "
            "wrote is to be sent in alwayson_scripts or script_args",
        )


def warn_of_size(key: str, value: Any, report: Report) -> None:
    """A size that A1111 does not take for one."""
    report.warn(
        _PATH, f"{key} {show(value)} is not used, as in A1111: a size is written as in 512x768"
    )


def warn_of_hires(listed: Collection[str], report: Report) -> None:
    """A strength alone, as img2img writes it, which txt2img takes for hires fix's."""
    if "Denoising strength" in listed and not any(key in listed for key in _HIRES):
        report.warn(
            _PATH,
            "its denoising strength turns on hires fix, as in A1111's API, though nothing else of "
            "hires fix stands there; send enable_hr false if it is of an img2img picture",
        )


def check_sampler(parameters: Mapping[str, Any], report: Report) -> None:
    """The sampler of a text; A1111 takes its first one for a name that it does not know."""
    name = parameters.get("Sampler")
    if not isinstance(name, str):
        return
    resolved = resolve(name, None)
    if resolved.unknown_sampler is not None:
        meant = ", ".join(resolved.suggestions)
        report.unsupported(
            _PATH,
            f'A1111 has no sampler "{name}"' + (f" (did you mean {meant}?)" if meant else ""),
            instead=f"{resolved.sampler.name} is used, as A1111 does",
            value=name,
        )


def check_model(
    parameters: Mapping[str, Any], used: Checkpoint, catalog: Catalog, report: Report
) -> None:
    """The checkpoint that a text was made with, where another one is used.

    A1111's option disable_weights_auto_swap, on by default, keeps it from being switched to.
    """
    name, sha = (str(parameters.get(key) or "") for key in ("Model", "Model hash"))
    if not (name or sha) or _is(used.name, name, sha, catalog):
        return
    title = f'"{name}"' + (f" [{sha}]" if sha else "") if name else f"of hash {sha}"
    remedy = "name the one to use in override_settings.sd_model_checkpoint"
    files = catalog.files("checkpoints")
    if files is None or any(_is(file, name, sha, catalog) for file in files):
        report.warn(
            _PATH,
            f"it was made with the checkpoint {title}; {show(used.name)} is used, since option "
            f"disable_weights_auto_swap keeps A1111 from switching; {remedy}",
        )
        return
    report.missing(
        _PATH,
        f"it was made with the checkpoint {title}, which this ComfyUI does not have; {remedy}",
        instead=f"{used.name} is used",
        value=name or sha,
    )


def _is(file: str, name: str, sha: str, catalog: Catalog) -> bool:
    """Whether a checkpoint is the one that a text names."""
    facts = catalog.facts_of("checkpoints", file)
    hashes = [facts.sha256[:10] if facts.sha256 else None, facts.short_hash]
    known = [item for item in hashes if item]
    if sha and known and sha in known:
        return True
    return bool(name) and stem(file) == stem(name) and not (sha and known)
