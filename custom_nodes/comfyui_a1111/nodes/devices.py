"""Networks that ComfyUI's model management does not know, on the device while they work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def on_device(network: Any, parameters: torch.nn.Module | None = None) -> Iterator[torch.device]:
    """Have a network on ComfyUI's device, for which room is made; afterwards it is on the CPU.

    Args:
        network: whatever has `to`.
        parameters: the module whose size counts, where the network itself is none (spandrel's).
    """
    from comfy import model_management

    device: torch.device = model_management.get_torch_device()
    size = model_management.module_size(network if parameters is None else parameters)
    model_management.free_memory(size, device)
    try:
        network.to(device)
        yield device
    finally:
        network.to("cpu")
