"""A1111's prompt language, against its own parses."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.translator import goldens
from translator import prompt
from translator.prompt import (
    BREAK,
    Hypernetwork,
    Lora,
    Network,
    Part,
    PromptError,
    ScheduledText,
    parse,
    parse_negative,
)
from translator.request.styles import apply_styles, read_styles
from translator.schedules import samplers

PARSES = goldens.prompts()
PASSES = {
    case: golden
    for case, golden in goldens.passes().items()
    if golden["payload"].get("prompt") is not None
    and not golden["payload"].get("override_settings", {}).get("use_old_scheduling")
}


def scheduled(text: str, steps: int = 20, **options: Any) -> list[tuple[int, str]]:
    entries, _ = prompt.schedule(text, steps, **options)
    return [(entry.end, entry.text) for entry in entries]


# --- Against A1111 ------------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(len(PARSES)))
def test_parse_is_that_of_a1111(index: int) -> None:
    golden = PARSES[index]
    parsed = parse(
        golden["prompt"],
        golden["steps"],
        hires_steps=golden["hires_steps"],
        old_scheduling=golden["use_old_scheduling"],
    )
    networks: dict[str, list[list[str]]] = {}
    for network in parsed.networks:
        networks.setdefault(network.kind, []).append(list(network.items))
    assert networks == golden["networks"]
    assert parsed.text == golden["stripped"]
    assert [[part.text, part.weight] for part in parsed.parts] == golden["and"]
    assert [
        [[entry.end, entry.text] for entry in part.schedule] for part in parsed.parts
    ] == golden["schedules"]
    for text, pieces in golden.get("attention", {}).items():
        assert [list(piece) for piece in prompt.attention(text)] == pieces


@pytest.mark.parametrize("case", PASSES)
def test_schedules_are_laid_out_over_the_model_calls(case: str) -> None:
    golden = PASSES[case]
    payload = golden["payload"]
    sampler = samplers.find_sampler(golden["sampler"])
    assert sampler
    calls = sampler.total_steps(int(payload.get("steps", 50)))
    styles = read_styles(goldens.STYLES_CSV)
    names = [name for name in payload.get("styles") or () if name in styles]
    first = payload["prompt"][0] if isinstance(payload["prompt"], list) else payload["prompt"]
    positive = apply_styles(first, [styles[name].prompt for name in names])
    negative = apply_styles(
        payload.get("negative_prompt") or "", [styles[name].negative_prompt for name in names]
    )
    parts = parse(prompt.strip_comments(positive), calls).parts
    assert [[part.weight, [entry.end for entry in part.schedule]] for part in parts] == golden[
        "parts"
    ]
    (part,) = parse_negative(prompt.strip_comments(negative), calls).parts
    assert [entry.end for entry in part.schedule] == golden["negative"]


# --- Extra networks -----------------------------------------------------------------------------


def test_networks_leave_the_text_and_keep_their_items() -> None:
    parsed = parse("a <lora:x:0.5:unet=1> b <foo:1>c", 20)
    assert parsed.text == "a  b c"
    assert parsed.networks == (Network("lora", ("x", "0.5", "unet=1")), Network("foo", ("1",)))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("<lora:x>", [Lora("x", 1.0, 1.0)]),
        ("<lora:x:0.5>", [Lora("x", 0.5, 0.5)]),
        ("<lora:x:0.5:0.7:8>", [Lora("x", 0.5, 0.7, 8)]),
        ("<lora:x:te=0.2:unet=1:dyn=4>", [Lora("x", 0.2, 1.0, 4)]),
        ("<lora:x:0.5:te=0.2>", [Lora("x", 0.2, 0.2)]),
        ("<lora:te=0.2:x>", [Lora("x", 0.2, 0.2)]),
        ("<lora:a:-1><lyco:b:2>", [Lora("a", -1.0, -1.0), Lora("b", 2.0, 2.0)]),
        (
            "<lyco:a><lora:b><lyco:c>",
            [Lora("a", 1.0, 1.0), Lora("c", 1.0, 1.0), Lora("b", 1.0, 1.0)],
        ),
        ("<lora:x:0.5><lora:x:0.3>", [Lora("x", 0.3, 0.3), Lora("x", 0.3, 0.3)]),
        ("<hypernet:x:1><LORA:y>", []),
    ],
)
def test_loras(tags: str, expected: list[Lora]) -> None:
    assert list(parse(tags, 20).loras) == expected


@pytest.mark.parametrize("tag", ["<lora:x:strong>", "<lora:te=1>", "<lora:x:1:1:2.5>", "<lora:x:>"])
def test_a_tag_that_a1111_cannot_read_is_an_error(tag: str) -> None:
    with pytest.raises(PromptError, match=tag):
        _ = parse(tag, 20).loras


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("<lora:x:0,8>", "number; write 0.8$"),
        ("<lora:x:1:MIDD>", "written lbw=.*"),
        ("<lora:x:1:1,0,0,1>", "written lbw=.*"),
        ("<lora:https://a.b/x:1>", "is not a number$"),
    ],
)
def test_what_stands_for_a_strength_is_told(tag: str, said: str) -> None:
    with pytest.raises(PromptError, match=said):
        _ = parse(tag, 20).loras


def test_an_item_with_two_equals_signs_is_positional() -> None:
    assert Network("lora", ("x=y=z", "te=1")).positional == ("x=y=z",)


def test_hypernetworks() -> None:
    parsed = parse("<hypernet:x><hypernet:y:0.5>", 20)
    assert parsed.hypernetworks == (Hypernetwork("x", 1.0), Hypernetwork("y", 0.5))
    with pytest.raises(PromptError):
        _ = parse("<hypernet:x:y>", 20).hypernetworks


# --- Comments, AND, negatives -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("a # comment", "a \n"),
        ("a\n# c\nb", "a\nb"),
        ("# c\nb", "\nb"),
        ("a # x\nb # y", "a \nb \n"),
        ("plain", "plain"),
        (r"a \# b", "a \\\n"),
    ],
)
def test_comments(text: str, stripped: str) -> None:
    assert prompt.strip_comments(text) == stripped


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a AND b", [("a", 1.0), (" b", 1.0)]),
        ("a :1.5 AND b:-.5 ", [("a", 1.5), (" b", -0.5)]),
        ("a\nb:2. AND", [("a\nb", 2.0), ("", 1.0)]),
        ("BRAND ANDY a and b", [("BRAND ANDY a and b", 1.0)]),
        ("a:1e5", [("a:1e5", 1.0)]),
        ("a: 1:2", [("a: 1", 2.0)]),
        ("a \u2003", [("a", 1.0)]),
    ],
)
def test_and(text: str, parts: list[tuple[str, float]]) -> None:
    assert prompt.split_and(text) == parts


def test_negative_prompts_know_schedules_but_no_and_and_no_networks() -> None:
    parsed = parse_negative("a AND [b:c:2] :0.5 <lora:x>", 4)
    assert parsed.networks == ()
    (part,) = parsed.parts
    assert part.weight == 1.0
    assert [entry.text for entry in part.schedule] == [
        "a AND b :0.5 <lora:x>",
        "a AND c :0.5 <lora:x>",
    ]


# --- Editing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a:b:5]", [(5, "a"), (20, "b")]),
        ("[b:0.25]", [(5, ""), (20, "b")]),
        ("[a::.5]", [(10, "a"), (20, "")]),
        ("[a:b:1e1]", [(10, "a"), (20, "b")]),
        ("[a:b:-3]", [(20, "b")]),
        ("[a:b:0]", [(20, "b")]),
        ("[a:b: +5\t]", [(5, "a"), (20, "b")]),
        ("([a:b:5]:1.2)", [(5, "(a:1.2)"), (20, "(b:1.2)")]),
        (r"[\[a\]:b\:c:5]", [(5, r"\[a\]"), (20, r"b\:c")]),
        ("[a:b:5", [(20, "[a:b:5")]),
        ("x) [a:b:5]", [(5, "x) a"), (20, "x) b")]),
        ("[a:b:c:5]", [(20, "[a:b:c:5]")]),
        ("[a:b:5|c]", [(20, "[a:b:5|c]")]),
        ("[a:b:5]\\", [(20, "[a:b:5]\\")]),
        ("no groups at all", [(20, "no groups at all")]),
    ],
)
def test_edits(text: str, expected: list[tuple[int, str]]) -> None:
    assert scheduled(text) == expected


def test_alternation_changes_with_every_call() -> None:
    assert scheduled("[a|b|]", 4) == [(1, "a"), (2, "b"), (3, ""), (4, "a")]


def test_alternation_within_an_edit() -> None:
    assert scheduled("[[a|b]:c:2]", 4) == [(1, "a"), (2, "b"), (3, "c"), (4, "c")]


def test_hires_counts_shares_from_one_and_steps_from_the_first_pass() -> None:
    assert scheduled("[a:b:1.5]", 10, hires_steps=6) == [(3, "a"), (6, "b")]
    assert scheduled("[a:b:12]", 10, hires_steps=6) == [(2, "a"), (6, "b")]
    assert scheduled("[a:b:0.5]", 10, hires_steps=6) == [(6, "b")]
    assert scheduled("[a:b:0.5]", 10, hires_steps=6, old_scheduling=True) == [(5, "a"), (10, "b")]


def test_old_scheduling_takes_numbers_below_one_for_shares() -> None:
    assert scheduled("[a:b:1.5]", 10, old_scheduling=True) == [(1, "a"), (10, "b")]
    assert scheduled("[a:b:.3]", 10, old_scheduling=True) == [(3, "a"), (10, "b")]


@pytest.mark.parametrize(
    ("text", "ambiguous"),
    [
        ("[a:b:5]]", True),
        ("[a:b:5]: c", True),
        ("x:[a:b:5]:y", True),
        ("([a:b:5])]", True),
        ("[a:b:5](c)]", True),
        ("[a:b:5](c) ]", False),
        ("[a:b:5] ]", False),
        ("[a:b:5]", False),
        ("([a:b:5])", False),
        ("[[a:b:5]|c]]", False),
        ("[a|b]]", False),
        ("(a)]", False),
    ],
)
def test_edits_before_a_stray_mark_are_ambiguous(text: str, ambiguous: bool) -> None:
    """As seen by running A1111's grammar with other hash seeds."""
    assert parse(text, 20).ambiguous is ambiguous


def test_a_number_too_large_is_an_error_as_in_a1111() -> None:
    with pytest.raises(PromptError, match="too large"):
        scheduled("[a:b:1e999]")


def test_groups_nested_too_deep_are_an_error_and_not_a_crash() -> None:
    with pytest.raises(PromptError, match="brackets are open"):
        scheduled("[" * 5000 + "a" + ":b:5]" * 5000)


@given(st.text(alphabet="ab [](){}:|\\.5,\n", max_size=60), st.integers(1, 30))
def test_any_text_has_a_schedule_that_ends_with_the_steps(text: str, steps: int) -> None:
    entries = scheduled(text, steps)
    ends = [end for end, _ in entries]
    assert ends == sorted(set(ends))
    assert ends[-1] == steps
    assert min(ends) >= 1


# --- Attention ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", [("", 1.0)]),
        ("(a) [b]", [("a", 1.1), (" ", 1.0), ("b", 1 / 1.1)]),
        ("(a (b:2):0.5)", [("a ", 0.5), ("b", 1.0)]),
        ("[a:2]", [("a:2", 1 / 1.1)]),
        ("(a", [("a", 1.1)]),
        ("a)", [("a)", 1.0)]),
        ("(a: -1.5 )", [("a", -1.5)]),
        (r"\(a\) \x \\", [(r"(a) x " + "\\", 1.0)]),
        ("a BREAK b", [("a", 1.0), BREAK, ("b", 1.0)]),
        ("aBREAK b", [("aBREAK b", 1.0)]),
        ("(a BREAK b)", [("a", 1.1), ("BREAK", -1.1), ("b", 1.1)]),
        (":1.2)", [(":1.2)", 1.0)]),
    ],
)
def test_attention(text: str, pieces: list[prompt.Piece]) -> None:
    assert list(prompt.attention(text)) == pieces


def test_a_weight_that_is_no_number_is_an_error_as_in_a1111() -> None:
    with pytest.raises(PromptError, match=r"1\.2\.3"):
        prompt.attention("(a:1.2.3)")


def test_emphasis_none_is_the_literal_text() -> None:
    assert prompt.encode_pieces("(a:2) BREAK", "None") == (("(a:2) BREAK", 1.0),)
    assert prompt.encode_pieces("(a:2)", "Ignore") == (("a", 2.0),)


def test_node_input() -> None:
    part = Part("[a:(b):1]", 0.5, (ScheduledText(1, "a"), ScheduledText(4, "(b)")))
    assert prompt.node_input([part]) == {
        "parts": [{"weight": 0.5, "schedule": [[1, [["a", 1.0]]], [4, [["b", 1.1]]]]}]
    }


# --- Core ComfyUI's syntax ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("a (b) [c]", ["a (b:1.1) (c:0.909091)"]),
        (r"a \(b\)", [r"a \(b\)"]),
        ("a BREAK b", ["a", "b"]),
        ("", [""]),
        ("a,MyEmb, (myemb-2:1.2)", ["a, embedding:myEmb , ( embedding:myemb-2 :1.2)"]),
        ("myembed", ["myembed"]),
        ("m\u0079emb, \u017fmyemb", [" embedding:myEmb , \u017fmyemb"]),
    ],
)
def test_comfy_texts(text: str, texts: list[str]) -> None:
    names = prompt.EmbeddingNames(["myEmb", "myemb-2"])
    assert prompt.comfy_texts(prompt.attention(text), names) == texts


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a zeta, STYLE", ["zeta", "style"]),
        ("style-2 style", ["style-2", "style"]),
        ("style-", ["style"]),
        ("style2, my_zeta", ["style", "zeta"]),  # the tokenizer cuts there
        ("styles mystyle", []),
        ("two   words", ["two words"]),
        ("\u017ftyle", []),
    ],
)
def test_embeddings_are_found_by_the_words_of_clips_tokenizer(text: str, names: list[str]) -> None:
    known = prompt.EmbeddingNames(["style", "zeta", "style-2", "two words", " "])
    assert [name for _, _, name in known.found(text)] == names


def test_comfy_texts_read_back_with_comfyuis_weights() -> None:
    assert prompt.comfy_texts((("x", 1.0), ("y:z", 0.5)))[0] == "x(y:z:0.5)"


# --- Speed --------------------------------------------------------------------------------------


def test_a_long_prompt_parses_in_a_fraction_of_a_millisecond() -> None:
    text = "(masterpiece:1.2), [cat:dog:0.4], (a [b] c), photo, \\(x\\), " * 6 + "<lora:x:0.5>"

    def run() -> float:
        prompt.attention.cache_clear()
        begin = time.perf_counter()
        for part in parse(text, 20).parts:
            for entry in part.schedule:
                prompt.attention(entry.text)
        return time.perf_counter() - begin

    assert min(run() for _ in range(20)) < 1e-3


# --- Bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(" * 201, "brackets are open"),
        (f"(a:{'9' * 400})", "too large"),
        ("((a:" + "9" * 200 + "):" + "9" * 200 + ")", "multiply to more"),
        (f"a AND b :{'9' * 400}", "too large"),
        ("[a|b]" + "c" * 200_000, "together at most"),
    ],
)
def test_beyond_the_bounds_is_an_error(text: str, said: str) -> None:
    with pytest.raises(PromptError, match=said):
        for part in parse(text, 20).parts:
            prompt.attention(part.schedule[0].text)


def test_two_hundred_open_brackets_are_read_as_a1111_reads_them() -> None:
    ((_, weight),) = prompt.attention("(" * 200 + "a")
    assert weight == pytest.approx(1.1**200)


def test_a_network_without_a_finite_strength_is_an_error() -> None:
    with pytest.raises(PromptError, match="finite"):
        _ = parse("<lora:a:1e999>", 20).loras
