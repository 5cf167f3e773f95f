"""What a request is translated with: the values that travel together through every stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from translator.comfy.catalog import Catalog
from translator.options import Options
from translator.prompt.block_weights import Script as BlockWeightScript
from translator.report import Report
from translator.request.a1111_options import A1111Options

Rewrite = Callable[[str, str], tuple[str, str] | None]
"""Positive and negative prompt -> what A1111 encodes in their place; None leaves them."""


@dataclass(frozen=True)
class Scope:
    """The surroundings of a request.

    Attributes:
        options: how the translation is to be done.
        a1111_options: A1111's options in force, the request's own over the server's.
        catalog: what the ComfyUI has.
        report: takes warnings and problems.
        block_weights: how the extension LoRA Block Weight is set.
        rewrite: what a script makes of both prompts before A1111 reads them.
    """

    options: Options
    a1111_options: A1111Options
    catalog: Catalog
    report: Report
    block_weights: BlockWeightScript = field(default_factory=BlockWeightScript)
    rewrite: Rewrite | None = None

    def has_own(self, *nodes: str) -> bool:
        """Whether our node pack is used, and has these nodes."""
        return self.options.fidelity != "core" and self.catalog.has(*nodes)

    def with_a1111_options(self, a1111_options: A1111Options) -> Scope:
        """The same surroundings with other options of A1111."""
        return replace(self, a1111_options=a1111_options)
