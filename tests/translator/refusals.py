"""What is refused of a request, and requests and catalogs to try it with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from translator import Catalog, TranslationError, translate


def problems(payload: dict[str, Any], catalog: Catalog | None = None) -> list[str]:
    """The problems of a request that must be refused, ``path: message`` each."""
    with pytest.raises(TranslationError) as caught:
        translate(payload, catalog=catalog)
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def with_units(*units: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A request with ControlNet units."""
    return {**fields, "alwayson_scripts": {"controlnet": {"args": list(units)}}}


def without(*classes: str) -> Catalog:
    """The bundled catalog without some node classes."""
    bundled = Catalog.bundled()
    return replace(bundled, nodes={k: v for k, v in bundled.nodes.items() if k not in classes})
