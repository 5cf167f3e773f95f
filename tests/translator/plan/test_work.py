"""What a request makes ComfyUI do, as limits judge it."""

from __future__ import annotations

from tests.translator.plan.test_planner import plan
from translator.plan.answer import DetectedMaps, Grid, needed_images
from translator.plan.pictures import Picture
from translator.plan.work import PassWork, work_of


def test_every_pass_counts_with_its_own_size_and_steps() -> None:
    planned = plan(
        {
            "width": 512,
            "height": 384,
            "steps": 20,
            "batch_size": 2,
            "n_iter": 2,
            "enable_hr": True,
            "hr_scale": 1.5,
            "hr_second_pass_steps": 8,
            "denoising_strength": 0.5,
        }
    )
    work = work_of([planned], [*(Picture(0, index) for index in range(4)), DetectedMaps(0)])
    assert work.images == 4
    assert work.passes == (
        PassWork("first", 512, 384, batch=2, runs=2, steps=20),
        PassWork("hires", 768, 576, batch=2, runs=2, steps=8),
    )


def test_batches_that_are_not_answered_are_no_work() -> None:
    planned = plan({"n_iter": 5})
    grid = Grid((Picture(0, 0), Picture(1, 3)), rows=1)
    assert needed_images([grid], 3) == [{0}, {3}, set()]
    work = work_of([planned, planned, planned], [grid])
    assert work.images == 2
    assert [item.runs for item in work.passes] == [1, 1]
