"""Stage: the pictures of a plan, batch by batch and pass by pass."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from translator import nodes
from translator.catalog import Catalog
from translator.graph import Clip, Graph, Image, Latent
from translator.models import Checkpoint, stem
from translator.plan import PassPlan, Plan
from translator.seeds import as_torch
from translator.stages import conditioning, control, core_sampling, hires, models, sampling
from translator.stages.models import Loaded
from translator.stages.sampling import Painter

FIRST, HIRES = 0, 1
"""Positions of the passes."""


@dataclass(frozen=True)
class Batch:
    """The seeds of the images that are painted together."""

    seeds: tuple[int, ...]
    subseeds: tuple[int, ...]


def paint(
    graph: Graph, plan: Plan, catalog: Catalog, shown: Collection[int]
) -> list[tuple[Image | None, int]]:
    """The pictures of every batch, and how many each has.

    Args:
        shown: positions, over all batches, of the pictures that are needed; a batch without one is
            None. (A1111 paints n_iter batches for every cell of a plot, and shows the first.)
    """
    painting = _Painting(graph, plan, catalog)
    batches: list[tuple[Image | None, int]] = []
    first = 0
    for seeds, subseeds in plan.batches():
        size = len(seeds)
        needed = any(first <= index < first + size for index in shown)
        batches.append((painting.batch(Batch(seeds, subseeds)) if needed else None, size))
        first += size
    return batches


class _Painting:
    def __init__(self, graph: Graph, plan: Plan, catalog: Catalog) -> None:
        self._graph = graph
        self._plan = plan
        self._embeddings = [stem(name) for name in catalog.files("embeddings") or ()]

    def batch(self, batch: Batch) -> Image:
        graph, plan = self._graph, self._plan
        loaded = models.for_pass(graph, plan, plan.first)
        latent = nodes.empty_latent(graph, plan.first.width, plan.first.height, len(batch.seeds))
        latent = self._sample(FIRST, plan.first, loaded, loaded.clip, latent, batch)
        if plan.hires is not None:
            first, painted = loaded, plan.hires.sampling
            loaded = models.for_pass(graph, plan, painted)
            latent = hires.enlarge(
                graph,
                plan.hires,
                latent,
                first_vae=first.vae,
                second_vae=loaded.vae,
                exact=plan.exact,
                posterior_seed=self._posterior_seed(batch),
            )
            clip = first.clip if plan.hires.conditions_of_first_pass else loaded.clip
            latent = self._sample(HIRES, painted, loaded, clip, latent, batch)
        image = control.finish(graph, plan.control, nodes.vae_decode(graph, latent, loaded.vae))
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
        painted: PassPlan,
        loaded: Loaded,
        clip: Clip,
        latent: Latent,
        batch: Batch,
    ) -> Latent:
        graph, plan = self._graph, self._plan
        if not plan.exact and not painted.schedule.steps_run:
            return latent
        painter = self._painter(index, painted, painted.checkpoint, loaded, clip)
        refiner = self._refiner(index, painted)
        noise = plan.hires_noise if index == HIRES else plan.first_noise
        if plan.exact:
            seeds, subseeds = batch.seeds, batch.subseeds
            return sampling.sample_exact(
                graph, plan, painted, noise, painter, refiner, latent, seeds, subseeds
            )
        seed = as_torch(batch.seeds[0])
        return core_sampling.sample_core(
            graph, plan, painted, noise, painter, refiner, latent, seed
        )

    def _painter(
        self, index: int, painted: PassPlan, checkpoint: Checkpoint, loaded: Loaded, clip: Clip
    ) -> Painter:
        graph, plan = self._graph, self._plan
        if plan.exact:
            positive, negative = conditioning.encode_exact(graph, painted, checkpoint, clip)
        else:
            positive, negative = conditioning.encode_core(graph, painted, clip, self._embeddings)
        model = loaded.model
        if checkpoint.architecture == painted.checkpoint.architecture:
            model, positive, negative = control.apply(
                graph, plan.control, index, model, positive, negative, loaded.vae
            )
        return Painter(models.for_sampling(graph, plan, painted, model), positive, negative)

    def _refiner(self, index: int, painted: PassPlan) -> Painter | None:
        """What takes over in mid-sampling; it keeps the pass' VAE and networks."""
        if painted.refiner is None:
            return None
        loaded = models.for_refiner(self._graph, self._plan, painted)
        return self._painter(index, painted, painted.refiner.checkpoint, loaded, loaded.clip)
