"""ADetailer's passes: the regions of a picture inpainted one after the other.

`A1111DetailRegions` loops over the regions with the parts of one sampling pass. Where a pass needs
nodes of its own for every region (ControlNet inside the unit), `A1111DetailEachRegion` expands the
nodes between `A1111RegionPicture` and its guider into the graph, once a region.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..maths import face_restore, image_ops, inpaint
from ..maths.region_pass import (
    MATCHES,
    WHOLE_PICTURE,
    DynamicDenoise,
    PreparedRegion,
    RegionLayout,
    Softening,
    prompt_of,
)
from ..maths.regions import Regions
from ..maths.resize_ops import JUST_RESIZE, resize_image
from .detectors import CATEGORY, REGIONS, single_picture
from .image import encode_posterior
from .image_conditioning import for_region
from .inputs import MAX_SIDE, InputTypes, flag, number, whole
from .sampling import NoiseObject

ALL = -1
"""The region that stands for all of them."""

MORE_GUIDERS = 32
"""Guiders that a unit may have beside its first: one for each further part of its prompts."""


def _layout_inputs() -> dict[str, Any]:
    return {
        "width": whole(512, 8, MAX_SIDE),
        "height": whole(512, 8, MAX_SIDE),
        "mask_blur": whole(4, 0, 4096),
        "padding": whole(32, WHOLE_PICTURE, MAX_SIDE),
        "match_size": (list(MATCHES),),
    }


class A1111RegionPicture:
    """The picture and mask that a region's pass works on, in the pass' size.

    With `source` that picture is cut in place of `image`, as if it were of the same size.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE", "MASK")
    FUNCTION = "cut"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "regions": (REGIONS,),
                "region": whole(0, 0, 100_000),
                **_layout_inputs(),
            },
            "optional": {"source": ("IMAGE",)},
        }

    def cut(
        self,
        image: torch.Tensor,
        regions: Regions,
        region: int,
        width: int,
        height: int,
        mask_blur: int,
        padding: int,
        match_size: str,
        source: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        picture = single_picture(image, "A1111RegionPicture")
        if source is not None:
            own = single_picture(source, "A1111RegionPicture")
            picture = resize_image(own, *picture.size, JUST_RESIZE)
        layout = RegionLayout(width, height, mask_blur, padding, match_size)
        prepared = layout.prepare(picture, regions, region)
        if prepared is None:
            return (image, torch.zeros(image.shape[:3]))
        mask = torch.from_numpy(np.array(prepared.mask, dtype=np.float32) / 255)[None]
        return (image_ops.to_tensor([prepared.pixels]), mask)


def _weight() -> tuple[str, dict[str, Any]]:
    """Option inpainting_mask_weight, for inpainting checkpoints."""
    return number(1.0, -100.0, 100.0, 0.01)


def _detail_inputs() -> dict[str, Any]:
    """Inputs that both detailing nodes have, the guiders apart."""
    return {
        "image": ("IMAGE",),
        "regions": (REGIONS,),
        "vae": ("VAE",),
        "noise": ("NOISE",),
        "sampler": ("SAMPLER",),
        "sigmas": ("SIGMAS",),
        **_layout_inputs(),
        "prompts": ("STRING", {"default": "[0]"}),
        "same_seed": flag(),
        "posterior_seed": whole(-1, -1, 2**64 - 1),
        "dynamic_denoise": ("STRING", {"default": ""}),
        "restore_faces": (["None", *face_restore.RESTORERS],),
        "codeformer_weight": number(0.5, 0.0, 1.0, 0.01),
    }


def _rare_inputs() -> dict[str, Any]:
    """Inputs that both detailing nodes can do without."""
    return {
        "mask_weight": _weight(),
        "drawn": ("STRING", {"default": "[]"}),
        "soft_inpainting": ("STRING", {"default": ""}),
    }


def _guider_inputs(lazy: bool) -> dict[str, Any]:
    settings = {"lazy": True} if lazy else {}
    return {f"guider_{number}": ("GUIDER", settings) for number in range(1, MORE_GUIDERS + 1)}


class A1111DetailRegions:
    """Inpaint the regions of one picture, one after the other, each on the result so far.

    `noise` is that of the picture: region j's seed is its seed + j (`same_seed`: its seed).
    `prompts` is a JSON list: for each region the number of its guider, or null to skip it; the last
    one holds for all that follow. `padding` -1 inpaints the whole picture. `posterior_seed` is what
    the first region's encoding is drawn with, after `drawn` (as A1111VAEEncode has it); the second
    output is the seed for whatever comes next. `soft_inpainting` is a JSON object of A1111's Soft
    Inpainting: preservation, mask_influence, threshold, contrast (what acts inside the sampler is
    the sampler's own). `region` -1 is all of them.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE", "INT")
    RETURN_NAMES = ("image", "posterior_seed")
    FUNCTION = "detail"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                **_detail_inputs(),
                "region": whole(ALL, ALL, 100_000),
                "guider": ("GUIDER",),
            },
            "optional": {**_guider_inputs(lazy=False), **_rare_inputs()},
        }

    def detail(
        self,
        image: torch.Tensor,
        regions: Regions,
        vae: Any,
        noise: NoiseObject,
        sampler: Any,
        sigmas: torch.Tensor,
        width: int,
        height: int,
        mask_blur: int,
        padding: int,
        match_size: str,
        prompts: str,
        same_seed: bool,
        posterior_seed: int,
        dynamic_denoise: str,
        restore_faces: str,
        codeformer_weight: float,
        region: int,
        guider: Any,
        mask_weight: float = 1.0,
        drawn: str = "[]",
        soft_inpainting: str = "",
        **more_guiders: Any,
    ) -> tuple[torch.Tensor, int]:
        if not regions.masks:
            return (image, posterior_seed)
        detailer = _Detailer(
            layout=RegionLayout(width, height, mask_blur, padding, match_size),
            vae=vae,
            noise=noise,
            sampler=sampler,
            sigmas=sigmas,
            guiders=[guider, *_numbered(more_guiders)],
            prompts=json.loads(prompts),
            same_seed=same_seed,
            dynamic=DynamicDenoise.from_json(dynamic_denoise),
            restorer=None if restore_faces == "None" else (restore_faces, codeformer_weight),
            mask_weight=mask_weight,
            soft=Softening.from_json(soft_inpainting),
        )
        chosen = range(len(regions.masks)) if region == ALL else [region]
        picture = single_picture(image, "A1111DetailRegions")
        posterior = _Posterior(posterior_seed, json.loads(drawn))
        picture, posterior = detailer.run(picture, regions, chosen, posterior)
        return (image_ops.to_tensor([picture]), posterior.seed)


def _numbered(guiders: Mapping[str, Any]) -> list[Any]:
    return [guiders[name] for name in sorted(guiders, key=lambda name: int(name.split("_")[-1]))]


@dataclass(frozen=True)
class _Posterior:
    """What the next encoding is drawn with: torch's seed, and shapes of what was drawn before.

    A seed of -1 takes the posterior's mean.
    """

    seed: int
    drawn: Sequence[Sequence[int]] = ()

    def having_drawn(self, latent: torch.Tensor) -> _Posterior:
        """What follows the encoding of a latent."""
        return replace(self, drawn=(*self.drawn, tuple(latent.shape)))

    def after(self, seed: int) -> _Posterior:
        """What follows a pass whose noise was drawn by a seed."""
        return self if self.seed < 0 else _Posterior(int(seed) % 2**64)


@dataclass(frozen=True)
class _Detailer:
    """One unit's passes over the regions of a picture."""

    layout: RegionLayout
    vae: Any
    noise: NoiseObject
    sampler: Any
    sigmas: torch.Tensor
    guiders: Sequence[Any]
    prompts: Sequence[int | None]
    same_seed: bool
    dynamic: DynamicDenoise | None
    restorer: tuple[str, float] | None
    mask_weight: float
    soft: Softening | None

    def run(
        self, picture: Image.Image, found: Regions, chosen: Sequence[int], posterior: _Posterior
    ) -> tuple[Image.Image, _Posterior]:
        """The picture with the chosen regions made anew; what the next encoding is drawn with."""
        from comfy import model_management

        progress = _Progress(len(chosen))
        for index in chosen:
            model_management.throw_exception_if_processing_interrupted()
            prompt = prompt_of(self.prompts, index)
            prepared = self.layout.prepare(picture, found, index)
            if prompt is not None and prepared is not None:
                run = self._pass(self.guiders[prompt], found, index, picture)
                picture = self._inpainted(run, prepared, posterior, progress)
                posterior = posterior.after(run.noise.seed)
            progress.next_region()
        return picture, posterior

    def _pass(self, guider: Any, found: Regions, index: int, picture: Image.Image) -> _RegionPass:
        step = 0 if self.same_seed else index
        settings = self.noise.settings
        noise = NoiseObject(
            replace(
                settings,
                seeds=(settings.seeds[0] + step,),
                subseeds=tuple(subseed + step for subseed in settings.subseeds[:1]),
            )
        )
        if self.dynamic is None:
            return _RegionPass(noise, guider, self.sampler, self.sigmas)
        schedule = self.dynamic.schedule(found.box(index), *picture.size)
        guider = copy.copy(guider)
        guider.guidance = replace(guider.guidance, total_steps=schedule.total_steps)
        sampler = self.sampler
        if schedule.timesteps:
            sampler = replace(sampler, timesteps=schedule.timesteps)
        return _RegionPass(
            noise, guider, sampler, torch.tensor(schedule.sigmas, dtype=torch.float32)
        )

    def _inpainted(
        self,
        run: _RegionPass,
        prepared: PreparedRegion,
        posterior: _Posterior,
        progress: _Progress,
    ) -> Image.Image:
        """The finished picture after a region's pass."""
        pixels = image_ops.to_tensor([prepared.pixels])
        latent = encode_posterior(self.vae, pixels, posterior.seed, posterior.drawn)
        height, width = latent.shape[-2:]
        levels = torch.from_numpy(np.array(prepared.mask, dtype=np.float32) / 255)[None]
        posterior = posterior.having_drawn(latent)
        guider = for_region(
            run.guider,
            self.vae,
            latent,
            pixels,
            levels,
            self.mask_weight,
            posterior_seed=posterior.seed,
            drawn=posterior.drawn,
        )
        rounds = self.soft is None
        mask = torch.from_numpy(inpaint.latent_mask(prepared.mask, width, height, rounds))
        mask = mask[None, None]
        samples = replace(run, guider=guider).sample(latent, mask, progress)
        if self.soft is not None:
            scaled = run.guider.model_patcher.model.process_latent_in
            prepared = self.soft.soften(prepared, scaled(latent), scaled(samples), mask)
        result = image_ops.to_pil(self.vae.decode(samples))
        if self.restorer is not None:
            result = _restored(result, *self.restorer)
        return prepared.finish(result[0])


@dataclass(frozen=True)
class _RegionPass:
    """One region's sampling."""

    noise: NoiseObject
    guider: Any
    sampler: Any
    sigmas: torch.Tensor

    def sample(self, latent: torch.Tensor, mask: torch.Tensor, progress: _Progress) -> torch.Tensor:
        """Make anew what the mask [1, 1, h, w] leaves of a latent [1, C, h, w]."""
        import comfy.model_management
        import comfy.utils

        steps = self.sigmas.shape[-1] - 1
        samples = self.guider.sample(
            self.noise.generate_noise({"samples": latent}),
            latent,
            self.sampler,
            self.sigmas,
            denoise_mask=mask,
            callback=progress.callback(self.guider.model_patcher, steps),
            disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
            seed=self.noise.seed,
        )
        return samples.to(comfy.model_management.intermediate_device())


class _Progress:
    """ComfyUI's progress bar over all regions, with previews."""

    def __init__(self, regions: int) -> None:
        self._regions = regions
        self._done = 0

    def next_region(self) -> None:
        self._done += 1

    def callback(self, model: Any, steps: int) -> Any:
        """What a sampler calls after each of its `steps`."""
        import comfy.utils
        import latent_preview

        previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        bar = comfy.utils.ProgressBar(steps * self._regions)
        before = steps * self._done

        def after_step(step: int, denoised: torch.Tensor, x: torch.Tensor, total: int) -> None:
            preview = None
            if previewer:
                preview = previewer.decode_latent_to_preview_image("JPEG", denoised)
            bar.update_absolute(before + step + 1, total * self._regions, preview)

        return after_step


def _restored(pictures: list[Image.Image], model: str, weight: float) -> list[Image.Image]:
    import folder_paths
    from comfy import model_management

    return face_restore.restore_faces(
        pictures,
        model,
        weight,
        Path(folder_paths.models_dir),
        model_management.get_torch_device(),
    )


class A1111DetailEachRegion:
    """As `A1111DetailRegions`, with guiders and noise made anew for every region.

    They are not run as they stand: what lies between an A1111RegionPicture and a guider (or the
    noise) is copied for every region, with the picture as it is by then and the region's number.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE", "INT")
    RETURN_NAMES = ("image", "posterior_seed")
    FUNCTION = "expand"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                **_detail_inputs(),
                "noise": ("NOISE", {"lazy": True}),
                "guider": ("GUIDER", {"lazy": True}),
            },
            "optional": {**_guider_inputs(lazy=True), **_rare_inputs()},
            "hidden": {"dynprompt": "DYNPROMPT", "unique_id": "UNIQUE_ID"},
        }

    def expand(
        self,
        image: torch.Tensor,
        regions: Regions,
        prompts: str,
        posterior_seed: int,
        dynprompt: Any,
        unique_id: str,
        **_: Any,
    ) -> Any:
        from comfy_execution.graph_utils import GraphBuilder

        numbers = json.loads(prompts)
        wanted = [
            index for index in range(len(regions.masks)) if prompt_of(numbers, index) is not None
        ]
        if not wanted:
            return (image, posterior_seed)
        builder = GraphBuilder()
        own = dict(dynprompt.get_node(unique_id)["inputs"])
        guiders = [own.pop("guider")]
        guiders += _numbered({name: own.pop(name) for name in list(own) if "guider_" in name})
        picture, seed = own["image"], own["posterior_seed"]
        for index in wanted:
            copier = _Copier(builder, dynprompt, {"image": picture, "region": index})
            prompt = prompt_of(numbers, index)
            inputs = {**own, "image": picture, "posterior_seed": seed, "region": index}
            inputs["guider"] = copier.link(guiders[prompt or 0])
            inputs["noise"] = copier.link(own["noise"])
            inputs["prompts"] = "[0]"
            if index != wanted[0]:
                inputs.pop("drawn", None)
            node = builder.node("A1111DetailRegions", **inputs)
            picture, seed = node.out(0), node.out(1)
        return {"result": (picture, seed), "expand": builder.finalize()}


class _Copier:
    """Copies the nodes behind a link that depend on an A1111RegionPicture, which is changed."""

    def __init__(self, builder: Any, prompt: Any, changed: Mapping[str, Any]) -> None:
        self._builder = builder
        self._prompt = prompt
        self._changed = changed
        self._copies: dict[str, Any] = {}

    def link(self, link: Any) -> Any:
        """The link to the copy's output; the link itself where nothing had to be copied."""
        node = self._copy(link[0])
        return link if node is None else node.out(link[1])

    def _copy(self, node_id: str) -> Any:
        if node_id not in self._copies:
            self._copies[node_id] = self._copied(node_id)
        return self._copies[node_id]

    def _copied(self, node_id: str) -> Any:
        node = self._prompt.get_node(node_id)
        if node["class_type"] == A1111RegionPicture.__name__:
            return self._builder.node(node["class_type"], **{**node["inputs"], **self._changed})
        inputs = {
            name: self.link(value) if _is_link(value) else value
            for name, value in node["inputs"].items()
        }
        if inputs == node["inputs"]:
            return None
        return self._builder.node(node["class_type"], **inputs)


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
