"""What the scripts of the img2img tab share: generations one after the other, one answer.

Source: A1111 v1.10.1 ``modules/processing.py`` (Processed) and the scripts themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeGuard

from translator.infotext.text import GenerationFacts, create_info
from translator.models import upscalers
from translator.plan.answer import DetectedMaps
from translator.report import Report, show
from translator.request.images import ImageUpload
from translator.scripts.expansion import Expansion, Fields, ScriptContext, share_parameters

_STAND_IN = "Lanczos"
"""The upscaler in place of one that cannot be used here."""


@dataclass(frozen=True)
class ChainExpansion(Expansion):
    """Generations whose pictures a script puts together."""

    def info(self, facts: Sequence[GenerationFacts], now: datetime | None = None) -> dict[str, Any]:
        """The last generation's ``info`` with the first one's seed and infotext.

        A1111 makes it of the request as the generations left it, and of what the first one said,
        which stands for every picture; the subseed it does not hand on.
        """
        shared = share_parameters(facts)
        shown = sum(not isinstance(output, DetectedMaps) for output in self.outputs)
        return {
            **create_info(shared[-1], shared[0].texts[:1] * shown, now=now),
            "seed": shared[0].seeds[0],
            "subseed": -1,
        }


def first_picture(fields: Fields, context: ScriptContext) -> ImageUpload | None:
    """The first init image; None after a report."""
    sent = fields["init_images"] or ()
    if not sent:
        return None
    found = context.images.read(sent[0], "init_images[0]")
    if found is None and not context.report.problems:
        context.report.invalid("init_images", "without its picture the script has nothing to do")
    return found


def whole(value: Any, path: str, what: str, report: Report) -> TypeGuard[int]:
    """Whether an argument is a whole number; a report where it is not."""
    if isinstance(value, int) and not isinstance(value, bool):
        return True
    report.invalid(path, f"{what} is a whole number", value)
    return False


def number(value: Any, path: str, what: str, report: Report) -> TypeGuard[float]:
    """Whether an argument is a number; a report where it is not."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return True
    report.invalid(path, f"{what} is a number", value)
    return False


def without_masks(fields: Fields, title: str, context: ScriptContext) -> None:
    """Warn where A1111 would take answered masks for results."""
    options = context.a1111_options
    if fields["mask"] and (options.return_mask or options.return_mask_composite):
        context.report.warn(
            "script_name",
            f"return_mask and return_mask_composite are left out: in {title} A1111 takes the masks "
            "for results",
        )


def upscaler_name(value: Any, path: str, context: ScriptContext) -> str | None:
    """A1111's name of an upscaler that is given by its number or, in any case, by its name."""
    listed = upscalers.listed(context.catalog)
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value < len(listed):
            return listed[value]
        context.report.invalid(
            path, f"there are the upscalers 0 to {len(listed) - 1}: {', '.join(listed)}", value
        )
        return None
    if not isinstance(value, str):
        context.report.invalid(path, f"{show(value)} is not an upscaler's name", value)
        return None
    found = next((name for name in listed if name.lower() == value.lower()), None)
    if found is not None or upscalers.find(value, context.catalog):
        return found or value
    obstacle = upscalers.obstacle(value, context.catalog)
    if obstacle is not None:
        context.report.missing(
            path,
            f"{value} cannot be used here: {obstacle}",
            instead=f"{_STAND_IN} enlarges the picture",
            value=value,
        )
        return _STAND_IN
    remedy = upscalers.remedy(value, context.catalog, context.report)
    context.report.invalid(path, f'A1111 has no upscaler "{value}"{remedy}', value)
    return None
