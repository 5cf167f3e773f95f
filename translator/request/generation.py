"""The request of A1111's generating tabs: payload -> `Generation`, with nothing unknown left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, ClassVar, TypeVar

from translator.options import Defaults
from translator.report import Report
from translator.request import schema
from translator.request.reader import Fields, Reader
from translator.request.schema import Tab
from translator.schemas import read_schema

_RUNPOD_DEFAULT = "x-runpod-worker-a1111"
_NEVER_NULL = ("prompt", "negative_prompt")
"""Where A1111 fails on null; elsewhere null stands for the default."""


MOST_IMAGES = 10_000
"""Images of one generation."""


@dataclass(frozen=True)
class Generation:
    """The fields that ``POST /sdapi/v1/txt2img`` and ``img2img`` share.

    ``schemas/txt2img.json`` and ``img2img.json`` document them.
    """

    tab: ClassVar[schema.Tab]
    """The endpoint, and the name of its schema."""

    prompt: str
    negative_prompt: str
    styles: list[str] | None
    seed: int | None
    subseed: int | None
    subseed_strength: float
    seed_resize_from_h: int
    seed_resize_from_w: int
    sampler_name: str | None
    scheduler: str | None
    batch_size: int
    n_iter: int
    steps: int
    cfg_scale: float
    width: int
    height: int
    restore_faces: bool | None
    tiling: bool | None
    do_not_save_samples: bool
    do_not_save_grid: bool
    eta: float | None
    denoising_strength: float | None
    s_min_uncond: float | None
    s_churn: float | None
    s_tmax: float | None
    s_tmin: float | None
    s_noise: float | None
    override_settings: dict[str, Any] | None
    override_settings_restore_afterwards: bool
    refiner_checkpoint: str | None
    refiner_switch_at: float | None
    disable_extra_networks: bool
    firstpass_image: str | None
    comments: dict[str, Any] | None
    force_task_id: str | None
    sampler_index: str
    script_name: str | None
    script_args: list[Any]
    send_images: bool
    save_images: bool
    alwayson_scripts: dict[str, Any]
    infotext: str | None

    def fields(self) -> dict[str, Any]:
        """Every field, in A1111's order."""
        own = vars(self)
        return {name: own[name] for name in read_schema(self.tab)["properties"]}

    def echo(self) -> dict[str, Any]:
        """A1111's ``parameters``: every field, defaults and nulls included."""
        return self.fields()

    def variant(self, fields: Mapping[str, Any]) -> Generation:
        """A generation that the request's script makes of it, of these fields."""
        return type(self)(**fields)


Request = TypeVar("Request", bound=Generation)


def parse(kind: type[Request], payload: object, defaults: Defaults, report: Report) -> Request:
    """Read a request.

    Args:
        kind: of which tab.
        payload: the JSON object of the request.
        defaults: whose values stand in for fields that are absent, see `Options.defaults`.

    A field that is wrong is in the report and has its default here, so that what else is wrong
    with the request is found in the same run.

    Raises:
        TranslationError: the payload is no object.
    """
    read = _reader(kind.tab).read(_with_random_seeds(payload), "", report)
    if not isinstance(payload, Mapping):
        report.raise_if_refused()
    if read.sent.get("firstpass_image") is not None:
        report.unsupported(
            "firstpass_image",
            "internal to A1111's own pages; send a picture to img2img instead",
            instead="the field is left out",
        )
    fields = read.settled(partial(_default, defaults))
    if fields["batch_size"] * fields["n_iter"] > MOST_IMAGES:
        report.invalid("n_iter", f"batch_size x n_iter is more than {MOST_IMAGES} images")
        fields["n_iter"] = 1
    _warn_of_no_effect(read, report)
    return kind(**fields)


@cache
def _reader(tab: Tab) -> Reader:
    return Reader(tab, tab, "request", never_null=_NEVER_NULL)


def _with_random_seeds(payload: object) -> object:
    """The payload with -1 for a seed sent as an empty text."""
    if not isinstance(payload, Mapping):
        return payload
    empty = [name for name in ("seed", "subseed") if payload.get(name) == ""]
    return {**payload, **dict.fromkeys(empty, -1)}


def _warn_of_no_effect(read: Fields, report: Report) -> None:
    """Fields that change nothing here, where they were set to change something."""
    given = read.sent
    for name, value in given.items():
        item = read.properties[name]
        if item["x-state"] == "no effect" and value and value != item["default"]:
            told = str(item["description"]).rstrip(".")
            report.warn(name, told[0].lower() + told[1:])
    if given.get("override_settings_restore_afterwards") is False:
        report.warn(
            "override_settings_restore_afterwards",
            "a worker keeps no options between requests; "
            "set them for all with A1111_OPTIONS or POST /sdapi/v1/options",
        )
    if given.get("save_images"):
        report.warn(
            "save_images",
            "nothing is stored on the worker's disk; the grid is answered as A1111 answers it",
        )


def _default(defaults: Defaults, item: Mapping[str, Any]) -> Any:
    if defaults == "runpod-worker-a1111" and _RUNPOD_DEFAULT in item:
        return item[_RUNPOD_DEFAULT]
    value = item["default"]
    return value.copy() if isinstance(value, dict | list) else value
