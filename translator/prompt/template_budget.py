"""What drawing from a template of Dynamic Prompts may cost, and what may go wrong.

Apart from `translator.prompt.templates`, which imports the library that draws: a start without such
a request does without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Wildcards = Mapping[str, Sequence[str | tuple[str, float]]]
"""Name, with its folders -> values, some with a weight."""

MAX_WORK = 100_000
"""What drawing may cost: 1 a part that is drawn from, more a text that is read; about a second."""


class TemplateError(Exception):
    """A template that cannot be read or drawn from; the extension then leaves the prompts alone."""


class TemplateLimitError(Exception):
    """A template that stands for too much."""


@dataclass
class Budget:
    """What may still be done, and what was not found.

    Attributes:
        work: left of `MAX_WORK`.
        characters: of prompts that may still be made.
        missing: wildcards that were asked for and are not there, in order.
    """

    characters: int
    work: int = MAX_WORK
    missing: dict[str, None] = field(default_factory=dict)

    def spend(self, work: int) -> None:
        """Take from the budget; raises TemplateLimitError where it is used up."""
        self.work -= work
        if self.work < 0:
            raise TemplateLimitError("its variants and wildcards stand for too much")

    def take(self, prompt: str) -> str:
        """A prompt that was made, counted."""
        self.characters -= len(prompt)
        if self.characters < 0:
            raise TemplateLimitError("its prompts together are too long")
        return prompt
