"""Dynamic Prompts: what its library draws by the images' seeds, a generation a prompt, bounded."""

from __future__ import annotations

import time
from typing import Any

import pytest
from dynamicprompts.generators import CombinatorialPromptGenerator, RandomPromptGenerator
from dynamicprompts.wildcards import WildcardManager

from tests.translator.scripts.test_img2img_scripts import sent
from translator import Options, Translation, TranslationError, translate
from translator.options import Style

WILDCARDS: dict[str, list[str | tuple[str, float]]] = {
    "color": ["red", "green", "blue"],
    "animals/cat": ["tabby", "siamese"],
    "nested": ["a {big|small} __color__ box", "nothing"],
    "weighted": [("often", 9.0), "seldom"],
}
TITLE = "Dynamic Prompts v2.17.1"
NAMES = (
    *("enabled", "combinatorial", "batches", "magic", "lucky", "attention", "min", "max"),
    *("length", "temperature", "fixed", "unlink", "no_negative", "jinja", "no_image", "most"),
    *("model", "blocklist"),
)
USUAL = (
    *(True, False, 1, False, False, False, 1.1, 1.5, 100, 0.7),
    *(False, False, True, False, False, 0, None, ""),
)


def args(**given: Any) -> list[Any]:
    """The script's arguments as its page sends them."""
    return list({**dict(zip(NAMES, USUAL, strict=True)), **given}.values())


def made(
    payload: dict[str, Any], arguments: list[Any] | None = None, **options: Any
) -> Translation:
    scripts = {TITLE: {"args": args() if arguments is None else arguments}}
    request = {"steps": 2, "width": 64, "height": 64, "seed": 5, "alwayson_scripts": scripts}
    return translate({**request, **payload}, options={"wildcards": WILDCARDS, **options})


def prompts(translation: Translation) -> list[str]:
    found: list[str] = translation.info["all_prompts"]
    return found


def manager() -> WildcardManager:
    plain = {name: [str(value) for value in values] for name, values in WILDCARDS.items()}
    return WildcardManager(root_map={"": [plain]})


@pytest.mark.parametrize(
    "template",
    [
        "a {red|green|blue} cat",
        "{2$$a|b|c} {1-3$$ and $$x|y|z}",
        "{0.2::rare|5::often} thing",
        "a __color__ __animals/*__",
        "__nested__, {__color__|__nested__}",
        "{2$$__color__}",
        "${c=!__color__} ${c} and ${c}",
        "${c={a|b}}${c} ${c} ${d:other}",
        "%{big ... thing$${red|blue}}",
        "{a|b} # a comment\n{c|d} // another",
        "{@a|b|c} {~x|y}",
    ],
)
@pytest.mark.parametrize("seed", [5, 0, 123456789])
def test_random_prompts_are_the_librarys_for_the_seeds(template: str, seed: int) -> None:
    """What the extension calls: a generator that is seeded for each image."""
    seeds = [seed, seed + 1, seed + 2, seed + 3]
    generator = RandomPromptGenerator(manager(), seed=seed)
    expected = generator.generate(template, 4, seeds=seeds)
    # A1111 itself takes out comments before the script sees the prompt
    answer = made(
        {"prompt": template, "seed": seed, "n_iter": 2, "batch_size": 2},
        a1111_options={"enable_prompt_comments": False},
    )
    assert prompts(answer) == expected
    assert answer.info["all_seeds"] == seeds and answer.info["batch_size"] == 2


@pytest.mark.parametrize(
    "template",
    ["{a|b} {c|d|e}", "__color__ {x|y}", "{2$$a|b|c}", "{1-2$$x|y} __nested__"],
)
@pytest.mark.parametrize("most", [0, 4])
def test_combinations_are_the_librarys(template: str, most: int) -> None:
    generator = CombinatorialPromptGenerator(manager())
    if "~" in template:  # drawn by the library's global source, which no seed reaches
        assert {
            prompt[-1] for prompt in prompts(made({"prompt": template}, args(combinatorial=True)))
        }
        return
    answer = made({"prompt": template, "n_iter": 7}, args(combinatorial=True, most=most))
    expected = generator.generate(template, most or None)
    assert prompts(answer) == expected
    assert answer.info["all_seeds"] == list(range(5, 5 + len(expected)))


def test_combinations_of_both_prompts_multiply() -> None:
    answer = made({"prompt": "{a|b}", "negative_prompt": "{x|y}"}, args(combinatorial=True))
    pairs = zip(prompts(answer), answer.info["all_negative_prompts"], strict=True)
    assert list(pairs) == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
    bounded = made(
        {"prompt": "{a|b|c}", "negative_prompt": "{x|y}"}, args(combinatorial=True, most=3)
    )
    assert bounded.info["all_negative_prompts"] == ["x", "y", "x"]


def test_batches_with_a_fixed_seed_have_a_seed_each() -> None:
    given = args(combinatorial=True, batches=2, fixed=True)
    answer = made({"prompt": "{a|b|c}"}, given)
    assert prompts(answer) == ["a", "b", "c"] * 2
    # an empty negative prompt is there once for each batch, and multiplies
    assert answer.info["all_seeds"][:3] == [5, 5, 5]


def test_a_fixed_seed_draws_one_prompt() -> None:
    answer = made({"prompt": "__color__ {a|b|c|d}", "n_iter": 4}, args(fixed=True))
    assert answer.info["all_seeds"] == [5] * 4 and len(set(prompts(answer))) == 1


def test_unlinked_prompts_are_drawn_by_a_seed_of_their_own() -> None:
    def of(seed: int) -> list[str]:
        request = {"prompt": "{a|b|c|d|e|f|g|h}", "n_iter": 6}
        return prompts(made(request, args(unlink=True), draw_seed=lambda: seed))

    generator = RandomPromptGenerator(manager())
    generator._context.rand.seed(77)
    assert of(77) == generator.generate("{a|b|c|d|e|f|g|h}", 6) != of(78)


def test_a_variation_seed_freezes_the_prompt() -> None:
    answer = made({"prompt": "__color__ {a|b|c}", "n_iter": 3, "subseed_strength": 0.2})
    expected = RandomPromptGenerator(manager(), seed=5).generate("__color__ {a|b|c}", 1)
    assert prompts(answer) == expected * 3
    assert answer.info["all_seeds"] == [5, 5, 5]


def test_styles_come_before_and_are_told_once() -> None:
    styles = {"oil": Style("oil painting of {prompt}, {dark|light}", "photo")}
    answer = made({"prompt": "a {cat|dog}", "styles": ["oil"]}, styles=styles)
    template = "oil painting of a {cat|dog}, {dark|light}"
    assert prompts(answer) == RandomPromptGenerator(manager(), seed=5).generate(
        template, 1, seeds=[5]
    )
    assert answer.info["styles"] == ["oil"]
    assert answer.info["all_negative_prompts"] == ["photo"]


def test_hires_prompts_follow_unless_they_are_others() -> None:
    hires = {"enable_hr": True, "hr_upscaler": "Latent", "denoising_strength": 0.5}
    same = made({"prompt": "{a|b}", **hires})
    assert "Hires prompt" not in same.info["infotexts"][0]
    other = made({"prompt": "{a|b}", "hr_prompt": "{c|d}", **hires})
    assert "Hires prompt: {c|d}" in other.info["infotexts"][0]


def test_without_a_template_the_batch_stays_one() -> None:
    answer = made({"prompt": "a plain prompt", "batch_size": 4})
    assert len(answer.plans) == 1 and answer.plans[0].batch_size == 4


def test_one_image_where_none_is_wanted() -> None:
    answer = made({"prompt": "{a|b|c}", "n_iter": 3}, args(no_image=True))
    assert len(answer.outputs) == 1 and len(prompts(answer)) == 1


def test_a_missing_wildcard_is_refused_or_stays_text() -> None:
    with pytest.raises(TranslationError, match=r'no wildcard "colour".*did you mean "color"'):
        made({"prompt": "__colour__"})
    answer = made({"prompt": "a __colour__"}, unsupported="warn")
    assert prompts(answer) == ["a __colour__"]


def test_a_template_that_cannot_be_read_stays_text() -> None:
    answer = made({"prompt": "a {cat|dog", "n_iter": 2})
    assert prompts(answer) == ["a {cat|dog"] * 2
    assert "stay text" in str(answer.warnings)


@pytest.mark.parametrize("name", ["magic", "lucky", "attention", "jinja"])
def test_what_needs_more_than_templates_is_refused(name: str) -> None:
    more = {"model": "Gustavosta/MagicPrompt"} if name == "magic" else {}
    with pytest.raises(TranslationError, match=r"v2\.17\.1\.args\[\d+\]"):
        made({"prompt": "a"}, args(**{name: True}, **more))


def _starts(answer: Translation) -> list[tuple[str, int]]:
    """Of each generation the picture that it starts from, and the seed of its encoding."""
    graph, found = answer.graph, []
    for node in graph.values():
        if node["class_type"] == "A1111VAEEncode":
            source = graph[node["inputs"]["pixels"][0]]
            while source["class_type"] != "LoadImage":
                source = graph[source["inputs"]["image"][0]]
            found.append((source["inputs"]["image"], node["inputs"]["seed"]))
    return found


@pytest.mark.parametrize("script", ["dynamic", "matrix"])
def test_every_image_starts_from_its_own_picture_encoded_as_in_one_generation(script: str) -> None:
    """A1111 encodes the pictures once, before it seeds anything."""
    payload = {"init_images": [sent(64, 64), sent(64, 65)], "batch_size": 2, "n_iter": 2}
    request = {"prompt": "a|b|c", "steps": 2, "width": 64, "height": 64, "seed": 5, **payload}
    if script == "matrix":
        more: dict[str, Any] = {
            "script_name": "Prompt matrix",
            "script_args": [False, False, "positive", "comma", 0],
        }
    else:
        more = {"prompt": "{a|b}", "alwayson_scripts": {TITLE: {"args": args()}}}
    answer = translate({**request, **more}, "/sdapi/v1/img2img")
    uploads = [upload.name for upload in answer.uploads]
    assert _starts(answer) == [(name, -1) for name in uploads] and len(uploads) == 2


@pytest.mark.parametrize(("batch_size", "told"), [(1, False), (4, True)])
def test_a_batch_of_different_loras_is_told_of(batch_size: int, told: bool) -> None:
    """A1111 takes those of a batch's first prompt for all of it."""
    payload = {"prompt": "{<lora:a:1>|<lora:b:1>} cat", "batch_size": batch_size, "n_iter": 2}
    answer = made(payload)
    assert any("whole batch" in warning for warning in answer.warning_texts) is told


def test_off_or_not_named_nothing_is_drawn() -> None:
    for arguments in ([False], args(enabled=False)):
        assert prompts(made({"prompt": "{a|b}"}, arguments)) == ["{a|b}"]
    assert prompts(translate({"prompt": "{a|b}"})) == ["{a|b}"]


LAUGHS = "${a={x|y}}" + "".join(
    f"${{{chr(98 + n)}=${{{chr(97 + n)}}}${{{chr(97 + n)}}}}}" for n in range(24)
)


@pytest.mark.parametrize(
    ("template", "arguments"),
    [
        (LAUGHS + "${y}", args()),
        ("{@2$$a|a}", args()),
        ("{3$$a|a|a|b}", args(combinatorial=True)),
        ("{30$$" + "|".join(map(str, range(60))) + "}", args(combinatorial=True)),
        (" ".join(["{a|b}"] * 40), args(combinatorial=True)),
        ("{" + "|".join(map(str, range(5000))) + "}", args()),
        ("{a|b} " * 2000, args()),
        (" ".join(["{a|b}"] * 120), args(combinatorial=True, most=100)),
    ],
)
def test_templates_that_stand_for_too_much_are_refused_in_time(
    template: str, arguments: list[Any]
) -> None:
    began = time.process_time()
    with pytest.raises(TranslationError, match=r"too much|different options|more than|at most"):
        made({"prompt": template}, arguments)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("template", ["__endless__", "{a|" * 200 + "b" + "}" * 200])
def test_what_never_ends_stays_text(template: str) -> None:
    """The extension fails on it, and A1111 goes on with the text."""
    began = time.process_time()
    answer = made({"prompt": template}, wildcards={"endless": ["__endless__ __endless__"]})
    assert prompts(answer) == [template] and "stay text" in str(answer.warnings)
    assert time.process_time() - began < 5


def test_beside_another_script_it_is_refused() -> None:
    request: dict[str, Any] = {"prompt": "{a|b}", "script_name": "Prompt matrix"}
    with pytest.raises(TranslationError, match="beside the script Prompt matrix"):
        made({**request, "script_args": [False, False, "positive", "comma", 0]})


LINES = {"script_name": "prompts from file or textbox"}


def test_beside_another_script_it_changes_nothing_without_templates() -> None:
    """A dump of the page names it, on, with every request."""
    matrix = {"script_name": "Prompt matrix", "prompt": "a|b"}
    matrix["script_args"] = [False, False, "positive", "comma", 0]
    assert made(matrix).graph == made(matrix, [False]).graph
    with pytest.raises(TranslationError, match="beside the script prompts from file"):
        made({**LINES, "prompt": "a", "script_args": [False, False, "start", "{b|c}"]})


def test_options_take_wildcards() -> None:
    assert Options(wildcards=WILDCARDS).wildcards["color"][0] == "red"
