"""The always-on script Dynamic Prompts: one request as a generation for each prompt that is drawn.

Source: sd-dynamic-prompts 2.17.1 (e8326b5) ``sd_dynamic_prompts/dynamic_prompting.py`` (process),
``generator_builder.py``, ``helpers.py`` (get_seeds, generate_prompts), restated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import cycle, islice, product
from typing import TYPE_CHECKING, Any

from translator.infotext.text import GenerationFacts, create_info
from translator.plan.answer import DetectedMaps, Grid, Output
from translator.plan.pictures import Picture
from translator.plan.prompts import settled_texts
from translator.plan.seeds import fixed
from translator.prompt.template_budget import Budget, TemplateError, TemplateLimitError
from translator.scope import Scope
from translator.scripts.arguments import Arguments
from translator.scripts.expansion import (
    MAX_CHARACTERS,
    MAX_GENERATIONS,
    Expansion,
    Fields,
    alone,
    grid_of,
    joined_hires,
    share_parameters,
    warn_of_shared_networks,
    within_bounds,
)

if TYPE_CHECKING:
    from translator.prompt.templates import RandomPrompts

_USUAL: Mapping[str, Any] = {
    "enabled": True,
    "combinatorial": False,
    "batches": 1,
    "magic prompt": False,
    "feeling lucky": False,
    "attention grabber": False,
    "min attention": 1.1,
    "max attention": 1.5,
    "magic length": 100,
    "magic temperature": 0.7,
    "fixed seed": False,
    "unlink seed": False,
    "disable negative": True,
    "jinja": False,
    "no image": False,
    "max generations": 0,
    "magic model": "default",
    "magic blocklist": "",
}
"""Its arguments in order, each with the page's value."""

_NOT_DONE = {
    "magic prompt": "needs a language model that this worker does not have",
    "feeling lucky": "asks a web site for prompts",
    "attention grabber": "needs a language model that this worker does not have",
    "jinja": "runs programs of the request (Jinja2 templates)",
}

_MARKS = ("{", "__", "$", "%", "#", "//", "/*")
"""What makes a text something else than itself to the grammar."""

MAX_BATCHES = 100
"""How often combinations may be repeated."""


@dataclass(frozen=True)
class DynamicPrompts:
    """What the script is asked for.

    Attributes:
        path: of its arguments.
        combinatorial: whether every combination is made, not one at random for each image.
        batches: how often, with seeds of their own where `fixed_seed`.
        fixed_seed: whether all images have one seed.
        unlinked: whether prompts are not drawn by the images' seeds.
        shares_generator: whether the negative prompt goes on where the positive one ended.
        no_images: whether only the first prompt is made into an image.
        most: combinations at the most; 0 is all of them.
    """

    path: str
    combinatorial: bool
    batches: int
    fixed_seed: bool
    unlinked: bool
    shares_generator: bool
    no_images: bool
    most: int


def read_dynamic_prompts(args: Sequence[Any], path: str, scope: Scope) -> DynamicPrompts | None:
    """The script's arguments; None where it is off, or after a report."""
    given = Arguments(args, path, scope, tuple(_USUAL.values()))
    at = {name: position for position, name in enumerate(_USUAL)}
    if not given.switch(at["enabled"]):
        return None
    given.warn_of_surplus()
    for name, why in _NOT_DONE.items():
        if given.switch(at[name]) and (name != "magic prompt" or given.switch(at["magic model"])):
            given.unsupported(
                at[name], f"{name} {why}; send false", instead="prompts are drawn without it"
            )
    script = DynamicPrompts(
        path=path,
        combinatorial=given.switch(at["combinatorial"]),
        batches=given.whole(at["batches"], 1, MAX_BATCHES),
        fixed_seed=given.switch(at["fixed seed"]),
        unlinked=given.switch(at["unlink seed"]),
        shares_generator=not given.switch(at["disable negative"]),
        no_images=given.switch(at["no image"]),
        most=given.whole(at["max generations"], 0, MAX_GENERATIONS),
    )
    return script if given.sound else None


@dataclass(frozen=True)
class DrawnExpansion(Expansion):
    """The drawn prompts, one variant each; A1111 runs them as one generation."""

    def info(self, facts: Sequence[GenerationFacts], now: datetime | None = None) -> dict[str, Any]:
        """The ``info`` of the one generation, the grid's text first where a grid is answered."""
        shared = share_parameters(facts)
        texts = [item.texts[0] for item in shared]
        joined = replace(
            shared[-1],
            prompts=tuple(item.prompts[0] for item in shared),
            negative_prompts=tuple(item.negative_prompts[0] for item in shared),
            seeds=tuple(item.seeds[0] for item in shared),
            subseeds=tuple(item.subseeds[0] for item in shared),
            batch_size=self.fields["batch_size"],
            styles=tuple(self.fields["styles"] or ()),
            hires=joined_hires([item.hires for item in shared if item.hires]),
        )
        with_grid = isinstance(self.outputs[0], Grid)
        return create_info(
            joined,
            [texts[0], *texts] if with_grid else texts,
            index_of_first_image=int(with_grid),
            now=now,
        )


def draws(script: DynamicPrompts, fields: Fields, scope: Scope) -> bool:
    """Whether the script, which is on in most requests that name it, changes anything."""
    if script.combinatorial or script.fixed_seed or script.no_images:
        return True
    texts = settled_texts(fields["prompt"], fields["negative_prompt"], fields["styles"], scope)
    of_script = [value for value in fields["script_args"] if isinstance(value, str)]
    return any(mark in text for mark in _MARKS for text in (*texts, *of_script))


def expand_dynamic_prompts(
    fields: Fields, script: DynamicPrompts, scope: Scope, draw_seed: Callable[[], int]
) -> DrawnExpansion | None:
    """The generations that the script makes of a request.

    None after a report.

    Args:
        script: one that `draws` from the request.
        draw_seed: source of random seeds.
    """
    request = _Request(fields, script, scope, draw_seed)
    prompts = request.draw()
    if prompts is None:
        return None
    variants = request.variants(prompts)
    images = tuple(Picture(index, 0) for index in range(len(variants)))
    grid = grid_of(images, request.base, scope.a1111_options, infotext_of=0)
    outputs: tuple[Output, ...] = (*images, DetectedMaps(0))
    return DrawnExpansion(
        request.base,
        scope.a1111_options,
        variants,
        outputs if grid is None else (grid, *outputs),
        runs_as_one=True,
    )


Pair = tuple[str, str]
"""A positive and a negative prompt."""


class _Request:
    """A request whose prompts are templates."""

    def __init__(
        self,
        fields: Fields,
        script: DynamicPrompts,
        scope: Scope,
        draw_seed: Callable[[], int],
    ) -> None:
        drawn = {name: fixed(fields[name], draw_seed) for name in ("seed", "subseed")}
        self.base: dict[str, Any] = {**fields, **drawn}
        self._script = script
        self._scope = scope
        self._draw_seed = draw_seed
        self._templates = settled_texts(
            fields["prompt"], fields["negative_prompt"], fields["styles"], scope
        )
        self._budget = Budget(MAX_CHARACTERS)
        from translator.prompt.templates import Drawer  # its library takes a tenth of a second

        self._drawer = Drawer(scope.options.wildcards, self._budget)

    def draw(self) -> list[Pair] | None:
        """The prompts of all images; None after a report."""
        report, field = self._scope.report, "prompt"
        length = sum(map(len, self._templates))
        if not within_bounds(self._images(), length, self._script.path, report):
            return None
        try:
            pairs = self._pairs()
        except TemplateLimitError as error:
            report.invalid(field, f"as a template of Dynamic Prompts: {error}")
            return None
        except TemplateError as error:
            report.warn(
                field,
                f"as a template of Dynamic Prompts: {error}; prompts stay text, as there",
            )
            return None
        self._report_missing()
        if len(pairs) > MAX_GENERATIONS:
            report.invalid(
                self._script.path,
                f"the combinations are more than {MAX_GENERATIONS}; bound them by max generations, "
                "the 16th argument",
            )
            return None
        return pairs[:1] if self._script.no_images else pairs

    def variants(self, pairs: Sequence[Pair]) -> tuple[dict[str, Any], ...]:
        """The generations, an image each."""
        seeds, subseeds = self._seeds(len(pairs))
        texts = [prompt for prompt, _ in pairs]
        size = 1 if self._script.no_images else self.base["batch_size"]
        warn_of_shared_networks(texts, size, "prompt", self._scope.report)
        return tuple(
            {
                **self.base,
                "prompt": prompt,
                "negative_prompt": negative,
                **self._hires(prompt, negative),
                "styles": [],
                "seed": seed,
                "subseed": subseed,
                **alone(self.base, place),
            }
            for place, ((prompt, negative), seed, subseed) in enumerate(
                zip(pairs, seeds, subseeds, strict=True)
            )
        )

    def _images(self) -> int:
        return int(self.base["n_iter"] * self.base["batch_size"])

    def _pairs(self) -> list[Pair]:
        if self.base["subseed_strength"] > 0:
            return self._frozen()
        return self._combined() if self._script.combinatorial else self._random()

    def _random(self) -> list[Pair]:
        """A prompt for each image, by its seed or, unlinked, by a seed of their own."""
        count, generator = self._images(), self._generator()
        seeds = None if self._script.unlinked else self._seeds(count)[0]
        prompt, negative = self._templates
        prompts = generator.generate(prompt, count, seeds if prompt else None) or [""] * count
        negatives = generator.generate(negative, count, seeds if negative else None) or [""]
        return _repeated(prompts, negatives)

    def _combined(self) -> list[Pair]:
        """Every combination; those of both prompts multiply where their number is not bounded."""
        most = self._script.most
        generator = self._drawer.combinations(self._script.batches, self.base["seed"])
        prompts, negatives = (
            generator.generate(text, most or None, MAX_GENERATIONS) or [""]
            for text in self._templates
        )
        if most:
            return _repeated(prompts, negatives)
        return list(islice(product(prompts, negatives), MAX_GENERATIONS + 1))

    def _frozen(self) -> list[Pair]:
        """One prompt for all images, where a variation seed makes them differ."""
        script, images = self._script, self._images()
        if script.combinatorial:
            images = script.most or 1
            generator = self._drawer.combinations(script.batches, self.base["seed"])
            both = [generator.generate(text, 1, MAX_GENERATIONS) for text in self._templates]
        else:
            first = self._generator()
            second = first if script.shares_generator or script.unlinked else self._generator()
            both = [
                source.generate(text, 1, None)
                for source, text in zip((first, second), self._templates, strict=True)
            ]
        prompts, negatives = (prompts * images or [""] for prompts in both)
        return _repeated(prompts, negatives)

    def _generator(self) -> RandomPrompts:
        unlinked = self._script.unlinked
        return self._drawer.generator(self._draw_seed() if unlinked else self.base["seed"])

    def _seeds(self, count: int) -> tuple[list[int], list[int]]:
        """Seeds and subseeds of the images."""
        script, seed, subseed = self._script, self.base["seed"], self.base["subseed"]
        shared = self.base["subseed_strength"] != 0
        if not script.fixed_seed or (script.unlinked and not script.combinatorial):
            seeds = [seed if shared else seed + index for index in range(count)]
            return seeds, [subseed + index for index in range(count)]
        batches = script.batches if script.combinatorial else 1
        each = max(1, count // batches)
        return [seed + min(index // each, batches - 1) for index in range(count)], [subseed] * count

    def _hires(self, prompt: str, negative: str) -> dict[str, Any]:
        """The hires prompts: the drawn ones, unless the request has others, which stay text."""
        if not self.base.get("enable_hr"):
            return {}
        own = settled_texts(
            self.base["hr_prompt"] or self.base["prompt"],
            self.base["hr_negative_prompt"] or self.base["negative_prompt"],
            self.base["styles"],
            self._scope,
        )
        names = ("hr_prompt", "hr_negative_prompt")
        pairs = zip(names, own, self._templates, strict=True)
        return {name: "" if text == template else text for name, text, template in pairs}

    def _report_missing(self) -> None:
        known, report = self._scope.options.wildcards, self._scope.report
        for name in self._budget.missing:
            report.missing(
                "prompt",
                f'there is no wildcard "{name}"{report.did_you_mean(name, known)} (wildcards are '
                "files of the folder that WILDCARDS_DIR names)",
                instead="it stays text, as in the extension",
                value=name,
            )


def _repeated(prompts: Sequence[str], negatives: Iterable[str]) -> list[Pair]:
    """Each prompt with a negative one, which begin anew where they end."""
    return list(zip(prompts, islice(cycle(negatives), len(prompts)), strict=True))
