"""How near the worker comes to a real A1111: makes its goldens again on a real ComfyUI (CPU).

    python -m tests.comfyui.parity --comfyui DIR [--goldens DIR] [--family F] [--cases PATTERN]

Every case goes through handler, translator, node pack and ComfyUI twice: with our node pack
(``exact``) and with core nodes alone (``core``). ``OUT/FAMILY/NAME.json`` has the exact answer's
images, info and warnings, ``OUT/core/FAMILY/NAME.json`` the other's; ``OUT/verdicts`` has how near
they come. The report goes to ``OUT/parity.md``, pictures side by side with what differs to
``OUT/exact.html`` and ``OUT/core.html``; families of the repository's own goldens that were
run whole go into ``docs/parity.md``, which keeps the others. A long run can be made in pieces
(``--family``, ``--cases``); ``--report`` then reports the verdicts that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.comfyui import models
from tests.comfyui.goldens import Golden, Verdict, judge, load
from tests.comfyui.parity_page import Shown, write_page
from tests.comfyui.server import REPO, Checkout, ComfyServer
from tests.comfyui.worker import Worker, worker_at

MODES = ("exact", "core")
KINDS = ("exact", "near", "other", "refused")
REASONS_FILE = Path(__file__).with_name("parity_reasons.json")
GOLDENS = Path(__file__).with_name("a1111")
DOCUMENT = REPO / "docs" / "parity.md"

STYLES = """\
name,prompt,negative_prompt
cine,"cinematic film still of {prompt}, dramatic light","cartoon, drawing"
tail,"highly detailed, 8k",
negonly,,"ugly, deformed"
"""
"""The styles.csv of the A1111 that made the goldens."""

_HASHING_S = 300.0


@dataclass(frozen=True)
class Lab:
    """How the A1111 of some families was set up.

    Attributes:
        families: the families it recorded; empty for all others.
        models: make its models: checkout -> A1111's root folder.
        checkpoint: the one it had loaded.
        hashed: checkpoints that infotexts name with their hash.
        has_faces: whether InsightFace was there.
        options: what a job says besides, for the answer to be A1111's to the letter.
    """

    families: frozenset[str]
    models: Callable[[Checkout], Path]
    checkpoint: str
    hashed: Sequence[str]
    has_faces: bool = False
    options: Mapping[str, str] = field(default_factory=dict)

    def recorded(self, golden: Golden) -> bool:
        """Whether it made a case."""
        return not self.families or golden.family in self.families


LABS = (
    Lab(
        families=frozenset(
            ("control15", "controlxl", "detect", "img2img_cn", "instantid", "sdxl"),
        ),
        models=models.controlnet_models,
        checkpoint="cn15.safetensors",
        hashed=("cn15", "cnxl"),
        has_faces=True,
        options={"detected_maps": "all"},
    ),
    Lab(
        families=frozenset(("adetailer", "adetailer_cn", "sd_upscale", "soft_inpainting")),
        models=models.detailer_models,
        checkpoint="synth15.safetensors",
        hashed=("synth15", "synth15_alt"),
        options={"detected_maps": "all"},
    ),
    Lab(
        families=frozenset(("inpaint_checkpoint",)),
        models=models.picture_models,
        checkpoint="synth15_inpainting.safetensors",
        hashed=("synth15_inpainting",),
    ),
    Lab(
        families=frozenset(),
        models=models.golden_models,
        checkpoint="synth15.safetensors",
        hashed=("synth15", "synth15_alt"),
    ),
)
"""First match; the last one takes every family that no other names."""

_SINGLE_PRECISION = ("--fp32-unet", "--fp32-text-enc", "--fp32-vae")
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
    cases = list(load(options.goldens, options.family, options.cases))
    if options.sample:
        cases = list(_sample(cases, options.sample))
    if not cases:
        raise SystemExit(f"there are no goldens in {options.goldens}")
    if not options.report:
        for lab, goldens in _by_lab(cases):
            with _worker(checkout, lab, gpu=options.gpu) as worker:
                for golden in goldens:
                    _run(worker, lab, golden, options)
    rows = _rows(cases, options.out)
    chapters = chapters_of(rows, reasons())
    report = options.out / "parity.md"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(document(chapters), "utf-8")
    print(report)
    for page in _pages(rows, options.out):
        print(page)
    ours = options.goldens.resolve() == GOLDENS and not options.gpu
    whole = _whole(chapters, rows) if ours else {}
    if whole:
        kept = {**read_chapters(DOCUMENT.read_text("utf-8")), **whole}
        DOCUMENT.write_text(document(kept), "utf-8")
        print(DOCUMENT)
    print("\n".join(_summary(chapters)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("parity", description=__doc__.partition("\n")[0])
    parser.add_argument("--comfyui", default="", help="ComfyUI checkout (default COMFYUI_DIR)")
    parser.add_argument("--goldens", type=Path, default=GOLDENS)
    parser.add_argument("--out", type=Path, default=REPO / "out" / "parity")
    parser.add_argument("--family", default=None, help="one family instead of all")
    parser.add_argument("--cases", default="*", help="pattern of the names to run (default all)")
    parser.add_argument("--sample", type=int, help="this many of a family, evenly chosen")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--gpu", action="store_true", help="run on the GPU; the table stays as is")
    parser.add_argument("--report", action="store_true", help="run nothing, report earlier runs")
    return parser


def _sample(cases: Sequence[Golden], count: int) -> Iterator[Golden]:
    """At most `count` cases of each family, evenly spread over its list."""
    for family in dict.fromkeys(golden.family for golden in cases):
        members = [golden for golden in cases if golden.family == family]
        kept = min(count, len(members))
        yield from (members[index * len(members) // kept] for index in range(kept))


def _by_lab(cases: Iterable[Golden]) -> Iterator[tuple[Lab, list[Golden]]]:
    """The labs that recorded cases, each with its own."""
    groups: dict[int, list[Golden]] = {}
    for golden in cases:
        number = next(index for index, lab in enumerate(LABS) if lab.recorded(golden))
        groups.setdefault(number, []).append(golden)
    for number, goldens in sorted(groups.items()):
        yield LABS[number], goldens


@contextmanager
def _worker(checkout: Checkout, lab: Lab, *, gpu: bool) -> Iterator[Worker]:
    """A worker set up like the A1111 that made the goldens; on the GPU only if told so."""
    root = lab.models(checkout)
    styles = models.CACHE / "styles.csv"
    styles.write_text(STYLES, "utf-8")
    environment = {
        "MODEL_ROOTS": str(root),
        "DEFAULT_CHECKPOINT": lab.checkpoint,
        "STYLES_FILE": str(styles),
        "HASH_CACHE": str(models.CACHE / "hashes.json"),
        "LOG_LEVEL": "error",
    }
    run_dir = models.CACHE / f"run-parity-{os.getpid()}"  # several may run at a time
    server = ComfyServer(
        checkout,
        run_dir,
        [root],
        insightface=models.insightface(checkout) if lab.has_faces else None,
        arguments=_SINGLE_PRECISION,
        cpu=not gpu,
    )
    with server, worker_at(server, **environment) as worker:
        _wait_for_hashes(worker, lab)
        yield worker
    shutil.rmtree(run_dir, ignore_errors=True)


def _wait_for_hashes(worker: Worker, lab: Lab) -> None:
    """Infotexts name the model's hash, which the worker computes in the background."""
    deadline = time.monotonic() + _HASHING_S
    for checkpoint in lab.hashed:
        payload = {"steps": 1, "width": 64, "height": 64, "sampler_name": "Euler"}
        payload["override_settings"] = {"sd_model_checkpoint": checkpoint}
        while not json.loads(worker.generate(payload)["info"])["sd_model_hash"]:
            if time.monotonic() > deadline:
                raise SystemExit(f"{checkpoint} is not hashed after {_HASHING_S:g} s")
            time.sleep(1)


def _run(worker: Worker, lab: Lab, golden: Golden, options: argparse.Namespace) -> None:
    """Answer a case in every mode; answers and verdicts go to files.

    Differences of core mode are warnings. What A1111 refuses is sent with the default instead:
    `warn` goes on without a script that A1111 has not.
    """
    for mode in options.modes:
        unsupported = "error" if golden.refused else "warn"
        answer = worker.call(
            golden.payload, golden.endpoint, unsupported=unsupported, fidelity=mode, **lab.options
        )
        out = options.out if mode == "exact" else options.out / mode
        _keep(answer, out / golden.family, golden.name)
        verdict = judge(golden, answer)
        path = _verdict_file(options.out, golden, mode)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(verdict)), "utf-8")
        print(f"{golden.id}: {mode} {_cell(verdict)} {'; '.join(verdict.differences)}", flush=True)


def _verdict_file(out: Path, golden: Golden, mode: str) -> Path:
    return out / "verdicts" / mode / golden.family / f"{golden.name}.json"


def _rows(cases: Iterable[Golden], out: Path) -> list[Row]:
    """The cases of which there are verdicts."""
    rows = []
    for golden in cases:
        files = {mode: _verdict_file(out, golden, mode) for mode in MODES}
        verdicts = {
            mode: Verdict(**json.loads(file.read_text("utf-8")))
            for mode, file in files.items()
            if file.is_file()
        }
        if "exact" in verdicts:
            rows.append(Row(golden, verdicts))
    return rows


def _pages(rows: Sequence[Row], out: Path) -> Iterator[Path]:
    """A page of pictures for each mode that was run."""
    why = reasons()
    for mode in MODES:
        shown = [
            Shown(row.golden, kept, row.verdicts[mode], _why(row.golden, why))
            for row in rows
            if mode in row.verdicts and (kept := _kept(row.golden, out, mode)) is not None
        ]
        if shown:
            yield write_page(out, mode, shown)


def _why(golden: Golden, why: Mapping[str, str]) -> str:
    return why.get(golden.id) or why.get(golden.family) or ""


def _kept(golden: Golden, out: Path, mode: str) -> Mapping[str, Any] | None:
    """The answer as `_keep` left it, or None."""
    folder = out if mode == "exact" else out / mode
    file = folder / golden.family / f"{golden.name}.json"
    if not file.is_file():
        return None
    kept: Mapping[str, Any] = json.loads(file.read_text("utf-8"))
    return kept


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


@dataclass(frozen=True)
class Chapter:
    """What the report says of a family.

    Attributes:
        counts: its row in the summary, as `_COLUMNS` names them.
        lines: the table of its cases.
    """

    counts: tuple[int, ...]
    lines: tuple[str, ...]


_COLUMNS = (
    "cases",
    *(f"{mode}: {kind}" for mode in MODES for kind in KINDS),
    "info and infotext equal",
)

_SUMMARY_ROW = re.compile(r"^\| (\w+) \|((?: \d+ \|)+)$", re.MULTILINE)


def chapters_of(rows: Sequence[Row], why: Mapping[str, str]) -> dict[str, Chapter]:
    """Family -> what is said of it."""
    return {
        family: Chapter(_counts(_of(rows, family)), tuple(_table(_of(rows, family), why)))
        for family in _families(rows)
    }


def read_chapters(text: str) -> dict[str, Chapter]:
    """The chapters of a report that was written before."""
    counts = {name: tuple(map(int, re.findall(r"\d+", row))) for name, row in _rows_of(text)}
    parts = text.split("\n## ")[1:]
    lines = {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in parts}
    return {family: Chapter(counts[family], tuple(lines[family].splitlines())) for family in lines}


def _rows_of(text: str) -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in _SUMMARY_ROW.finditer(text)]


def _whole(chapters: Mapping[str, Chapter], rows: Iterable[Row]) -> dict[str, Chapter]:
    """The families of which every case was run."""
    wanted = Counter(golden.family for golden in load(GOLDENS))
    found = Counter(row.golden.family for row in rows)
    return {name: item for name, item in chapters.items() if found[name] == wanted[name]}


def document(chapters: Mapping[str, Chapter]) -> str:
    """The report, in Markdown."""
    lines = [
        "# Parity with A1111",
        "",
        "Written by `make parity`. Each case is a request that a real A1111 v1.10.1 answered on "
        "CPU; the same request went through this worker and a real ComfyUI on CPU, with our node "
        "pack (exact mode) and with core nodes alone. The figure is the least peak signal-to-noise "
        "ratio of a case's images and the greatest difference of a channel (of 255): *exact* is "
        "60 dB and more, *near* 45 dB and more. *refused*: A1111 answers with an error, and so do "
        "we. *posterior*: A1111 draws the encoding of an init image without a seed and differs "
        "from itself there, so *exact* is 50 dB and more and no channel off by more than 4; rows "
        "without this word are held to 60 dB, those of img2img at full strength among them. "
        "`info` and infotexts are compared but for version, time and random subseeds. "
        "[versions.md](versions.md) compares two versions of ComfyUI.",
        "",
        *_summary(chapters),
    ]
    for family, chapter in chapters.items():
        lines += ["", f"## {family}", "", *chapter.lines]
    return "\n".join(lines) + "\n"


def _summary(chapters: Mapping[str, Chapter]) -> list[str]:
    counts = [chapter.counts for chapter in chapters.values()]
    total = tuple(map(sum, zip(*counts, strict=True)))
    rows = [(name, chapter.counts) for name, chapter in chapters.items()]
    return [
        f"| family | {' | '.join(_COLUMNS)} |",
        "|---" * (len(_COLUMNS) + 1) + "|",
        *(f"| {name} | {' | '.join(map(str, row))} |" for name, row in [*rows, ("**all**", total)]),
    ]


def _counts(rows: Sequence[Row]) -> tuple[int, ...]:
    kinds = {
        mode: Counter(row.verdicts[mode].kind for row in rows if mode in row.verdicts)
        for mode in MODES
    }
    equal = sum(not row.verdicts["exact"].differences for row in rows)
    return (len(rows), *(kinds[mode][kind] for mode in MODES for kind in KINDS), equal)


def _table(rows: Iterable[Row], why: Mapping[str, str]) -> list[str]:
    lines = ["| case | exact | core | differs, and why |", "|---|---|---|---|"]
    for row in rows:
        shown = [_cell(row.verdicts[mode]) if mode in row.verdicts else "" for mode in MODES]
        cells = [row.golden.name, *shown, _notes(row, why)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(verdict: Verdict) -> str:
    if verdict.psnr is None:
        return verdict.kind
    kind = f"{verdict.kind} ({verdict.rule})" if verdict.rule else verdict.kind
    psnr = "equal" if verdict.psnr == float("inf") else f"{verdict.psnr:.1f} dB"
    return f"{kind}, {psnr}, {verdict.max_difference}"


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
