"""Stage: ADetailer on one finished picture: regions found, each one inpainted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from translator.comfy import nodes
from translator.comfy.graph import Graph, Guider, Image, Mask, Regions
from translator.comfy.nodes.a1111.detailer import RegionWork
from translator.detailer.plan import InpaintedArea, RegionRules
from translator.models.names import Checkpoint
from translator.plan.starts import SoftInpainting
from translator.plan.values import (
    Detail,
    Plan,
    SamplingPass,
)
from translator.stages import conditioning, init_images, loaders
from translator.stages.control import preprocess
from translator.stages.control.units import GeneratorSeeds
from translator.stages.loaders import Loaded
from translator.stages.sampling import Batch, SamplingParts
from translator.stages.starts import PosteriorSeed, posterior_seed
from translator.stages.targets.exact import Exact


@dataclass(frozen=True)
class Picture:
    """A picture on its way through the units.

    Attributes:
        image: a batch of one.
        posterior_seed: with which A1111 samples the VAE's posterior when it encodes next; -1 takes
            its mean.
        drawn: shapes of what is drawn from that seed before.
    """

    image: Image
    posterior_seed: PosteriorSeed
    drawn: tuple[tuple[int, ...], ...] = ()


def detail(
    graph: Graph, step: Detail, picture: Picture, seeds: Batch, loaded: Checkpoint
) -> Picture:
    """The picture with the regions that a unit finds on it made anew.

    Args:
        seeds: the picture's own.
        loaded: what A1111 has loaded before.
    """
    with graph.numbers_from(step.plan.first.fields):
        return _Detailing(graph, step, picture, seeds, loaded).run()


class _Detailing:
    def __init__(
        self, graph: Graph, step: Detail, picture: Picture, seeds: Batch, loaded: Checkpoint
    ) -> None:
        self._graph = graph
        self._drawn = (*picture.drawn, *step.checkpoint.drawn_by_loading_after(loaded))
        self._step = step
        self._picture = picture
        self._seeds = seeds
        self._target = Exact(graph)

    def run(self) -> Picture:
        graph, step, rules = self._graph, self._step, self._step.rules
        regions = self._regions()
        with graph.providing(dict(self._provided(regions))):
            parts = list(self._parts())
        loaded = self._loaded(step.plan.passes[0])
        image, seed = nodes.a1111_detail_regions(
            graph,
            each=rules.controlled,
            image=self._picture.image,
            regions=regions,
            vae=loaded.vae,
            noise=parts[0].noise,
            sampler=parts[0].sampler,
            sigmas=parts[0].sigmas,
            guiders=self._guiders(parts),
            work=_work(rules),
            prompts=step.prompts,
            same_seed=rules.same_seed,
            posterior_seed=self._picture.posterior_seed,
            dynamic_denoise=rules.dynamic_denoise.to_json() if rules.dynamic_denoise else None,
            restore_faces=step.restorer.model if step.restorer else "None",
            codeformer_weight=step.restorer.codeformer_weight if step.restorer else 0.5,
            mask_weight=_mask_weight(step.plan),
            drawn=self._drawn,
            soft_inpainting=_softening(step.plan.first.soft),
        )
        return Picture(image, seed)

    def _regions(self) -> Regions:
        rules = self._step.rules
        bbox = segm = None
        if rules.detector.provider is not None:
            bbox, segm = nodes.ultralytics_detector(self._graph, rules.detector.provider)
            segm = segm if rules.detector.provider.startswith("segm") else None
        return nodes.a1111_detect_regions(
            self._graph,
            image=self._picture.image,
            detector=rules.detector.name,
            confidence=rules.confidence,
            filter_method=rules.filter_method,
            mask_k=rules.mask_k,
            mask_min_ratio=rules.mask_min_ratio,
            mask_max_ratio=rules.mask_max_ratio,
            sort=rules.sort,
            dilate_erode=rules.dilate_erode,
            x_offset=rules.x_offset,
            y_offset=rules.y_offset,
            merge=rules.merge,
            inside=_area(self._graph, rules.inside) if rules.inside else None,
            bbox_detector=None if segm else bbox,
            segm_detector=segm,
        )

    def _loaded(self, sampling_pass: SamplingPass) -> Loaded:
        is_tiled = self._step.plan.tiling
        return loaders.for_pass(self._graph, sampling_pass, self._target, is_tiled=is_tiled)

    def _parts(self) -> Iterator[SamplingParts]:
        """What each of the unit's passes is sampled with."""
        graph, plan = self._graph, self._step.plan
        seed = posterior_seed(plan, self._seeds.seeds)
        for sampling_pass in plan.passes:
            loaded = self._loaded(sampling_pass)
            model = conditioning.conditioned(
                graph,
                plan,
                self._target,
                0,
                sampling_pass,
                sampling_pass.checkpoint,
                loaded,
                loaded.clip,
                GeneratorSeeds(seed, seed, is_first=True),
            )
            yield self._target.parts(plan, sampling_pass, model, None, self._seeds)

    @staticmethod
    def _guiders(parts: list[SamplingParts]) -> list[Guider]:
        return [item.guider for item in parts]

    # --- ControlNet inside -----------------------------------------------------------------------

    def _provided(self, regions: Regions) -> Iterator[tuple[str, Image | Mask]]:
        """What stands for the pictures of the unit's ControlNet units: each is cut as the region.

        A picture that is sent and not cut has another size than the pass.
        """
        graph, work = self._graph, _work(self._step.rules)
        for unit in self._step.plan.control.units:
            for item in unit.images:
                upload, mask = item.image, item.mask
                if upload.data and (upload.width, upload.height) != (work.width, work.height):
                    continue
                source = (
                    preprocess.load_sent(graph, self._step.plan.control, upload)
                    if upload.data
                    else None
                )
                picture, white = nodes.a1111_region_picture(
                    graph, self._picture.image, regions, work, source
                )
                yield upload.name, picture
                if mask is not None and not mask.data:
                    yield mask.name, white


def _softening(soft: SoftInpainting | None) -> dict[str, float] | None:
    """What the detailing nodes read of it; what acts in the sampler is the sampler's."""
    if soft is None:
        return None
    return {
        "preservation": soft.preservation,
        "mask_influence": soft.mask_influence,
        "threshold": soft.threshold,
        "contrast": soft.contrast,
    }


def _area(graph: Graph, area: InpaintedArea) -> Mask:
    """The request's mask at the size of its pictures, not blurred; its brightness, no alpha."""
    picture, _ = init_images.load(graph, area.mask)
    if (area.mask.width, area.mask.height) != area.size:
        picture = nodes.a1111_resize_image(graph, picture, *area.size, area.resize_mode, None)
    return nodes.a1111_inpaint_mask(
        graph, picture, None, rounds=True, invert=area.inverts, blur=(0, 0)
    )


def _mask_weight(plan: Plan) -> float | None:
    """Option inpainting_mask_weight where a checkpoint heeds it and it is not the usual one."""
    weight = plan.a1111_options.inpainting_mask_weight
    heeded = any(item.checkpoint.picture == "inpaint" for item in plan.passes)
    return weight if heeded and weight != 1 else None


def _work(rules: RegionRules) -> RegionWork:
    return RegionWork(rules.width, rules.height, rules.mask_blur, rules.padding, rules.match_size)
