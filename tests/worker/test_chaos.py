"""The chaos suite: 2,000 jobs under seeded faults; ``make chaos`` runs 10,000."""

from __future__ import annotations

import pytest

from bench.chaos import UNHURRIED, Chaos, any_fault, passing_fault

pytestmark = pytest.mark.slow

RUNS = 250
SEEDS = range(1, 5)


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_that_pass_lose_no_job(seed: int) -> None:
    report = Chaos(seed, passing_fault, stop_jobs=False, settings=UNHURRIED).run(RUNS)
    assert not report.broken, report
    assert report.outcomes == {"images": RUNS}, report
    assert report.faults.total() > RUNS / 20, report


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_each_job_has_one_clear_answer(seed: int) -> None:
    report = Chaos(100 + seed, any_fault, stop_jobs=True).run(RUNS)
    assert not report.broken, report
    assert report.runs == RUNS, report
    assert report.outcomes["images"] > RUNS / 2, report
