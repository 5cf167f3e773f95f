"""Stage: the pictures of a plan, batch by batch and pass by pass."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from translator.comfy import nodes
from translator.comfy.catalog import Catalog
from translator.comfy.graph import Clip, Graph, Image, Latent, Noise
from translator.models.names import Checkpoint, stem
from translator.plan import loading
from translator.plan.values import Plan, SamplingPass
from translator.stages import conditioning, faceswap, finish, loaders, starts
from translator.stages.control import units
from translator.stages.control.units import GeneratorSeeds
from translator.stages.finish import Finished
from translator.stages.init_images import Prepared
from translator.stages.loaders import Loaded
from translator.stages.sampling import Batch, Conditioned, Sampled
from translator.stages.starts import PosteriorSeed, Started
from translator.stages.targets import target_of


def generate(
    graph: Graph,
    plan: Plan,
    catalog: Catalog,
    answered: Collection[int],
    posterior: PosteriorSeed | None = None,
) -> list[tuple[Finished | None, int]]:
    """The pictures in order, those of a batch or one of them together, and how many each has.

    Args:
        answered: positions, over all batches, of the pictures that are needed; a batch without one
            is None. (A1111 makes n_iter batches for every cell of a plot, and shows the first.)
        posterior: see `starts.start`.
    """
    generation = _Generation(graph, plan, catalog, posterior)
    with graph.providing(generation.swapped_inits()):
        return _batches(generation, plan, answered)


def _batches(
    generation: _Generation, plan: Plan, answered: Collection[int]
) -> list[tuple[Finished | None, int]]:
    batches: list[tuple[Finished | None, int]] = []
    first = 0
    for seeds, subseeds in plan.batches():
        size = len(seeds)
        needed = any(first <= index < first + size for index in answered)
        batches += generation.batch(Batch(first, seeds, subseeds)) if needed else [(None, size)]
        first += size
    return batches


class _Generation:
    def __init__(
        self, graph: Graph, plan: Plan, catalog: Catalog, posterior: PosteriorSeed | None
    ) -> None:
        self._posterior = posterior
        self._graph = graph
        self._plan = plan
        embeddings = [stem(name) for name in catalog.files("embeddings") or ()]
        self._target = target_of(graph, plan.exact, embeddings)

    def swapped_inits(self) -> dict[str, Image]:
        """What stands for init images whose faces are swapped."""
        return dict(faceswap.inits(self._target, self._plan))

    def batch(self, batch: Batch) -> list[tuple[Finished, int]]:
        """All passes of one batch, decoded and finished."""
        graph, plan = self._graph, self._plan
        if plan.init_picture is not None:
            return finish.of_init_picture(self._target, plan, plan.init_picture, batch)
        loaded: list[Loaded] = []
        latent: Latent | None = None
        prepared: Prepared | None = None
        for index, sampling_pass in enumerate(plan.passes):
            with graph.numbers_from(sampling_pass.fields):
                tiled = loading.is_tiled(plan, index, is_first_batch=batch.first == 0)
                loaded.append(loaders.for_pass(graph, sampling_pass, self._target, is_tiled=tiled))
                started = starts.start(
                    graph, plan, index, self._target, latent, loaded, batch, self._posterior
                )
                prepared = started.prepared or prepared
                encoder = sampling_pass.text_encoder_of
                clip = loaded[index if encoder is None else encoder].clip
                latent = self._sample(index, sampling_pass, loaded[index], clip, started, batch)
                sampled = Sampled(started.latent, latent, loaded[index].model)
                prepared = self._softened(sampling_pass, prepared, sampled)
        assert latent is not None
        decoder = loaders.decoder_after(graph, plan.passes[-1], loaded[-1])
        image = nodes.vae_decode(graph, latent, decoder)
        image = units.finish(graph, plan.control, image)
        return finish.finish(graph, self._target, plan, image, batch, prepared)

    def _softened(
        self, sampling_pass: SamplingPass, prepared: Prepared | None, sampled: Sampled
    ) -> Prepared | None:
        """What is put back after a pass, where Soft Inpainting decides it by the result."""
        soft = sampling_pass.soft
        if prepared is None or soft is None:
            return prepared
        return self._target.soften(prepared, soft, self._plan, sampled)

    def _sample(
        self,
        index: int,
        sampling_pass: SamplingPass,
        loaded: Loaded,
        clip: Clip,
        started: Started,
        batch: Batch,
    ) -> Latent:
        target, checkpoint = self._target, sampling_pass.checkpoint
        if not target.samples(sampling_pass):
            return started.latent
        conditioned = self._conditioned(index, sampling_pass, checkpoint, loaded, clip, batch)
        if started.beside is not None:
            conditioned = target.with_image(conditioned, started.beside)
        return target.sample(
            self._plan,
            sampling_pass,
            conditioned,
            self._refiner(index, sampling_pass, batch),
            started.latent,
            batch,
            self._found_noise(sampling_pass, conditioned, clip, started.latent, batch),
        )

    def _found_noise(
        self,
        sampling_pass: SamplingPass,
        conditioned: Conditioned,
        clip: Clip,
        latent: Latent,
        batch: Batch,
    ) -> Noise | None:
        """The noise behind the picture that a pass starts from, where that is asked for."""
        reversal, target = self._plan.reversal, self._target
        if reversal is None:
            return None
        shown = replace(sampling_pass, prompt=reversal.prompt)
        positive, negative = target.encode(shown, sampling_pass.checkpoint, clip)
        seen = replace(conditioned, positive=positive, negative=negative)
        return target.reversed_noise(self._plan, reversal, seen, latent, batch)

    def _conditioned(
        self,
        index: int,
        sampling_pass: SamplingPass,
        checkpoint: Checkpoint,
        loaded: Loaded,
        clip: Clip,
        batch: Batch,
    ) -> Conditioned:
        """A model with the prompts and the ControlNet units of a pass.

        Args:
            checkpoint: the pass' own or its refiner, whose model and text encoder these are.
        """
        return conditioning.conditioned(
            self._graph,
            self._plan,
            self._target,
            index,
            sampling_pass,
            checkpoint,
            loaded,
            clip,
            self._generator_seeds(batch),
        )

    def _generator_seeds(self, batch: Batch) -> GeneratorSeeds:
        first, _ = self._plan.batches()[0]
        return GeneratorSeeds(
            first_batch=starts.posterior_seed(self._plan, first),
            batch=starts.posterior_seed(self._plan, batch.seeds),
            is_first=batch.first == 0,
        )

    def _refiner(self, index: int, sampling_pass: SamplingPass, batch: Batch) -> Conditioned | None:
        """What takes over in mid-sampling; ControlNet keeps the pass' VAE."""
        if sampling_pass.refiner is None:
            return None
        loaded = loaders.for_refiner(self._graph, sampling_pass, self._target)
        return self._conditioned(
            index, sampling_pass, sampling_pass.refiner.checkpoint, loaded, loaded.clip, batch
        )
