"""Units and contexts that the ControlNet tests share."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from PIL import Image as Picture

from translator.comfy.catalog import Catalog
from translator.comfy.graph import Clip, Conditioning, Graph, Image, Model, Vae
from translator.control.context import ControlContext, PassContext
from translator.control.plan import ControlPlan
from translator.control.planner import plan_units
from translator.control.units import ControlUnit, parse_units
from translator.options import Options
from translator.report import Report
from translator.request.a1111_options import A1111Options
from translator.schedules import passes as schedule
from translator.schedules import samplers
from translator.scope import Scope
from translator.stages.control import units as control

CHECKPOINT = "model.safetensors"

SEEDS = control.GeneratorSeeds(first_batch=5, batch=7, is_first=True)


@cache
def picture(
    width: int = 300,
    height: int = 400,
    mode: str = "RGB",
    colour: int | tuple[int, ...] = (200, 10, 10),
    kind: str = "PNG",
) -> str:
    """A plain picture as base64 text."""
    buffer = io.BytesIO()
    Picture.new(mode, (width, height), colour).save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


def mask(width: int = 300, height: int = 400) -> str:
    """An all-white mask."""
    return picture(width, height, "L", 255)


def sampling(
    name: str = "Euler", scheduler: str = "karras", steps: int = 20, denoise: float | None = None
) -> schedule.Pass:
    """A pass from noise, or with `denoise` a hires pass."""
    resolved = samplers.resolve(name, scheduler)
    if denoise is None:
        return schedule.first_pass(resolved, steps)
    return schedule.second_pass(resolved, steps, denoise)


def context(architecture: str = "SD1", *, hires: bool = False, **fields: Any) -> ControlContext:
    """512x768, with hires 1.5 times that."""
    passes = [PassContext(512, 768, sampling())]
    if hires:
        passes.append(PassContext(768, 1152, sampling(denoise=0.5)))
    return ControlContext(architecture, tuple(passes), **fields)


def unit(**fields: Any) -> dict[str, Any]:
    """A canny unit with an image, with other fields."""
    return {
        "image": picture(),
        "module": "canny",
        "model": "control_v11p_sd15_canny",
        **fields,
    }


def face_pair(image: str | None = None, **fields: Any) -> list[dict[str, Any]]:
    """InstantID's two units."""
    shared = {"image": image or picture(), **fields}
    return [
        {
            **shared,
            "module": "instant_id_face_embedding",
            "model": "ip-adapter_instant_id_sdxl [eb2d3ec0]",
        },
        {
            **shared,
            "module": "instant_id_face_keypoints",
            "model": "control_instant_id_sdxl [c5c25a50]",
        },
    ]


@dataclass(frozen=True)
class Outcome:
    """What became of some units."""

    units: tuple[ControlUnit, ...]
    plan: ControlPlan
    graph: dict[str, dict[str, Any]]
    maps: list[dict[str, Any]]
    report: Report
    guided: tuple[tuple[Model, Conditioning, Conditioning], ...]

    def nodes(self, class_type: str) -> list[dict[str, Any]]:
        """The inputs of every node of a class, in order."""
        return [node["inputs"] for node in self.graph.values() if node["class_type"] == class_type]

    def node(self, class_type: str) -> dict[str, Any]:
        """The inputs of the one node of a class."""
        (inputs,) = self.nodes(class_type)
        return inputs

    def classes(self) -> set[str]:
        return {node["class_type"] for node in self.graph.values()}

    @property
    def problems(self) -> list[str]:
        return [str(problem) for problem in self.report.problems]


def translated(
    units: Sequence[Any],
    around: ControlContext | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    catalog: Catalog | None = None,
    a1111_options: A1111Options | None = None,
    count: int = 3,
) -> Outcome:
    """Parse, plan and spell units around a bare checkpoint."""
    settled = Options.of(options)
    have = catalog or Catalog.bundled()
    report = Report(settled.unsupported)
    parsed = parse_units(list(units), count, report)
    around = around or context()
    scope = Scope(settled, a1111_options or A1111Options.with_defaults(), have, report)
    plan = plan_units(parsed, around, scope)
    graph = Graph(Catalog.bundled() if catalog is None else have, report)
    loaded = graph.add("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)
    texts = [
        graph.add("CLIPTextEncode", clip=loaded.out(Clip, 1), text=text).out(Conditioning)
        for text in ("positive", "negative")
    ]
    guided = tuple(
        control.apply(graph, plan, index, loaded.out(Model), *texts, loaded.out(Vae, 2), SEEDS)
        for index in range(len(around.passes))
    )
    decoded = graph.add("EmptyImage", width=512, height=768, batch_size=1, color=0)
    control.finish(graph, plan, decoded.out(Image))

    def save(image: Image, title: str) -> str:
        return graph.add("PreviewImage", title=title, images=image).id

    maps = control.detected_maps(graph, plan, save)
    return Outcome(parsed, plan, graph.to_api(), maps, report, guided)
