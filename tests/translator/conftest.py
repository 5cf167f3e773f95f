"""What several tests of the translator need."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.corpus import cases


@pytest.fixture(scope="module")
def seed_payload() -> dict[str, Any]:
    """The seed request's payload, a picture in the placeholders' place."""
    (case,) = (case for case in cases() if case.name == "txt2img-instantid")
    return copy.deepcopy(dict(case.payload))
