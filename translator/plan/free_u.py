"""FreeU's factors, as the plan has them and as our node reads them: the node pack has a copy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """The factors of one stage of the decoder.

    Source of the names: sd-webui-freeu ``global_state.py`` (StageInfo), in its order, in which the
    node's input ``stages`` lists them.

    Attributes:
        backbone, skip: of the stage's own features and of the skip connection's low frequencies.
        offset, width: which share of the channels `backbone` acts on; it may wrap around.
        cutoff: where low frequencies end, as a share of the spectrum.
        high: of the skip connection's other frequencies.
    """

    backbone: float = 1.0
    skip: float = 1.0
    offset: float = 0.0
    width: float = 0.5
    cutoff: float = 0.0
    high: float = 1.0
