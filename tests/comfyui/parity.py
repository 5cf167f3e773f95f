"""How near the worker comes to a real A1111: paints its goldens again on a real ComfyUI (CPU).

    python -m tests.comfyui.parity --comfyui DIR [--goldens DIR] [--out DIR] [--family F]

Every case goes through handler, translator, node pack and ComfyUI twice: with our node pack
(``exact``) and with core nodes alone (``core``). ``OUT/FAMILY/NAME.json`` has the exact answer's
images, info and warnings, ``OUT/core/FAMILY/NAME.json`` the other's. The report goes to
``OUT/parity.md``, and to ``docs/parity.md`` when all families were run.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.comfyui import models
from tests.comfyui.goldens import Golden, Verdict, judge, load
from tests.comfyui.server import REPO, Checkout, ComfyServer
from tests.comfyui.worker import Worker, worker_at

MODES = ("exact", "core")
KINDS = ("exact", "near", "other", "refused")
REASONS_FILE = Path(__file__).with_name("parity_reasons.json")
GOLDENS = Path(__file__).with_name("a1111")
DOCUMENT = REPO / "docs" / "parity.md"
DEFAULT_CHECKPOINT = "synth15.safetensors"

STYLES = """\
name,prompt,negative_prompt
cine,"cinematic film still of {prompt}, dramatic light","cartoon, drawing"
tail,"highly detailed, 8k",
negonly,,"ugly, deformed"
"""
"""The styles.csv of the A1111 that made the goldens."""

_HASHING_S = 300.0

_SINGLE_PRECISION = ("--fp32-unet", "--fp32-text-enc")
"""The recorded A1111 ran with --no-half; LoRAs are merged in the precision of the weights."""


@dataclass(frozen=True)
class Row:
    """One case and what became of it in each mode."""

    golden: Golden
    verdicts: Mapping[str, Verdict]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the goldens and write the report."""
    options = _parser().parse_args(arguments)
    if options.comfyui:
        os.environ["COMFYUI_DIR"] = options.comfyui
    checkout = Checkout.from_env()
    if checkout is None:
        raise SystemExit("which ComfyUI? give --comfyui DIR or set COMFYUI_DIR")
    cases = list(load(options.goldens, options.family))
    if not cases:
        raise SystemExit(f"there are no goldens in {options.goldens}")
    with _worker(checkout) as worker:
        rows = [_run(worker, golden, options.out) for golden in cases]
    report = document(rows, reasons())
    for path in [options.out / "parity.md", *([] if options.family else [DOCUMENT])]:
        path.write_text(report, "utf-8")
        print(path)
    print("\n".join(_summary(rows)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("parity", description=__doc__.partition("\n")[0])
    parser.add_argument("--comfyui", default="", help="ComfyUI checkout (default COMFYUI_DIR)")
    parser.add_argument("--goldens", type=Path, default=GOLDENS)
    parser.add_argument("--out", type=Path, default=REPO / "out" / "parity")
    parser.add_argument("--family", default=None, help="one family instead of all")
    return parser


@contextmanager
def _worker(checkout: Checkout) -> Iterator[Worker]:
    """A worker set up like the A1111 that made the goldens."""
    root = models.golden_models(checkout)
    styles = models.CACHE / "styles.csv"
    styles.write_text(STYLES, "utf-8")
    environment = {
        "MODEL_ROOTS": str(root),
        "DEFAULT_CHECKPOINT": DEFAULT_CHECKPOINT,
        "STYLES_FILE": str(styles),
        "HASH_CACHE": str(models.CACHE / "hashes.json"),
        "LOG_LEVEL": "error",
    }
    server = ComfyServer(checkout, models.CACHE / "run-parity", [root], arguments=_SINGLE_PRECISION)
    with server, worker_at(server, **environment) as worker:
        _wait_for_hashes(worker)
        yield worker


def _wait_for_hashes(worker: Worker) -> None:
    """Infotexts name the model's hash, which the worker computes in the background."""
    deadline = time.monotonic() + _HASHING_S
    for checkpoint in ("synth15", "synth15_alt"):
        payload = {"steps": 1, "width": 64, "height": 64, "sampler_name": "Euler"}
        payload["override_settings"] = {"sd_model_checkpoint": checkpoint}
        while json.loads(worker.paint(payload)["info"])["sd_model_hash"] is None:
            if time.monotonic() > deadline:
                raise SystemExit(f"{checkpoint} is not hashed after {_HASHING_S:g} s")
            time.sleep(1)


def _run(worker: Worker, golden: Golden, out: Path) -> Row:
    verdicts: dict[str, Verdict] = {}
    for mode in MODES:
        answer = worker.call(golden.payload, golden.endpoint, unsupported="warn", fidelity=mode)
        _keep(answer, (out if mode == "exact" else out / mode) / golden.family, golden.name)
        verdicts[mode] = judge(golden, answer)
    shown = ", ".join(f"{mode} {_cell(verdict)}" for mode, verdict in verdicts.items())
    print(f"{golden.id}: {shown}", flush=True)
    return Row(golden, verdicts)


def _keep(answer: Any, folder: Path, name: str) -> None:
    if isinstance(answer, dict):
        kept: Any = {"images": [], "info": None, "warnings": [], **answer}
    else:
        kept = {"response": answer}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(kept), "utf-8")


def reasons() -> dict[str, str]:
    """Case (``family/name``, or ``family`` for all of it) -> why it cannot be exact."""
    found: dict[str, str] = json.loads(REASONS_FILE.read_text("utf-8"))
    return found


def document(rows: Sequence[Row], why: Mapping[str, str]) -> str:
    """The report, in Markdown."""
    lines = [
        "# Parity with A1111",
        "",
        "Written by `make parity`. Each case is a request that a real A1111 v1.10.1 answered on "
        "CPU; the same request went through this worker and a real ComfyUI on CPU, with our node "
        "pack (exact mode) and with core nodes alone. The figure is the least peak signal-to-noise "
        "ratio of a case's images and the greatest difference of a channel (of 255): *exact* is "
        "60 dB and more, *near* 45 dB and more. *refused*: A1111 answers with an error, and so do "
        "we. `info` and infotexts are compared but for version, time and random subseeds.",
        "",
        *_summary(rows),
    ]
    for family in _families(rows):
        lines += ["", f"## {family}", "", *_table(_of(rows, family), why)]
    return "\n".join(lines) + "\n"


def _summary(rows: Sequence[Row]) -> list[str]:
    heads = " | ".join(f"{mode}: {kind}" for mode in MODES for kind in KINDS)
    lines = [
        f"| family | cases | {heads} | info and infotext equal |",
        "|---|---|" + "---|" * (len(MODES) * len(KINDS) + 1),
    ]
    groups = [(family, _of(rows, family)) for family in _families(rows)]
    for name, group in [*groups, ("**all**", rows)]:
        counts = [
            Counter(row.verdicts[mode].kind for row in group)[kind]
            for mode in MODES
            for kind in KINDS
        ]
        equal = sum(not row.verdicts["exact"].differences for row in group)
        cells = " | ".join(str(count) for count in [len(group), *counts, equal])
        lines.append(f"| {name} | {cells} |")
    return lines


def _table(rows: Iterable[Row], why: Mapping[str, str]) -> list[str]:
    lines = ["| case | exact | core | differs, and why |", "|---|---|---|---|"]
    for row in rows:
        cells = [row.golden.name, *(_cell(row.verdicts[mode]) for mode in MODES), _notes(row, why)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(verdict: Verdict) -> str:
    if verdict.psnr is None:
        return verdict.kind
    psnr = "equal" if verdict.psnr == float("inf") else f"{verdict.psnr:.1f} dB"
    return f"{verdict.kind}, {psnr}, {verdict.max_difference}"


def _notes(row: Row, why: Mapping[str, str]) -> str:
    verdict = row.verdicts["exact"]
    notes = list(verdict.differences)
    if verdict.kind in ("near", "other"):
        explained = why.get(row.golden.id) or why.get(row.golden.family)
        notes.append(f"why: {explained or 'not explained'}")
    return "; ".join(notes).replace("|", "\\|")


def _families(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row.golden.family for row in rows))


def _of(rows: Iterable[Row], family: str) -> list[Row]:
    return [row for row in rows if row.golden.family == family]


if __name__ == "__main__":
    raise SystemExit(main())
