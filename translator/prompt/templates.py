"""Templates of the extension Dynamic Prompts: ``{a|b}``, ``{2$$a|b|c}``, ``__wildcard__``.

The grammar and the sampling are those of the library ``dynamicprompts`` 0.31, which the extension
(sd-dynamic-prompts 2.17) uses as well; here it is held to a budget, since a template of a few
lines can stand for more text than there is memory. Everything is drawn by the seeds that are given.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from random import Random
from typing import Any

from dynamicprompts.commands import Command, VariantCommand
from dynamicprompts.enums import SamplingMethod
from dynamicprompts.parser.parse import parse
from dynamicprompts.samplers.combinatorial import CombinatorialSampler
from dynamicprompts.samplers.cycle import CyclicalSampler
from dynamicprompts.samplers.random import RandomSampler
from dynamicprompts.sampling_context import SamplingContext
from dynamicprompts.sampling_result import SamplingResult
from dynamicprompts.types import ResultGen
from dynamicprompts.wildcards import WildcardManager
from dynamicprompts.wildcards.collection.list import ListWildcardCollection
from dynamicprompts.wildcards.item import WildcardItem
from dynamicprompts.wildcards.values import WildcardValues

from translator.prompt.template_budget import (
    Budget,
    TemplateError,
    TemplateLimitError,
    Wildcards,
)

MAX_TOKENS = 200
"""Parts in a row of a template whose combinations are made: each needs a step for every part."""

_READ = 10
"""Work of reading a text."""

_MARKS = {"{": 300, "|": 100, "$": 100, "%": 100, "__": 70, "#": 10}
"""Further work of reading it, by what stands in it."""


logging.getLogger("dynamicprompts").setLevel(logging.ERROR)
# It warns of a wildcard that is not there each time; `Budget.missing` says so once.


class _Manager(WildcardManager):
    """Wildcards from memory; what is not there is noted."""

    def __init__(self, wildcards: Wildcards, budget: Budget) -> None:
        collections: dict[str, Any] = {
            name: ListWildcardCollection([_item(value) for value in values])
            for name, values in wildcards.items()
        }
        super().__init__(root_map={"": [collections]})
        self._budget = budget

    def get_values(self, wildcard: str) -> WildcardValues:
        values = super().get_values(wildcard)
        if not values:
            self._budget.missing[wildcard] = None
        return values


def _item(value: str | tuple[str, float]) -> str | WildcardItem:
    return value if isinstance(value, str) else WildcardItem(value[0], value[1])


def _reachable(command: VariantCommand) -> VariantCommand:
    """A choice among no more than the different options that there are.

    The library would go through the others in vain, or for ever.
    """
    values = command.values
    different = sum(value not in values[:index] for index, value in enumerate(values))
    if min(command.min_bound, len(values)) > different:
        raise TemplateLimitError("a choice asks for more different options than there are")
    return replace(command, max_bound=min(command.max_bound, different))


class _Combinatorial(CombinatorialSampler):
    def _get_sequence(self, command: Any, context: Any) -> ResultGen:
        if len(command.tokens) > MAX_TOKENS:
            raise TemplateLimitError(f"combinations are made of at most {MAX_TOKENS} parts")
        return super()._get_sequence(command, context)


@lru_cache(maxsize=2048)
def _parsed(text: str) -> Command:
    return parse(text)


def _samplers() -> dict[SamplingMethod, Any]:
    return {
        SamplingMethod.COMBINATORIAL: _Combinatorial(),
        SamplingMethod.CYCLICAL: CyclicalSampler(),
        SamplingMethod.RANDOM: RandomSampler(),
    }


@dataclass(frozen=True)
class _Context(SamplingContext):
    """The library's context, which pays for what it does."""

    budget: Budget = field(default_factory=lambda: Budget(0))

    def generator_from_command(self, command: Command) -> ResultGen:
        self.budget.spend(1)
        method = self.get_effective_sampling_method(command)
        if isinstance(command, VariantCommand) and method != SamplingMethod.RANDOM:
            self.budget.spend(len(command.values) ** 2 // 10)
            command = _reachable(command)
        return super().generator_from_command(command)

    def sample_prompts(
        self, prompt: str | Command, num_prompts: int | None = None
    ) -> Iterable[SamplingResult]:
        if isinstance(prompt, str) and prompt:
            marks = (prompt.count(mark) * work for mark, work in _MARKS.items())
            self.budget.spend(_READ + sum(marks))
            return super().sample_prompts(_parsed(prompt), num_prompts)
        return super().sample_prompts(prompt, num_prompts)


@contextmanager
def _told() -> Iterator[None]:
    """Whatever the library stumbles over in a template is one kind of error."""
    try:
        yield
    except TemplateLimitError:
        raise
    except Exception as error:
        raise TemplateError(f"it cannot be read ({type(error).__name__})") from error


class Drawer:
    """Draws prompts from templates.

    Args:
        wildcards: what ``__name__`` stands for.
        budget: shared by all that is drawn for a request.
    """

    def __init__(self, wildcards: Wildcards, budget: Budget) -> None:
        self._manager = _Manager(wildcards, budget)
        self._budget = budget

    def generator(self, seed: int) -> RandomPrompts:
        """What draws at random."""
        return RandomPrompts(self._context(SamplingMethod.RANDOM, Random(seed)), self._budget)

    def combinations(self, batches: int, seed: int) -> Combinations:
        """What makes every combination, `batches` times.

        Args:
            seed: of parts that are drawn at random all the same (``{~a|b}``), which the library
                draws by no seed.
        """
        context = self._context(SamplingMethod.COMBINATORIAL, Random(seed))
        return Combinations(context, self._budget, batches)

    def _context(self, method: SamplingMethod, rand: Random) -> _Context:
        return _Context(
            default_sampling_method=method,
            wildcard_manager=self._manager,
            samplers=_samplers(),
            rand=rand,
            budget=self._budget,
        )


@dataclass
class RandomPrompts:
    """Prompts at random, by seeds or by what its generator goes on with."""

    context: _Context
    budget: Budget

    def generate(self, template: str, count: int, seeds: Sequence[int] | None) -> list[str]:
        """`count` prompts, or none from an empty template.

        Args:
            seeds: one a prompt; None goes on where the generator is.

        Raises:
            TemplateError: the template cannot be read.
            TemplateLimitError: it stands for too much.
        """
        with _told():
            prompts = iter(self.context.sample_prompts(template, count))
            if not seeds:
                return [self.budget.take(str(prompt)) for prompt in prompts]
            made = []
            for seed in seeds:
                self.context.rand.seed(seed)
                made.append(self.budget.take(str(next(prompts))))
            return made


@dataclass
class Combinations:
    """Every combination of a template's variants."""

    context: _Context
    budget: Budget
    batches: int

    def generate(self, template: str, count: int | None, most: int) -> list[str]:
        """The first `count` combinations, all for None, repeated for each batch.

        Args:
            most: how many prompts there may be; beyond it one more is made.

        Raises:
            TemplateError: the template cannot be read.
            TemplateLimitError: it stands for too much.
        """
        made: list[str] = []
        with _told():
            for _ in range(self.batches):
                for prompt in self.context.sample_prompts(template, count):
                    made.append(self.budget.take(str(prompt)))
                    if len(made) > most:
                        return made
        return made
