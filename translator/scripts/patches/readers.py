"""Always-on scripts that change the model: their arguments -> `PatchScript`.

Arguments that are not sent have the values of the page. What a node does otherwise than the script
is a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from translator.scope import Scope
from translator.scripts.patches.free_u import free_u, free_u_of_forge
from translator.scripts.patches.guidance import (
    deep_shrink,
    hyper_tile,
    perturbed_attention_guidance,
    rescaled_guidance,
    self_attention_guidance,
    self_attention_guidance_of_forge,
)
from translator.scripts.patches.thresholding import (
    dynamic_thresholding,
    dynamic_thresholding_of_forge,
)
from translator.scripts.patches.values import PatchScript

PatchReader = Callable[[Sequence[Any], str, Scope], PatchScript | None]

PATCH_READERS: Mapping[str, PatchReader] = {
    "cfg rescale extension": rescaled_guidance,
    "freeu": free_u,
    "freeu integrated (sd 1.x, sd 2.x, sdxl)": free_u_of_forge,
    "self attention guidance": self_attention_guidance,
    "selfattentionguidance integrated (sd 1.x, sd 2.x, sdxl)": self_attention_guidance_of_forge,
    "perturbedattentionguidance integrated": perturbed_attention_guidance,
    "kohya hrfix integrated": deep_shrink,
    "hypertile integrated": hyper_tile,
    "dynamic thresholding (cfg scale fix)": dynamic_thresholding,
    "dynamicthresholding (cfg-fix) integrated": dynamic_thresholding_of_forge,
}
"""Lower-case title -> what reads the arguments of a script that changes the model."""
