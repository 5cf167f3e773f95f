"""The development server against what a real ComfyUI 0.3.64 answered to the same graphs."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from devserver import DevServer, default_models
from tests.devserver import record
from tests.devserver.cases import MODELS, REFUSALS, RUNS

RECORDED: dict[str, Any] = json.loads(record.RECORDED.read_text("utf-8"))


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    with DevServer(models={**default_models(), **MODELS}) as server:
        record.upload_files(server.url)
        yield server


@pytest.mark.parametrize("name", RUNS)
def test_run(server: DevServer, name: str) -> None:
    assert record.run(server.url, copy.deepcopy(RUNS[name])) == RECORDED["runs"][name]


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal(server: DevServer, name: str) -> None:
    answer = record.refusal(server.url, copy.deepcopy(REFUSALS[name]))
    assert answer == record.reduced(RECORDED["refusals"][name])


def test_every_case_was_recorded() -> None:
    assert RUNS.keys() == RECORDED["runs"].keys()
    assert REFUSALS.keys() == RECORDED["refusals"].keys()
