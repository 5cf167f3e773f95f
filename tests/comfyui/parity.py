"""How near the answers come to a real A1111's: goldens through handler, translator and ComfyUI.

``make parity COMFYUI_DIR=... [GOLDENS=DIR] [OUT=DIR] [FAMILY=...]``. Writes each answer to
``OUT/FAMILY/NAME.json`` (``images``, ``info``, ``warnings``, or ``error``), once more with core
nodes to ``OUT/core``, and the comparison to ``OUT/parity.md`` (for the shared goldens also to
``docs/parity.md``).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import importlib
import io
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.comfyui import models
from tests.comfyui.server import REPO, Checkout, ComfyServer

SHARED = REPO.parent / "shared" / "goldens"
REASONS = Path(__file__).with_name("parity_reasons.json")
REPORT = REPO / "docs" / "parity.md"

TXT2IMG = "/sdapi/v1/txt2img"
EXACT_DB, NEAR_DB = 60.0, 45.0
_RANDOM_KEYS = ("job_timestamp",)

STYLES = """name,prompt,negative_prompt
cine,"cinematic film still of {prompt}, dramatic light","cartoon, drawing"
tail,"highly detailed, 8k",
negonly,,"ugly, deformed"
"""
"""The styles that the goldens' A1111 had."""


@dataclass(frozen=True)
class Golden:
    """One recorded case."""

    family: str
    name: str
    endpoint: str
    payload: Any
    status: int
    info: Mapping[str, Any]
    images: tuple[Path, ...]

    @property
    def label(self) -> str:
        return f"{self.family}/{self.name}"


@dataclass(frozen=True)
class Comparison:
    """An answer beside its golden.

    Attributes:
        psnr: of the worst image in dB; infinite where all are equal, None without images.
        worst: largest difference of a channel, of 255.
        verdict: ``exact``, ``near``, ``other``, ``refused`` (both refuse) or ``error``.
        info: the keys of ``info`` that differ.
        infotexts: whether every infotext is equal.
        message: the error, where there is one.
    """

    psnr: float | None
    worst: int | None
    verdict: str
    info: tuple[str, ...]
    infotexts: bool
    message: str = ""


def read_goldens(folder: Path, families: Iterable[str]) -> list[Golden]:
    """The txt2img cases of a folder of goldens."""
    wanted = set(families)
    cases = []
    for file in sorted(folder.glob("*/*.json")):
        case = json.loads(file.read_text("utf-8"))
        if case.get("endpoint") != TXT2IMG or (wanted and case["family"] not in wanted):
            continue
        images = tuple(file.parent / name for name in case.get("files", ()))
        cases.append(
            Golden(
                case["family"],
                case["name"],
                case["endpoint"],
                _with_inputs(case["payload"], folder / "inputs"),
                case["status"],
                case.get("info") if isinstance(case.get("info"), dict) else {},
                images,
            )
        )
    return cases


def _with_inputs(value: Any, inputs: Path) -> Any:
    """The payload with ``"@name.png"`` replaced by the picture's base64."""
    if isinstance(value, dict):
        return {key: _with_inputs(item, inputs) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_inputs(item, inputs) for item in value]
    if isinstance(value, str) and value.startswith("@"):
        return base64.b64encode((inputs / value[1:]).read_bytes()).decode()
    return value


def compare(golden: Golden, answer: Mapping[str, Any]) -> Comparison:
    """Compare an answer with its golden."""
    if "error" in answer:
        verdict = "refused" if golden.status != 200 else "error"
        return Comparison(None, None, verdict, (), True, str(answer["error"]))
    if golden.status != 200:
        return Comparison(None, None, "error", (), False, f"A1111 answers {golden.status}")
    info = json.loads(answer["info"])
    images = [_pixels(base64.b64decode(text)) for text in answer["images"]]
    wanted = [_pixels(path.read_bytes()) for path in golden.images]
    psnr, worst = _difference(images, wanted)
    return Comparison(
        psnr,
        worst,
        _verdict(psnr),
        tuple(key for key in golden.info if not _same_info(key, golden, info)),
        list(golden.info.get("infotexts", ())) == info.get("infotexts"),
    )


def _same_info(key: str, golden: Golden, info: Mapping[str, Any]) -> bool:
    """Whether a key of info agrees; drawn seeds and times only have to be there."""
    drawn = {"subseed", "all_subseeds"} if golden.payload.get("subseed", -1) == -1 else set()
    if golden.payload.get("seed", -1) == -1:
        drawn |= {"seed", "all_seeds", "infotexts"}
    if key in _RANDOM_KEYS or key in drawn:
        return key in info
    return golden.info[key] == info.get(key)


def _pixels(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.int32)


def _difference(
    images: Sequence[np.ndarray[Any, Any]], wanted: Sequence[np.ndarray[Any, Any]]
) -> tuple[float, int]:
    """PSNR of the worst pair and largest difference; 0 dB where counts or sizes differ."""
    if len(images) != len(wanted):
        return 0.0, 255
    psnr, worst = math.inf, 0
    for image, other in zip(images, wanted, strict=True):
        if image.shape != other.shape:
            return 0.0, 255
        error = float(np.mean((image - other) ** 2))
        worst = max(worst, int(np.abs(image - other).max()))
        psnr = min(psnr, math.inf if error == 0 else 10 * math.log10(255**2 / error))
    return psnr, worst


def _verdict(psnr: float) -> str:
    if psnr >= EXACT_DB:
        return "exact"
    return "near" if psnr >= NEAR_DB else "other"


def run_all(goldens: Sequence[Golden], out: Path, fidelity: str) -> dict[str, Comparison]:
    """Answer every case through the handler, and leave each answer below `out`."""
    handler = importlib.import_module("handler")
    found: dict[str, Comparison] = {}
    with asyncio.Runner() as runner:
        for number, golden in enumerate(goldens, 1):
            job = {
                "id": f"parity-{fidelity}-{number}",
                "input": {
                    "api": {"method": "POST", "endpoint": golden.endpoint},
                    "payload": golden.payload,
                    "options": {"unsupported": "warn", "fidelity": fidelity},
                },
            }
            answer = runner.run(handler.handler(job))
            _leave(golden, answer, out)
            found[golden.label] = compare(golden, answer)
            print(
                f"{number:4}/{len(goldens)} {fidelity} {golden.label}: {_line(found[golden.label])}"
            )
    return found


def _leave(golden: Golden, answer: Mapping[str, Any], out: Path) -> None:
    kept = {key: answer[key] for key in ("images", "info", "error") if key in answer}
    if "info" in kept:
        kept["info"] = json.loads(kept["info"])
    kept["warnings"] = answer.get("warnings", [])
    file = out / golden.family / f"{golden.name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(kept), "utf-8")


def _line(found: Comparison) -> str:
    if found.psnr is None:
        return f"{found.verdict} {found.message[:120]}".strip()
    infotext = "" if found.infotexts else ", infotext differs"
    info = f", info: {' '.join(found.info)}" if found.info else ""
    return f"{found.verdict} {_db(found.psnr)} max {found.worst}{infotext}{info}"


def _db(psnr: float | None) -> str:
    if psnr is None:
        return "-"
    return "equal" if math.isinf(psnr) else f"{psnr:.1f} dB"


def report(
    goldens: Sequence[Golden],
    exact: Mapping[str, Comparison],
    core: Mapping[str, Comparison],
    reasons: Mapping[str, str],
) -> str:
    """The comparison as Markdown."""
    lines = [
        "# Parity with A1111",
        "",
        "Written by `make parity`: recorded cases of a real A1111 v1.10.1 (CPU, small models of",
        "random weights) through handler, translator, node pack and a real ComfyUI on CPU. PSNR is",
        f"that of the worst image; exact is {EXACT_DB:g} dB and above, near {NEAR_DB:g} dB.",
        "*Refused*: A1111 fails on the request, and so do we, with a clear error. *Core* is the",
        "same without our node pack.",
        "",
        "| family | cases | exact | near | other | refused | error | infotexts | core: exact |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for family in dict.fromkeys(golden.family for golden in goldens):
        lines.append(_family_row(family, goldens, exact, core))
    lines.append(_family_row("all", goldens, exact, core))
    lines += ["", "| case | PSNR | max | class | infotext | info differs in | core | why |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for golden in goldens:
        found, plain = exact[golden.label], core.get(golden.label)
        why = reasons.get(golden.label, found.message.replace("\n", "; ").replace("|", "\\|"))
        lines.append(
            f"| {golden.label} | {_db(found.psnr)} | {'-' if found.worst is None else found.worst} "
            f"| {found.verdict} | {'equal' if found.infotexts else 'differs'} "
            f"| {' '.join(found.info)} | {_db(plain.psnr) if plain else '-'} | {why[:200]} |"
        )
    return "\n".join(lines) + "\n"


def _family_row(
    family: str,
    goldens: Sequence[Golden],
    exact: Mapping[str, Comparison],
    core: Mapping[str, Comparison],
) -> str:
    labels = [item.label for item in goldens if family in (item.family, "all")]
    verdicts = [exact[label].verdict for label in labels]
    counts = [verdicts.count(kind) for kind in ("exact", "near", "other", "refused", "error")]
    texts = sum(exact[label].infotexts for label in labels)
    plain = sum(core[label].verdict == "exact" for label in labels if label in core)
    cells = [family, len(labels), *counts, texts, plain]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comfyui", help="the checkout; COMFYUI_DIR without it")
    parser.add_argument("--goldens", type=Path, default=SHARED)
    parser.add_argument("--out", type=Path, default=REPO / "out" / "parity")
    parser.add_argument("--family", action="append", default=[], help="only these families")
    parser.add_argument("--exact-only", action="store_true", help="leave out the core-only run")
    arguments = parser.parse_args()
    if arguments.comfyui:
        os.environ["COMFYUI_DIR"] = arguments.comfyui
    checkout = Checkout.from_env()
    if checkout is None:
        parser.error("name a ComfyUI checkout: make parity COMFYUI_DIR=...")
    families = [name for item in arguments.family for name in item.split(",") if name]
    goldens = read_goldens(arguments.goldens, families)
    if not goldens:
        parser.error(f"no goldens of txt2img in {arguments.goldens}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    root = models.golden_models(checkout)
    with ComfyServer(checkout, models.CACHE / f"parity-{os.getpid()}", [root]) as server:
        _point_handler_at(server, root, arguments.out)
        exact = run_all(goldens, arguments.out, "exact")
        core = {} if arguments.exact_only else run_all(goldens, arguments.out / "core", "core")
        importlib.import_module("handler").service().close()
    text = report(goldens, exact, core, json.loads(REASONS.read_text("utf-8")))
    (arguments.out / "parity.md").write_text(text, "utf-8")
    if arguments.goldens == SHARED and not families and core:
        REPORT.write_text(text, "utf-8")
    print(text.split("| case |")[0])
    return 0


def _point_handler_at(server: ComfyServer, root: Path, out: Path) -> None:
    styles = out / "styles.csv"
    styles.write_text(STYLES, "utf-8")
    os.environ.update(
        COMFYUI_URL=server.url,
        MODEL_ROOTS=str(root),
        STYLES_FILE=str(styles),
        DEFAULT_CHECKPOINT="synth15.safetensors",
        RESULT_LIMIT_BYTES=str(10**9),
        LOG_LEVEL="error",
        PROGRESS_INTERVAL_S="0",
    )


if __name__ == "__main__":
    sys.exit(main())
