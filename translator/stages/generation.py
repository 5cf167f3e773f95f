"""Stage: the pictures of a plan, batch by batch and pass by pass."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from translator.comfy import nodes
from translator.comfy.catalog import Catalog
from translator.comfy.graph import Clip, Graph, Image, Latent
from translator.models.names import Checkpoint, stem
from translator.plan.seeds import as_torch
from translator.plan.values import Plan, SamplingPass
from translator.stages import conditioning, loaders, sampling, starts
from translator.stages.control import units
from translator.stages.loaders import Loaded
from translator.stages.sampling import GuidedModel
from translator.stages.targets import core

FIRST, HIRES = 0, 1
"""Positions of the passes."""


@dataclass(frozen=True)
class Batch:
    """The seeds of the images that are sampling_pass together."""

    seeds: tuple[int, ...]
    subseeds: tuple[int, ...]


def generate(
    graph: Graph, plan: Plan, catalog: Catalog, shown: Collection[int]
) -> list[tuple[Image | None, int]]:
    """The pictures of every batch, and how many each has.

    Args:
        shown: positions, over all batches, of the pictures that are needed; a batch without one is
            None. (A1111 paints n_iter batches for every cell of a plot, and shows the first.)
    """
    generator = _Generator(graph, plan, catalog)
    batches: list[tuple[Image | None, int]] = []
    first = 0
    for seeds, subseeds in plan.batches():
        size = len(seeds)
        needed = any(first <= index < first + size for index in shown)
        batches.append((generator.batch(Batch(seeds, subseeds)) if needed else None, size))
        first += size
    return batches


class _Generator:
    def __init__(self, graph: Graph, plan: Plan, catalog: Catalog) -> None:
        self._graph = graph
        self._plan = plan
        self._embeddings = [stem(name) for name in catalog.files("embeddings") or ()]

    def batch(self, batch: Batch) -> Image:
        graph, plan = self._graph, self._plan
        loaded = loaders.for_pass(graph, plan, plan.first)
        latent = nodes.empty_latent(graph, plan.first.width, plan.first.height, len(batch.seeds))
        latent = self._sample(FIRST, plan.first, loaded, loaded.clip, latent, batch)
        if plan.hires is not None:
            first, sampling_pass = loaded, plan.hires.sampling
            loaded = loaders.for_pass(graph, plan, sampling_pass)
            latent = starts.enlarge(
                graph,
                plan.hires,
                latent,
                first_vae=first.vae,
                second_vae=loaded.vae,
                exact=plan.exact,
                posterior_seed=self._posterior_seed(batch),
            )
            clip = first.clip if plan.hires.conditions_of_first_pass else loaded.clip
            latent = self._sample(HIRES, sampling_pass, loaded, clip, latent, batch)
        image = units.finish(graph, plan.control, nodes.vae_decode(graph, latent, loaded.vae))
        if plan.faces is not None:
            image = nodes.a1111_face_restore(
                graph, image, plan.faces.model, plan.faces.codeformer_weight
            )
        return image

    def _posterior_seed(self, batch: Batch) -> int:
        """A1111 encodes with the torch seed that its last noise left; NV noise leaves none."""
        return -1 if self._plan.noise.source == "NV" else as_torch(batch.seeds[-1])

    def _sample(
        self,
        index: int,
        sampling_pass: SamplingPass,
        loaded: Loaded,
        clip: Clip,
        latent: Latent,
        batch: Batch,
    ) -> Latent:
        graph, plan = self._graph, self._plan
        if not plan.exact and not sampling_pass.schedule.steps_run:
            return latent
        guided = self._guided(index, sampling_pass, sampling_pass.checkpoint, loaded, clip)
        refiner = self._refiner(index, sampling_pass)
        noise = plan.hires_noise if index == HIRES else plan.first_noise
        if plan.exact:
            seeds, subseeds = batch.seeds, batch.subseeds
            return sampling.sample_exact(
                graph, plan, sampling_pass, noise, guided, refiner, latent, seeds, subseeds
            )
        seed = as_torch(batch.seeds[0])
        return core.sample_core(graph, plan, sampling_pass, noise, guided, refiner, latent, seed)

    def _guided(
        self,
        index: int,
        sampling_pass: SamplingPass,
        checkpoint: Checkpoint,
        loaded: Loaded,
        clip: Clip,
    ) -> GuidedModel:
        graph, plan = self._graph, self._plan
        if plan.exact:
            positive, negative = conditioning.encode_exact(graph, sampling_pass, checkpoint, clip)
        else:
            positive, negative = conditioning.encode_core(
                graph, sampling_pass, clip, self._embeddings
            )
        model = loaded.model
        if checkpoint.architecture == sampling_pass.checkpoint.architecture:
            model, positive, negative = units.apply(
                graph, plan.control, index, model, positive, negative, loaded.vae
            )
        return GuidedModel(
            loaders.for_sampling(graph, plan, sampling_pass, model), positive, negative
        )

    def _refiner(self, index: int, sampling_pass: SamplingPass) -> GuidedModel | None:
        """What takes over in mid-sampling; it keeps the pass' VAE and networks."""
        if sampling_pass.refiner is None:
            return None
        loaded = loaders.for_refiner(self._graph, self._plan, sampling_pass)
        return self._guided(
            index, sampling_pass, sampling_pass.refiner.checkpoint, loaded, loaded.clip
        )
