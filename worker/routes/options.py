"""A1111's options: what GET tells and POST sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from translator import translate
from translator.lists import a1111 as api
from translator.models.names import Models, stem
from translator.report import Problem, Report, TranslationError, show
from translator.request.a1111_options import (
    SERVER,
    OptionRow,
    option_rows,
    resolve_a1111_options,
)
from translator.suggest import did_you_mean
from worker.errors import RequestError
from worker.routes.call import Answerer, Call

_NOT_SET_OVER_API = ("api_enable_requests", "api_forbid_local_requests", "api_useragent")
"""Options that A1111 skips without a word when they come over the API."""


def _options(call: Call) -> Any:
    return api.options(call.options.a1111_options, call.checkpoint)


def _set_options(call: Call) -> None:
    """Set options for this worker's life, as A1111 does until its process ends.

    Where A1111 would fail only later, or make another picture than asked for, the request is
    refused and nothing is set.
    """
    given = call.payload
    _check_checkpoint(call, given.get("sd_model_checkpoint"))
    _check_vae(call, given.get("sd_vae"))
    accepted: dict[str, Any] = {}
    unknown: str | None = None
    for key, value in given.items():
        if key in api.option_texts():
            continue
        row = option_rows().get(key)
        if row is None and value is not None:
            unknown = key
            break
        if row is None:
            call.warn(f"{key}: A1111 1.10.1 has no such option, it is ignored")
        elif key in _NOT_SET_OVER_API:
            if value != row.default:
                call.warn(f"{key}: without effect: A1111 does not let the API change it")
        else:
            _tell_if_without_effect(call, row, value)
            accepted[key] = value
    _check_options(call, accepted)
    if not call.resources.options.change_a1111(accepted):
        call.warn("A1111_OPTIONS_FILE cannot be written: the options last until this worker ends")
    if unknown is not None:
        raise RequestError(
            f"{unknown}: A1111 1.10.1 has no such option (KeyError: '{unknown}')"
            f"{did_you_mean(unknown, option_rows())}",
            "the options before it in the request were set, as A1111 does",
            exception="KeyError",
        )


def _check_checkpoint(call: Call, name: Any) -> None:
    if name is None:
        return
    report = Report()
    models = Models(call.catalog, call.options, report)
    if isinstance(name, str):
        models.checkpoint(name, "sd_model_checkpoint", None)
    if report.problems or not isinstance(name, str):
        raise RequestError(
            f"sd_model_checkpoint: model {show(name)} not found",
            "GET sdapi/v1/sd-models lists the titles",
            exception="RuntimeError",
        )


def _check_vae(call: Call, name: Any) -> None:
    """A VAE that is not there would make every later request fail."""
    files = call.catalog.files("vae")
    if name is None or files is None:
        return
    known = {name for item in files for name in (item, PurePath(item).name, stem(item))}
    if not isinstance(name, str) or (
        name and name.lower() not in ("automatic", "auto", "none") and name not in known
    ):
        raise RequestError(
            f"sd_vae: VAE {show(name)} not found", "GET sdapi/v1/sd-vae lists the names"
        )


def _tell_if_without_effect(call: Call, row: OptionRow, value: Any) -> None:
    if row.state == "no_effect" and value != row.default:
        call.warn(f"{row.key}: kept, but without effect: {row.why}")


def _check_options(call: Call, accepted: Mapping[str, Any]) -> None:
    """Refuse values that A1111 does not take, and those with which later requests would fail."""
    report = Report(call.options.unsupported)
    resolve_a1111_options(accepted, None, report)
    problems = [
        replace(item, path=item.path.removeprefix(f"{SERVER}.")) for item in report.problems
    ]
    problems = problems or _later_problems(call, accepted)
    if problems:
        raise TranslationError(problems)
    call.warnings += [text.removeprefix(f"{SERVER}.") for text in report.warning_texts]


_PROBES: tuple[Mapping[str, Any], ...] = (
    {"sampler_name": "Euler"},
    {
        "sampler_name": "DPM++ 2M SDE",
        "enable_hr": True,
        "hr_upscaler": "Latent",
        "denoising_strength": 0.5,
    },
)
"""Plain requests; with them an option's number meets the range of the node that takes it."""


def _later_problems(call: Call, accepted: Mapping[str, Any]) -> list[Problem]:
    """What plain requests would be refused for if these options were set."""
    options = replace(call.options, a1111_options={**call.options.a1111_options, **accepted})
    found: dict[str, Problem] = {}
    for payload in _PROBES:
        try:
            translate({**payload, "seed": 1, "subseed": 1}, catalog=call.catalog, options=options)
        except TranslationError as error:
            for problem in error.problems:
                key = problem.path.rpartition(".")[2]
                if key in accepted:
                    found.setdefault(key, replace(problem, path=key))
    return list(found.values())


GET: Mapping[str, Answerer] = {"sdapi/v1/options": _options}

POST: Mapping[str, Answerer] = {"sdapi/v1/options": _set_options}
