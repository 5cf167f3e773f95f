"""A1111's txt2img request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from translator.options import Defaults
from translator.report import Report
from translator.request import generation
from translator.request.generation import Generation
from translator.request.schema import Tab


@dataclass(frozen=True)
class Txt2Img(Generation):
    """The fields of ``POST /sdapi/v1/txt2img``, as ``schemas/txt2img.json`` documents them."""

    tab: ClassVar[Tab] = "txt2img"

    enable_hr: bool
    firstphase_width: int
    firstphase_height: int
    hr_scale: float
    hr_upscaler: str | None
    hr_second_pass_steps: int
    hr_resize_x: int
    hr_resize_y: int
    hr_checkpoint_name: str | None
    hr_sampler_name: str | None
    hr_scheduler: str | None
    hr_prompt: str
    hr_negative_prompt: str


def parse(payload: object, defaults: Defaults, report: Report) -> Txt2Img:
    """Read a txt2img request, see `generation.parse`."""
    return generation.parse(Txt2Img, payload, defaults, report)
