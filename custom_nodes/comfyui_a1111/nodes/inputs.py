"""Kinds of inputs that nodes declare, as ComfyUI's INPUT_TYPES wants them."""

from __future__ import annotations

from typing import Any

MAX_SIDE = 16384
"""Largest width or height in pixels, ComfyUI's own bound."""

InputTypes = dict[str, dict[str, Any]]
"""What INPUT_TYPES gives: "required", "optional", "hidden" -> the inputs of that kind by name."""

Kind = tuple[str, dict[str, Any]]


def whole(default: int, low: int, high: int = MAX_SIDE) -> Kind:
    """A whole number, both ends included."""
    return ("INT", {"default": default, "min": low, "max": high})


def number(default: float, low: float, high: float, step: float = 0.001) -> Kind:
    """A number, both ends included; `step` is that of ComfyUI's page, values may lie between."""
    return ("FLOAT", {"default": default, "min": low, "max": high, "step": step, "round": False})


def flag(default: bool = False) -> Kind:
    return ("BOOLEAN", {"default": default})


def line(default: str = "") -> Kind:
    """A text of one line, JSON in most nodes."""
    return ("STRING", {"default": default, "multiline": False})
