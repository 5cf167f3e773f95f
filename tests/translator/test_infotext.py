"""Infotext and info, against what a real A1111 answered."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.translator.golden_info import LEFT_SET, facts_of, goldens
from translator.infotext import create_info, create_infotext

PLAIN = [case for case, row in goldens().items() if not row["payload"].get("script_name")]


@pytest.mark.parametrize("case", PLAIN)
def test_golden_info_is_rebuilt_from_the_payload(case: str) -> None:
    golden = goldens()[case]
    info = golden["info"]
    facts = facts_of(
        golden["payload"], seed=info["seed"], subseed=info["subseed"], server=LEFT_SET.get(case)
    )
    count = len(facts.seeds)
    infotexts = [create_infotext(facts, index) for index in range(count)]
    started = datetime.strptime(info["job_timestamp"], "%Y%m%d%H%M%S")
    assert infotexts == info["infotexts"]
    rebuilt = create_info(facts, infotexts, now=started)
    assert rebuilt == info
    assert list(rebuilt) == list(info)
    assert list(rebuilt["extra_generation_params"]) == list(info["extra_generation_params"])
