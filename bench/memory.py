"""Memory at its peak while a job with large images is answered."""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path

from bench.jobs import Ours, workflow_job
from bench.server import server_process

WANTED = 2.5
_SIZE, _BATCH = 1024, 4


def rows() -> list[str]:
    """The figures, a line each."""
    with server_process("--pictures", "photo") as url:
        ours = Ours(url, result_limit=1 << 30)
        ours.time([workflow_job(1, size=_SIZE, batch=_BATCH)])  # what is loaded once is not counted
        gc.collect()
        before = _resident()
        peak = _Peak()
        answer = ours.answer(workflow_job(2, size=_SIZE, batch=_BATCH))
        highest = peak.stop()
        size = sum(len(image["data"]) for image in answer["images"])
        ours.close()
    ratio = (highest - before) / size
    return [
        f"memory of an answer of {size / 1e6:.1f} MB: {ratio:.2f} times the answer at the peak "
        f"(wanted: at most {WANTED})"
    ]


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class _Peak:
    """The kernel's own high-water mark where it can be reset, else samples."""

    def __init__(self) -> None:
        self._highest = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            self._thread.start()

    def _sample(self) -> None:
        while not self._done.is_set():
            self._highest = max(self._highest, _resident())
            time.sleep(0.001)

    def stop(self) -> int:
        """The highest resident size since the start, in bytes."""
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()
            return self._highest
        status = Path("/proc/self/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print("\n".join(rows()))
