"""Time against length: every grammar reads a text in time that grows as the text does."""

from __future__ import annotations

import contextlib
import io
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from translator import Catalog, ModelFacts, Options, TranslationError, translate
from translator.options import Style
from translator.prompt import PromptError, attention, parse, parse_negative, strip_comments
from translator.report import Report
from translator.request.a1111_options import resolve_a1111_options
from translator.request.infotext import parse_infotext
from translator.request.styles import StylesError, apply_styles, read_styles
from translator.scripts.axes import AxisError, axes
from worker.errors import scrub
from worker.pictures.png_info import read_info

pytestmark = pytest.mark.slow

SHORT, LONG = 2_000, 16_000
OF_GENERATIONS = "prompts from a text"
"""A generation a line: a whole request each, so its texts are an eighth as long."""
SLOWEST_S = 0.5
"""For `LONG` characters; many generations may take ten times as long."""

_OPTIONS = resolve_a1111_options({}, None, Report())
_TOKENS = (
    *("a", "b c", " ", "\n", "\t", ",", "0.5", "5", ".", "1-5", "(+2)", "[3]", "-", "/", "\\"),
    *("(", ")", "[", "]", ":", "|", "<", ">", "<a:", "<lora:x:1>", ":1.1)", "(a", "[a:b:", "[a|"),
    *(" AND ", "BREAK", " BREAK ", "#", '"', '\\"', "ab: ", 'ab: "', "Steps: 20, ", "{prompt}"),
    *("\u3000", "é", "Negative prompt:", "x", "1e5", "--prompt ", "'", "/a", "(/a", "C:\\a\\"),
)
HOSTILE = (
    "x" + " " * 100,
    ":" + " " * 100,
    "<a:",
    "(a",
    "[a",
    "((",
    "(a)" * 5 + "[",
    "[a:b:1]",
    "a" * 100,
    "\\",
    '"a',
    "[SEP]",
    "{",
    "{a:",
    "BREAK",
)


def _prompt(text: str) -> None:
    for entry in parse(text, 20).parts[0].schedule:
        attention.__wrapped__(entry.text)
    parse_negative(text, 20, hires_steps=10)
    strip_comments(text)


def _axis_values(text: str) -> None:
    for axis in axes("txt2img")[1:8]:
        try:
            axis.values(text, None)
        except AxisError:
            continue


def _translate(payload: dict[str, Any]) -> None:
    translate(payload, options=Options(draw_seed=lambda: 1))


def _detailer(text: str) -> None:
    unit = {"ad_model": "face_yolov8n.pt", "ad_prompt": text}
    scripts = {"ADetailer": {"args": [True, False, unit]}, "Dynamic Prompts": {"args": [True]}}
    _translate({"prompt": "a", "alwayson_scripts": scripts})


def _regions(text: str) -> None:
    for title in ("Regional Prompter", "Forge Couple"):
        _translate({"prompt": text, "alwayson_scripts": {title: {"args": [True]}}})


def _lines(text: str) -> None:
    args = [False, False, "start", text or "a"]
    _translate({"script_name": "prompts from file or textbox", "script_args": args})


def _png_text(text: str) -> None:
    """What POST png-info reads of a picture."""
    chunks = PngInfo()
    chunks.add_text("parameters", text)
    out = io.BytesIO()
    Image.new("RGB", (1, 1)).save(out, "PNG", pnginfo=chunks)
    found, _ = read_info(out.getvalue())
    parse_infotext(found, _OPTIONS)


GRAMMARS: dict[str, Callable[[str], object]] = {
    "prompt": _prompt,
    "infotext": lambda text: parse_infotext(text, _OPTIONS),
    "infotext with parameters": lambda text: parse_infotext("a\nSteps: 20, " + text, _OPTIONS),
    "a PNG's text": _png_text,
    "styles": lambda text: read_styles("name,prompt,negative_prompt\n" + text),
    "style applied": lambda text: apply_styles(text, [Style(text, "").prompt]),
    "axis values": _axis_values,
    OF_GENERATIONS: _lines,
    "message": scrub,
    "request": lambda text: _translate({"prompt": text, "negative_prompt": text}),
    "ADetailer's prompt": _detailer,
    "prompts of regions": _regions,
}

_REFUSALS = (PromptError, AxisError, StylesError, TranslationError, ValueError)


def _seconds(read: Callable[[str], object], text: str) -> float:
    """The shortest of three runs, so that other work on the machine counts little."""
    times = []
    for _ in range(3):
        start = time.thread_time()
        with contextlib.suppress(_REFUSALS):
            read(text)
        times.append(time.thread_time() - start)
        if times[-1] < 0.01:
            break
    return min(times)


def _patterns(grammar: str) -> list[str]:
    draw = random.Random(f"patterns of {grammar}")
    return [*HOSTILE, *("".join(draw.choices(_TOKENS, k=draw.randint(1, 5))) for _ in range(40))]


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_time_grows_as_the_text_does(grammar: str) -> None:
    """Eight times the text takes at most about eight times as long: a square would take 64."""
    read = GRAMMARS[grammar]
    _seconds(read, "a")
    part = 8 if grammar == OF_GENERATIONS else 1
    for pattern in _patterns(grammar):
        short, long = ((pattern * size)[: size // part] for size in (SHORT, LONG))
        for text in (long, f"{long}x", f"x{long}:"):
            spent = _seconds(read, text)
            slowest = SLOWEST_S * (10 if grammar == OF_GENERATIONS else 1)
            assert spent < slowest, f"{spent:.2f} s for {pattern!r}"
            if spent > 0.05:
                assert spent < 24 * _seconds(read, short) + 0.05, repr(pattern)


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "".join(f"<lora:stile-{number}x:1>" for number in range(2000))},
        {"styles": [f"stile-{number}x" for number in range(2000)]},
        {
            "script_name": "prompts from file or textbox",
            "script_args": [
                False,
                False,
                "start",
                "\n".join(f"--sd_model stile-{number}x --prompt a" for number in range(300)),
            ],
        },
    ],
)
def test_unknown_names_by_the_thousand_are_told_at_once(fields: dict[str, Any]) -> None:
    names = tuple(f"style-{number}.safetensors" for number in range(3000))
    catalog = replace(Catalog.bundled(), open=False, folders={"checkpoints": names, "loras": names})
    styles = {f"style-{number}": Style("a", "b") for number in range(3000)}
    options = Options(default_checkpoint=names[0], styles=styles)
    start = time.thread_time()
    with pytest.raises(TranslationError) as refused:
        translate({"prompt": "a"} | fields, catalog=catalog, options=options)
    assert time.thread_time() - start < 4
    assert 'did you mean "style-0"?' in str(refused.value.problems[0])


def test_many_generations_of_a_server_with_many_models_are_planned_at_once() -> None:
    names = tuple(f"style-{number}.safetensors" for number in range(3000))
    folders = ("checkpoints", "loras", "vae", "embeddings")
    catalog = replace(
        Catalog.bundled(),
        open=False,
        folders=dict.fromkeys(folders, names),
        facts={
            (folder, name): ModelFacts(sha256=f"{number:064x}")
            for folder in folders
            for number, name in enumerate(names)
        },
    )
    lines = (f'--sd_model style-{n} --prompt "<lora:style-{n}:1> style-{n}"' for n in range(200))
    request = {
        "script_name": "prompts from file or textbox",
        "script_args": [False, False, "start", "\n".join(lines)],
    }
    options = Options(default_checkpoint=names[0])
    start = time.thread_time()
    translate(request, catalog=catalog, options=options)
    assert time.thread_time() - start < 4


def test_unknown_keys_by_the_thousand_are_refused_at_once() -> None:
    start = time.thread_time()
    with pytest.raises(TranslationError, match="200000 keys; at most 2000"):
        translate({f"steqs{number}": 1 for number in range(200_000)})
    with pytest.raises(TranslationError, match="200000 keys"):
        translate({"override_settings": {f"sd_vea{number}": 1 for number in range(200_000)}})
    assert len(translate({f"steqs{number}": 1 for number in range(1900)}).warnings) >= 1900
    assert time.thread_time() - start < 2


@pytest.mark.parametrize("fidelity", ["exact", "core"])
@pytest.mark.parametrize("text", ["a cat sits on a mat, ", "style-", "style "])
def test_many_embeddings_are_looked_for_at_once(
    text: str, fidelity: Literal["exact", "core"]
) -> None:
    names = [f"style-{number}.pt" for number in range(1000)]
    catalog = replace(
        Catalog.bundled(),
        open=False,
        folders={"checkpoints": ("v1-5-pruned-emaonly.safetensors",), "embeddings": tuple(names)},
        facts={("embeddings", name): ModelFacts(sha256="f" * 64) for name in names},
    )
    request = {"prompt": (text * 400)[:8000] + "[a|b|c]", "steps": 150}
    start = time.thread_time()
    translate(request, catalog=catalog, options=Options(fidelity=fidelity))
    assert time.thread_time() - start < 4
