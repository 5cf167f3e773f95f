"""The extra networks of a pass' prompt: LoRAs and hypernetworks, found and with their strengths."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from translator.models.names import Models
from translator.plan.values import Network
from translator.prompt import Lora, Prompt, PromptError
from translator.prompt.lora_extensions import weighted
from translator.prompt.step_weights import Curve
from translator.scope import Scope

_FOLDERS = {"lora": "loras", "hypernet": "hypernetworks"}
_KNOWN_KINDS = ("lora", "lyco", "hypernet")

_BLOCK_NODES = ("A1111LoraBlocks", "A1111LoraBlocksHook")
"""Our pack's nodes for factors of a LoRA's blocks."""

_HOOK_NODES = (
    "CreateHookLoraModelOnly",
    "CreateHookKeyframe",
    "SetHookKeyframes",
    "CombineHooks2",
    "PairConditioningSetProperties",
)
"""Core's nodes for a LoRA that acts in some steps."""

MAX_FRAMES = 5000
"""Changes of strength that a pass' LoRAs may have together."""

MAX_ELEMENTS = 5000
"""Factors of elements that a pass' LoRAs may have together."""

_DRAWN = ("R", "U")
"""Factors that LoRA Block Weight draws."""


class NetworkPlanner:
    """Plans the extra networks of one request's prompts.

    Args:
        seed: of the first picture, for factors that are drawn.
    """

    def __init__(self, models: Models, scope: Scope, seed: int) -> None:
        self._models = models
        self._scope = scope
        self._report = scope.report
        self._seed = seed

    def plan(
        self, parsed: Prompt, path: str, *, hires: bool, off: bool, calls: int
    ) -> tuple[Network, ...]:
        """The networks of a prompt that this ComfyUI has.

        Args:
            path: of the prompt.
            hires: whether it is the hires pass'.
            off: field disable_extra_networks.
            calls: of the model in the pass.
        """
        for tag in parsed.networks:
            if tag.kind not in _KNOWN_KINDS:
                self._report.unsupported(
                    path,
                    f'A1111 has no extra networks of kind "{tag.kind}"',
                    instead="the tag is left out, as A1111 does",
                )
        if off:
            return ()
        found = tuple(self._loras(parsed, path, hires))
        curves = sum(isinstance(network.steps, Curve) for network in found)
        if curves * calls > MAX_FRAMES:
            self._report.invalid(
                path,
                f"{curves} LoRAs with strengths by step in {calls} model calls are too many changes"
                f" of the model; at most {MAX_FRAMES} are done",
            )
            return ()
        elements = sum(len(item.blocks.elements) for item in found if item.blocks is not None)
        if elements > MAX_ELEMENTS:
            self._report.invalid(
                path,
                f"the LoRAs' elements (lbwe=) are {elements} together; at most {MAX_ELEMENTS} are "
                "done",
            )
            return ()
        return (*found, *self._hypernetworks(parsed, path))

    def _loras(self, parsed: Prompt, path: str, hires: bool) -> Iterator[Network]:
        try:
            requested: Sequence[Lora] = parsed.loras
        except PromptError as error:
            self._report.unsupported(
                path, str(error), instead="no LoRA is used at all, as A1111 does"
            )
            return
        for lora in self._weighted(parsed, requested, path):
            found = self._lora(lora.hires if hires and lora.hires else lora, path)
            if found is not None:
                yield found

    def _weighted(self, parsed: Prompt, plain: Sequence[Lora], path: str) -> Sequence[Lora]:
        """The LoRAs as the extension LoRA Block Weight changes them."""
        script = self._scope.block_weights
        if not script.on:
            return plain
        try:
            found = weighted(parsed.networks, plain, script.presets, random.Random(self._seed))
        except PromptError as error:
            self._report.unsupported(path, str(error), instead="the LoRAs are used whole")
            return plain
        changed = [
            lora for lora, old in zip(found, plain, strict=True) if lora.extras != old.extras
        ]
        if changed and not script.named:
            self._report.warn(
                path,
                f"<lora:{changed[0].name}>: {', '.join(_read(changed[0], plain))} is done as the "
                "extension LoRA Block Weight does it; A1111 without it uses the LoRA whole",
            )
        if any(factor in tag for tag in _tags(parsed) for factor in _DRAWN):
            self._report.warn(
                path,
                "R and U among block weights are drawn by the seed, and by chance in the extension",
            )
        return found

    def _lora(self, lora: Lora, path: str) -> Network | None:
        if lora.dyn_dim is not None:
            self._report.unsupported(
                path,
                f"<lora:{lora.name}>: ComfyUI cannot cut a LoRA down to a rank (dyn)",
                instead="it is used whole",
            )
        if lora.extras:
            self._report.warn(
                path,
                f"<lora:{lora.name}>: {', '.join(lora.extras)} is read by extensions such as "
                "LoRA Block Weight only: without effect, the LoRA is used whole",
            )
        if isinstance(lora.steps, Curve) or lora.hires:
            self._report.warn(
                path,
                f"<lora:{lora.name}>: strengths by step and of the hires pass (hr=) are what "
                "sd-webui-loractl makes of them; A1111 without it cannot read them",
            )
        network = self._network("lora", lora.name, lora.unet, lora.text_encoder, path)
        return network and replace(network, **self._extended(lora, path))

    def _extended(self, lora: Lora, path: str) -> dict[str, Any]:
        """What extensions add to a LoRA, as far as this ComfyUI has the nodes for it."""
        found: dict[str, Any] = {}
        if lora.blocks is not None:
            if self._scope.has_own(*_BLOCK_NODES):
                found["blocks"] = lora.blocks
            else:
                self._report.unsupported(
                    path,
                    f"<lora:{lora.name}>: factors of blocks need our node pack",
                    instead="it is used whole",
                )
        if lora.steps is not None:
            if self._scope.catalog.has(*_HOOK_NODES):
                found["steps"] = lora.steps
            else:
                self._report.unsupported(
                    path,
                    f"<lora:{lora.name}>: this ComfyUI has no nodes for a LoRA that acts in some "
                    "steps only; update it",
                    instead="it acts in all of them",
                )
        return found

    def _hypernetworks(self, parsed: Prompt, path: str) -> Iterator[Network]:
        try:
            requested = parsed.hypernetworks
        except PromptError as error:
            self._report.unsupported(
                path, str(error), instead="no hypernetwork is used, as A1111 does"
            )
            return
        for item in requested:
            found = self._network("hypernet", item.name, item.strength, 0.0, path)
            if found is not None:
                yield found

    def _network(self, kind: str, name: str, unet: float, te: float, path: str) -> Network | None:
        file = self._models.network(_FOLDERS[kind], name)
        if file is None:
            self._report.missing(
                path,
                f'<{kind}:{name}>: this ComfyUI has no "{name}" in {_FOLDERS[kind]}'
                f"{self._models.similar(_FOLDERS[kind], name) or '; put the file there'}",
                instead="it is left out, as A1111 does",
                value=name,
            )
            return None
        return Network(kind, name, file, unet, te)


def _read(changed: Lora, plain: Sequence[Lora]) -> list[str]:
    """The members of a LoRA's tag that the extension read."""
    names = next(lora.extras for lora in plain if lora.name == changed.name)
    return [name for name in names if name not in changed.extras]


def _tags(parsed: Prompt) -> Iterator[Sequence[str]]:
    """The texts between commas of the tags' block weights."""
    for tag in parsed.networks:
        named = tag.named.get("lbw", tag.named.get("w"))
        if named is not None:
            yield [factor.strip() for factor in named.split(",")]
