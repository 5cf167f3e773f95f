"""RunPod's Hub files: what they name is there, and their test job runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from worker.settings import Settings, variables

HUB = Path(__file__).parents[2] / ".runpod"


def read(name: str) -> Any:
    return json.loads((HUB / name).read_text("utf-8"))


def test_every_variable_exists_and_its_default_can_be_used() -> None:
    known = {name for name, _, _ in variables()}
    entries = read("hub.json")["config"]["env"]
    assert {entry["key"] for entry in entries} <= known
    given = {entry["key"]: str(entry["input"]["default"]) for entry in entries}
    assert Settings.from_env(given) == Settings()


def test_every_choice_can_be_used() -> None:
    for entry in read("hub.json")["config"]["env"]:
        for option in entry["input"].get("options", ()):
            Settings.from_env({entry["key"]: option["value"]})


async def test_its_job_is_answered(worker: Any) -> None:
    tests = read("tests.json")["tests"]
    assert tests
    for test in tests:
        answer = await worker.run(test["input"])
        assert len(answer["images"]) == 1, answer
