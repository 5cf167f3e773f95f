"""Readers of ``tests/goldens`` (its README says what is in them)."""

from __future__ import annotations

import gzip
import json
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from translator.schedules import passes as schedule
from translator.schedules import samplers

GOLDENS = Path(__file__).parent.parent / "goldens"

STYLES_CSV = """name,prompt,negative_prompt
cine,"cinematic film still of {prompt}, dramatic light","cartoon, drawing"
tail,"highly detailed, 8k",
negonly,,"ugly, deformed"
"""
"""The styles.csv of the A1111 that made the goldens."""


def _text(name: str) -> str:
    return gzip.decompress((GOLDENS / name).read_bytes()).decode()


@cache
def sigma_lists() -> dict[str, Any]:
    """``sigmas`` and ``img2img_steps_t_enc``."""
    lists: dict[str, Any] = json.loads(_text("sigmas.json.gz"))
    return lists


@cache
def passes() -> dict[str, dict[str, Any]]:
    """Case name -> what its passes ran."""
    rows = map(json.loads, _text("passes.jsonl.gz").splitlines())
    return {row["case"]: row for row in rows}


@cache
def prompts() -> list[dict[str, Any]]:
    """A1111's parses."""
    return [json.loads(line) for line in _text("prompts.jsonl.gz").splitlines()]


def schedule_options(overrides: dict[str, Any]) -> schedule.ScheduleOptions:
    """Those options of a request that change its schedule."""
    known = {item.name for item in fields(schedule.ScheduleOptions)}
    return schedule.ScheduleOptions(**{k: v for k, v in overrides.items() if k in known})


def plan_passes(case: dict[str, Any]) -> list[schedule.Pass]:
    """The passes of a golden case, laid out here."""
    payload = case["payload"]
    options = schedule_options(payload.get("override_settings") or {})
    sampler = samplers.resolve(
        payload.get("sampler_name"),
        payload.get("scheduler"),
        payload.get("sampler_index", "Euler"),
    )
    steps, denoise = int(payload.get("steps", 50)), payload.get("denoising_strength")
    if case["endpoint"] == "img2img":
        strength = 0.75 if denoise is None else denoise
        return [schedule.img2img_pass(sampler, steps, strength, options=options)]
    laid_out = [schedule.first_pass(sampler, steps, options=options)]
    if payload.get("enable_hr"):
        hires = samplers.resolve_hires(
            sampler, payload.get("hr_sampler_name"), payload.get("hr_scheduler")
        )
        hires_steps = payload.get("hr_second_pass_steps") or steps
        laid_out.append(schedule.second_pass(hires, hires_steps, denoise, options=options))
    return laid_out
