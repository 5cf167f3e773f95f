"""How a unit acts in each pass: when, how strongly, and with which style fidelity."""

from __future__ import annotations

from functools import cached_property

from translator.control import checks, models, windows
from translator.control.context import ControlContext
from translator.control.models import Kind
from translator.control.modules import Module
from translator.control.plan import UnitPass
from translator.control.units import ControlUnit
from translator.control.weights import Weighting, weighting
from translator.control.windows import Window
from translator.models.names import ModelFile
from translator.scope import Scope

_SOFT_IN_HIRES = ("canny", "mlsd")
"""What in a module's name softens its weights in the hires pass, whatever the control mode."""


class Passes:
    """Works out what units do in the passes of one request.

    Args:
        exact: whether our node pack's nodes count calls and take weights block by block.
    """

    def __init__(self, context: ControlContext, scope: Scope, *, exact: bool) -> None:
        self._context = context
        self._report = scope.report
        self._exact = exact

    @cached_property
    def _calls(self) -> list[list[windows.Call]]:
        """The model calls of each pass."""
        return [windows.calls_of(item.schedule) for item in self._context.passes]

    def unit_pass(
        self, unit: ControlUnit, module: Module, kind: Kind, model: ModelFile | None, index: int
    ) -> UnitPass:
        """What a unit does in pass `index`, counted from 0."""
        return UnitPass(
            window=self._window(unit, module, kind, index),
            weighting=self._weighting(unit, module, kind, model, index),
            style_fidelity=self._style_fidelity(unit, index),
        )

    def _window(self, unit: ControlUnit, module: Module, kind: Kind, index: int) -> Window | None:
        if not self._takes_part(unit, module, kind, index):
            return None
        schedule = self._context.passes[index].schedule
        if self._exact and schedule is not None and schedule.counts_calls:
            return windows.counted_window(
                unit.guidance_start, unit.guidance_end, schedule.planned_steps
            )
        made = self._calls[index]
        table = windows.table_of(schedule)
        found = windows.window(unit.guidance_start, unit.guidance_end, made, table)
        if found is None and made:
            self._report.warn(
                unit.path,
                f"guidance_start {unit.guidance_start} to guidance_end {unit.guidance_end} "
                f"holds no step of pass {index + 1}: it has no effect there",
            )
        return found

    def _takes_part(self, unit: ControlUnit, module: Module, kind: Kind, index: int) -> bool:
        """hr_option; it is no matter without hires fix, nor to some kinds of unit.

        A ControlLLLite never acts in the hires pass.
        """
        if kind is Kind.LLLITE:
            return not self._context.is_hires(index)
        always = module.is_ip_adapter or module.role == "revision"
        if always or not self._context.has_hires:
            return True
        left_out = "Low res only" if self._context.is_hires(index) else "High res only"
        return unit.hr_option != left_out

    def _weighting(
        self, unit: ControlUnit, module: Module, kind: Kind, model: ModelFile | None, index: int
    ) -> Weighting:
        soft_in_hires = any(item in unit.module_name.lower() for item in _SOFT_IN_HIRES)
        weighed = checks.has_blocks(module, kind)
        return weighting(
            unit.weight,
            unit.control_mode if weighed else "Balanced",
            self._context.architecture,
            forced_soft=weighed and soft_in_hires and self._context.is_hires(index),
            pools_globally=models.pools_globally(
                model.stem if model else unit.model or "", kind, self._context.family
            ),
            tells_negative=self._context.tells_negative(index),
            advanced=self._weights_per_block(unit, module, kind) if weighed else None,
            t2i=kind is Kind.T2I_ADAPTER,
        )

    def _weights_per_block(
        self, unit: ControlUnit, module: Module, kind: Kind
    ) -> tuple[float, ...] | None:
        """A unit's weights, one for each block: the extension leaves out blocks without one."""
        weights = unit.advanced_weighting
        if weights is None or module.is_ip_adapter:
            return weights
        count = checks.blocks_of(module, kind, self._context)
        return (*weights[:count], *[0.0] * (count - len(weights)))

    def _style_fidelity(self, unit: ControlUnit, index: int) -> float:
        """A reference unit's slider, which the control modes and the hires pass overrule.

        SDXL's is cubed, which Advanced-ControlNet does by itself.
        """
        if unit.control_mode == "ControlNet is more important":
            return 1.0
        if unit.control_mode != "Balanced" or self._context.is_hires(index):
            return 0.0
        slider = min(max(float(unit.threshold_a), 0.0), 1.0)
        return slider**self._context.family.reference_power if self._exact else slider
