"""Regional Prompter: arguments, what becomes of the prompts, and how the picture is divided."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.translator.scripts.test_forge_couple import written
from tests.translator.scripts.test_img2img_scripts import nodes, sent
from translator import Translation, TranslationError, translate
from translator.scripts.regions.ratios import Order, RegionError, lay_out, region_keys
from translator.scripts.regions.texts import TextRules, cut, divides

NAMES = (
    *("active", "debug", "mode", "matrix", "mask_mode", "prompt_mode", "ratios", "base_ratios"),
    *("base", "common", "negative_common", "calculation", "options", "te", "unet", "threshold"),
    *("mask", "stop", "hires_stop", "flip"),
)
USUAL = (
    *(True, False, "Matrix", "Columns", "Mask", "Prompt", "1,1", "0.2", False, False, False),
    *("Attention", [], "0", "0", "0.4", None, "0", "0", False),
)


def made(prompt: str, fields: dict[str, Any] | None = None, **given: Any) -> Translation:
    args = list({**dict(zip(NAMES, USUAL, strict=True)), **given}.values())
    request = {"prompt": prompt, "seed": 1, "steps": 4, "width": 512, "height": 256}
    scripts = {"Regional Prompter": {"args": args}}
    return translate({**request, "alwayson_scripts": scripts, **(fields or {})})


def node(answer: Translation) -> dict[str, Any]:
    (found,) = nodes(answer, "A1111RegionalPrompter")
    return found


def texts(answer: Translation, name: str = "texts") -> list[str]:
    """The texts that are counted."""
    return [written(text).strip() for text in json.loads(node(answer)[name])]


def encoded(answer: Translation, kind: str = "positive") -> list[str]:
    """What reaches the text encoder, an entry for each part between ANDs."""
    link = nodes(answer, "A1111Guider")[0][kind]
    parts = json.loads(answer.graph[link[0]]["inputs"]["prompt"])["parts"]
    return [written(part["schedule"]).strip() for part in parts]


# --- prompts -------------------------------------------------------------------------------------

PLAIN = TextRules("Attention", base=False, common=False, negative_common=False)


def rules(**changed: Any) -> TextRules:
    return TextRules(**{**PLAIN.__dict__, **changed})


@pytest.mark.parametrize(
    ("prompt", "changed", "positive", "pieces"),
    [
        ("a BREAK b", {}, "a BREAK b", ["a ", " b"]),
        ("a ADDCOL b ADDROW c", {}, "a BREAK b BREAK c", ["a ", " b ", " c"]),
        ("a AND b", {}, "a BREAK b", ["a ", " b"]),
        ("a AND b BREAK c", {"keeps_and": True}, "a AND b BREAK c", ["a AND b ", " c"]),
        ("a BREAK b BREAK ", {}, "a BREAK b BREAK  _", ["a ", " b ", "  _"]),
        ("a BREAK ,", {}, "a BREAK , _", ["a ", " , _"]),
        (
            "x BREAK a BREAK b",
            {"common": True},
            "x ,  a  BREAK x ,  b",
            ["x ,  a  ", " x ,  b"],
        ),
        ("x ADDCOMM a BREAK b", {}, "x ,  a  BREAK x ,  b", ["x ,  a  ", " x ,  b"]),
        (
            "x ADDCOMM a BREAK b",
            {"flips": True},
            "x ,  b BREAK x ,  a ",
            ["x ,  b ", " x ,  a "],
        ),
        ("a BREAK b", {"flips": True}, "a BREAK b", ["a ", " b"]),
        (
            "a BREAK b ADDCOL c",
            {"keeps_break": True},
            "a BREAK b BREAK c",
            ["a BREAK b ", " c"],
        ),
        ("a BREAK b", {"calculation": "Latent"}, "a AND b", ["a ", " b"]),
        ("a # no\nBREAK b #x", {"comments": True}, "a\nBREAK b", ["a\n", " b"]),
        ("HAND ADDCOL b", {}, "HBREAK BREAK b", ["H", " ", " b"]),
    ],
)
def test_what_a1111_encodes(
    prompt: str, changed: dict[str, Any], positive: str, pieces: list[str]
) -> None:
    found = cut(prompt, "", rules(**changed), "1,1", Order(columns=False))
    assert found.positive == positive
    assert list(found.texts) == pieces


def test_the_negative_prompt_is_divided_too() -> None:
    found = cut("a BREAK b", "n BREAK x AND y", rules(negative_common=True), "1,1", None)
    assert found.negative == "n ,  x  BREAK n ,  y"
    latent = cut("a BREAK b", "x BREAK y", rules(calculation="Latent"), "1,1", None)
    assert latent.negative == "x AND y"


@pytest.mark.parametrize(
    ("prompt", "acts"),
    [("a cat", False), ("a BREAK b", True), ("a AND b", True), ("ADDPART", True), ("add", False)],
)
def test_it_acts_on_prompts_with_a_key(prompt: str, acts: bool) -> None:
    assert divides(prompt) is acts


def test_a_base_and_a_common_prompt_come_first() -> None:
    found = cut("x BREAK y BREAK a BREAK b", "", rules(base=True, common=True), "1,1", ROWS)
    assert found.base
    assert list(found.texts) == ["x ,  y  ", " x ,  a  ", " x ,  b"]
    assert found.keyed == " a ADDCOL b"
    assert cut("y ADDBASE a BREAK b", "", PLAIN, "1,1", ROWS).base


# --- layout --------------------------------------------------------------------------------------

ROWS, COLUMNS = Order(columns=False), Order(columns=True)


@pytest.mark.parametrize(
    ("ratios", "order", "wanted"),
    [
        ("1,1,1", ROWS, ["ADDCOL"] * 2),
        ("1,1,1", COLUMNS, ["ADDROW"] * 2),
        ("1,1,1;1,1", ROWS, ["ADDCOL", "ADDROW"]),
        ("1,2;1,1;3", ROWS, ["ADDROW", "ADDROW"]),
        ("1;2,1;1", COLUMNS, ["ADDCOL"]),
        ("1", ROWS, []),
    ],
)
def test_breaks_become_the_keys_of_the_ratios(ratios: str, order: Order, wanted: list[str]) -> None:
    assert region_keys(ratios, order, base=False, common=False) == wanted
    assert region_keys(ratios, order, base=True, common=True) == ["ADDCOMM", "ADDBASE", *wanted]


def laid(prompt: str, ratios: str, order: Order = ROWS, base: str = "0.2") -> Any:
    """Ends of the lines, and of each line its cells' ends, base shares and texts."""
    lines = lay_out(prompt, ratios, base, order, base=False)
    assert all(line.cells[0].start == 0 for line in lines) and lines[0].start == 0
    return [
        (
            round(line.end, 4),
            [(round(cell.end, 4), cell.base, cell.text) for cell in line.cells],
        )
        for line in lines
    ]


@pytest.mark.parametrize(
    ("prompt", "ratios", "order", "wanted"),
    [
        ("a ADDCOL b", "1,3", ROWS, [(1, [(0.25, 0.2, 0), (1, 0.2, 1)])]),
        ("a ADDROW b", "1,3", COLUMNS, [(1, [(0.25, 0.2, 0), (1, 0.2, 1)])]),
        ("a ADDROW b", "1,3", ROWS, [(0.25, [(1, 0.2, 0)]), (1, [(1, 0.2, 1)])]),
        (
            "a ADDCOL b ADDROW c ADDCOL d ADDCOL e",
            "1,1,3;3,2,1,1",
            ROWS,
            [
                (0.25, [(0.25, 0.2, 0), (1, 0.2, 1)]),
                (1, [(0.5, 0.2, 2), (0.75, 0.2, 3), (1, 0.2, 4)]),
            ],
        ),
        (
            "a ADDCOL b ADDCOL c",
            "1,1",
            ROWS,
            [(1, [(0.3333, 0.2, 0), (0.6667, 0.2, 1), (1, 0.2, 2)])],
        ),
        ("a ADDCOL b", "1,1,1", ROWS, [(1, [(0.5, 0.2, 0), (1, 0.2, 1)])]),
        (
            "a ADDCOL b BREAK more ADDCOL c",
            "2,1,1",
            ROWS,
            [(1, [(0.5, 0.2, 0), (0.75, 0.2, 1), (1, 0.2, 3)])],
        ),
        ("a ADDCOL b", "x,", ROWS, [(1, [(0.5, 0.2, 0), (1, 0.2, 1)])]),
    ],
)
def test_where_regions_lie(prompt: str, ratios: str, order: Order, wanted: Any) -> None:
    assert laid(prompt, ratios, order) == wanted


def test_base_ratios_are_spread_over_the_regions() -> None:
    prompt = "a ADDCOL b ADDROW c ADDCOL d"
    found = laid(prompt, "1,1,1;1,1,1", ROWS, "0.1,0.2;0.3")
    assert [[share for _, share, _ in cells] for _, cells in found] == [[0.1, 0.2], [0.3, 0.3]]
    assert laid("a ADDCOL b", "1,1", ROWS, "")[0][1][0][1] == 0


@pytest.mark.parametrize("ratios", ["0,0", "-1,2", "inf,1", "nan,1"])
def test_impossible_ratios(ratios: str) -> None:
    with pytest.raises(RegionError):
        lay_out("a ADDCOL b", ratios, "0", ROWS, base=False)


# --- graphs --------------------------------------------------------------------------------------


def test_columns_by_their_ratios() -> None:
    answer = made("a cat BREAK a dog", ratios="1,3")
    found = node(answer)
    assert (found["calculation"], found["division"], found["base"]) == ("Attention", "rows", False)
    assert json.loads(found["lines"]) == [[0.0, 1.0, [[0.0, 0.25, 0.2, 0], [0.25, 1.0, 0.2, 1]]]]
    assert texts(answer) == ["a cat", "a dog"] and texts(answer, "negative_texts") == [""]
    assert encoded(answer) == ["a catBREAKa dog"]
    said = answer.info["infotexts"][0]
    assert "a cat BREAK a dog" in said
    assert 'RP Ratios: "1,3"' in said and "RP Options: No Options" in said
    assert answer.info["prompt"] == "a cat BREAK a dog"


def test_the_infotext_has_the_extensions_order() -> None:
    said = made("a BREAK b", options="Flip prompts,nonsense", flip=True).info["infotexts"][0]
    keys = [part.partition(":")[0] for part in said.split(", ") if part.startswith("RP ")]
    assert keys == [
        *("RP Active", "RP Divide mode", "RP Matrix submode", "RP Mask submode"),
        *("RP Prompt submode", "RP Calc Mode", "RP Ratios", "RP Base Ratios", "RP Use Base"),
        *("RP Use Common", "RP Use Ncommon", "RP Options", "RP LoRA Neg Te Ratios"),
        *("RP LoRA Neg U Ratios", "RP threshold", "RP LoRA Stop Step"),
        *("RP LoRA Hires Stop Step", "RP Flip"),
    ]
    assert "RP Options: Flip prompts" in said


def test_base_common_and_negative_texts() -> None:
    answer = made(
        "best ADDCOMM a field ADDBASE sky ADDROW ground",
        {"negative_prompt": "bad BREAK blurred BREAK dull"},
        matrix="Rows",
        base_ratios="0.25",
    )
    assert texts(answer) == ["best ,  a field", "best ,  sky", "best ,  ground"]
    assert texts(answer, "negative_texts") == ["bad", "blurred", "dull"]
    found = node(answer)
    assert found["base"] and found["division"] == "columns"
    assert json.loads(found["lines"])[0][2] == [[0.0, 0.5, 0.25, 1], [0.5, 1.0, 0.25, 2]]


def test_flip_swaps_the_ratios() -> None:
    plain = node(made("a ADDCOL b ADDROW c", ratios="1,1,2;2,1"))
    flipped = node(made("a ADDCOL b ADDROW c", ratios="1;1;2,2;1", flip=True))
    assert flipped["lines"] == plain["lines"]


def test_a_prompt_that_is_not_divided_is_left_alone() -> None:
    answer = made("a cat")
    assert not nodes(answer, "A1111RegionalPrompter")
    assert "RP Active" not in answer.info["infotexts"][0]


def test_edits_are_counted_by_their_first_text() -> None:
    answer = made("[a cat:a very long dog:0.5] <lora:x:1> BREAK b", {"override_settings": {}})
    assert texts(answer) == ["a cat", "b"]
    assert len(nodes(answer, "LoraLoader")) == 1


def test_a_lora_in_the_common_prompt_acts_once_a_region() -> None:
    """A1111 reads the tags of the prompt that the extension made, and applies each of them."""
    answer = made("<lora:x:0.5> ADDCOMM a BREAK b BREAK c")
    assert len(nodes(answer, "LoraLoader")) == 3


def test_the_hires_pass_has_the_same_prompts() -> None:
    hires = {"enable_hr": True, "hr_upscaler": "Latent", "denoising_strength": 0.5}
    answer = made("a BREAK b", {**hires, "hr_prompt": "c"})
    assert len(nodes(answer, "A1111RegionalPrompter")) == 1, "both passes share it"
    assert "Hires prompt" not in answer.info["infotexts"][0]
    assert any("Regional Prompter gives both passes" in item.message for item in answer.warnings)
    for option, divisions in (
        ("Disabled in Hires Fix", ["rows", "whole"]),
        ("Enabled only in Hires Fix", ["whole", "rows"]),
    ):
        off = made("a BREAK b", hires, options=[option])
        found = nodes(off, "A1111RegionalPrompter")
        assert [item["division"] for item in found] == divisions


@pytest.mark.parametrize(("sampler", "swaps"), [("DDIM", True), ("UniPC", True), ("Euler", None)])
def test_samplers_whose_batch_the_extension_takes_the_other_way(
    sampler: str, swaps: bool | None
) -> None:
    assert node(made("a BREAK b", {"sampler_name": sampler})).get("swaps") is swaps


# --- masks ---------------------------------------------------------------------------------------


def test_a_mask_is_loaded_and_divides() -> None:
    answer = made("a BREAK b", mode="Mask", mask=sent(64, 64), base=True, base_ratios="0.3")
    with pytest.raises(TranslationError):
        made("a BREAK b", mode="Mask", mask="mask.png")
    found = node(answer)
    assert found["division"] == "mask" and json.loads(found["base_shares"]) == [0.3]
    assert json.loads(found["lines"]) == []
    assert answer.graph[found["mask"][0]]["inputs"]["image"] == answer.uploads[0].name
    assert texts(answer) == ["a", "b"]
    assert "RP Divide mode: Mask" in answer.info["infotexts"][0]


# --- latent --------------------------------------------------------------------------------------


def test_latent_has_a_part_for_each_region() -> None:
    answer = made("x ADDBASE a BREAK b :1.5", {"negative_prompt": "n"}, calculation="Latent")
    assert encoded(answer) == ["x", "a", "b"]
    found = node(answer)
    assert found["calculation"] == "Latent" and "clip" not in found and "texts" not in found
    assert json.loads(found["lines"])[0][2] == [[0.0, 0.5, 0.2, 1], [0.5, 1.0, 0.2, 2]]
    link = nodes(answer, "A1111Guider")[0]["positive"]
    parts = json.loads(answer.graph[link[0]]["inputs"]["prompt"])["parts"]
    assert [part["weight"] for part in parts] == [1.0, 1.0, 1.5]


def _loras(answer: Translation, clip: list[Any]) -> dict[str, tuple[float, float]]:
    """The LoRAs that a text encoder has, on UNet and on itself."""
    found, source = {}, answer.graph[clip[0]]
    while source["class_type"] == "LoraLoader":
        inputs = source["inputs"]
        found[inputs["lora_name"]] = (inputs["strength_model"], inputs["strength_clip"])
        source = answer.graph[inputs["clip"][0]]
    return found


def _hooks(answer: Translation, link: list[Any]) -> dict[str, float]:
    inputs = answer.graph[link[0]]["inputs"]
    if "lora_name" in inputs:
        return {inputs["lora_name"]: inputs["strength_model"]}
    if "hooks" in inputs:
        return _hooks(answer, inputs["hooks"])
    return _hooks(answer, inputs["hooks_A"]) | _hooks(answer, inputs["hooks_B"])


def parts(answer: Translation) -> list[tuple[str, dict[str, Any], dict[str, float]]]:
    """Text, LoRAs of the text encoder and LoRAs of the UNet: of each part and the negative."""
    guider = nodes(answer, "A1111Guider")[0]
    joined = answer.graph[guider["positive"][0]]["inputs"]
    links = [joined["part"], *(joined[f"part_{n}"] for n in range(1, len(joined)))]
    found = []
    for link in (*links, guider["negative"]):
        inputs = answer.graph[link[0]]["inputs"]
        hooks: dict[str, float] = {}
        if "cond_NEW" in inputs:
            hooks = _hooks(answer, inputs["hooks"])
            inputs = answer.graph[inputs["cond_NEW"][0]]["inputs"]
        text = written(json.loads(inputs["prompt"])["parts"][0]["schedule"]).strip()
        found.append((text, _loras(answer, inputs["clip"]), hooks))
    return found


def test_in_latent_a_lora_acts_in_the_texts_that_name_it() -> None:
    prompt = "a <lora:x:0.5> BREAK b <lora:y:0.8:unet=0.6> BREAK c"
    answer = made(prompt, {"negative_prompt": "n"}, calculation="Latent", ratios="1,1,1")
    assert parts(answer) == [
        ("a", {"x.safetensors": (0.0, 0.5)}, {"x.safetensors": 0.5}),
        ("b", {"y.safetensors": (0.0, 0.6)}, {"y.safetensors": 0.6}),
        ("c", {}, {}),
        ("n", {}, {}),
    ]


def test_in_latent_a_lora_named_twice_counts_twice() -> None:
    answer = made("a <lora:x:0.5> BREAK b <lora:x:0.25>", calculation="Latent")
    assert [hooks for _, _, hooks in parts(answer)] == [
        {"x.safetensors": 1.0},
        {"x.safetensors": 0.5},
        {},
    ]


def test_in_latent_the_negative_prompt_has_shares_of_the_loras() -> None:
    prompt = "a <lora:x:0.5> BREAK b <lora:y:0.8>"
    answer = made(prompt, calculation="Latent", te="0.5,1", unet="1")
    assert parts(answer)[-1] == (
        "",
        {"x.safetensors": (0.0, 0.25), "y.safetensors": (0.0, 0.8)},
        {"x.safetensors": 0.5, "y.safetensors": 0.8},
    )


@pytest.mark.parametrize("lora", ["", "<lora:x:0.5>"])
def test_in_latent_a_key_within_a_word_is_refused(lora: str) -> None:
    """The extension divides there, A1111 does not, and both count differently then."""
    with pytest.raises(TranslationError, match="A1111 reads 2 parts between ANDs"):
        made(f"a HAND BREAK b {lora}", calculation="Latent", ratios="1,1,1")


def test_an_unknown_option_is_told_of() -> None:
    answer = made("a BREAK b", options=["Flip prompts", "Flip"])
    assert [item.path for item in answer.warnings if "no option" in item.message] == [
        "alwayson_scripts.Regional Prompter.args[12]"
    ]


def test_in_latent_loras_end_at_a_step() -> None:
    answer = made("a <lora:x:0.5> BREAK b", calculation="Latent", stop="3")
    frames = nodes(answer, "CreateHookKeyframe")
    assert [frame["strength_mult"] for frame in frames] == [1.0, 0.0]
    assert not nodes(made("a <lora:x:0.5> BREAK b", calculation="Latent"), "CreateHookKeyframe")


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "given", "said"),
    [
        ("a BREAK b", {"mode": "Prompt"}, "regions by the prompt's words"),
        ("a ADDP b", {}, "regions by prompt"),
        ("a BREAK b", {"mode": "Nope!"}, "is not Matrix or Mask"),
        ("a BREAK b", {"matrix": "Random"}, "without a seed"),
        ("a BREAK b", {"matrix": ["Columns"]}, "is not Columns or Rows"),
        ("a BREAK b", {"calculation": "Both"}, "is no mode"),
        ("a BREAK b", {"mode": "Mask"}, "needs a picture"),
        ("a BREAK b", {"mode": "Mask", "mask": "C:/mask.png"}, "base64"),
        ("a BREAK b", {"ratios": "0,0"}, "not all 0"),
        ("a BREAK b", {"ratios": "9" * 400 + ",1"}, "is no ratio"),
        ("a BREAK b", {"ratios": "1e308,1e308"}, "finite sum"),
        ("a BREAK b", {"ratios": [1, 1]}, "is not a text"),
        ("a BREAK b", {"stop": "later"}, "is no step"),
        ("a BREAK b", {"te": "inf"}, "a finite number"),
        ("a BREAK b", {"unet": "0,nan", "calculation": "Latent"}, "a finite number"),
        ("a BREAK b", {"options": {"Flip prompts": True}}, "not a list of options"),
        (
            "a AND b BREAK c",
            {"options": ["disable convert 'AND' to 'BREAK'"]},
            "regions in attention need BREAK alone",
        ),
        ("a ADDCOL b BREAK c BREAK d", {"calculation": "Latent"}, "4 texts"),
        (" BREAK ".join("x" * 40), {}, "more than 32 regions"),
        ("x" * 9000 + "BREAK" * 9000, {"common": True}, "more than 32 regions"),
    ],
)
def test_what_cannot_be_done_is_refused(prompt: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(TranslationError) as error:
        made(prompt, **given)
    assert said in str(error.value)


def test_a_negative_prompt_of_too_few_texts_is_refused() -> None:
    with pytest.raises(TranslationError, match="has 2 texts"):
        made("a BREAK b BREAK c", {"negative_prompt": "x BREAK y"}, ratios="1,1,1")


def test_it_needs_our_node_pack() -> None:
    request = {"prompt": "a BREAK b", "alwayson_scripts": {"Regional Prompter": {"args": [True]}}}
    with pytest.raises(TranslationError, match="needs our node pack"):
        translate(request, options={"fidelity": "core"})


def test_a_loras_strength_beyond_a_nodes_range_is_bounded_where_that_is_asked_for() -> None:
    """The prompt, in which it stands, stays a text."""
    fields = {"unsupported": "warn"}
    request = {"prompt": "<lora:x:1e300> a BREAK b", "seed": 1, "steps": 4}
    args = [True, *USUAL[1:11], "Latent", *USUAL[12:]]
    made_ = translate(
        {**request, "alwayson_scripts": {"Regional Prompter": {"args": args}}}, options=fields
    )
    assert any("is not within -100" in text for text in made_.warning_texts)
    assert "a BREAK b" in made_.parameters["prompt"]


@pytest.mark.parametrize(
    ("calculation", "model", "warned"),
    [
        ("Attention", "ip-adapter_sd15", True),
        ("Latent", "ip-adapter_sd15", False),
        ("Attention", "control_v11p_sd15_canny", False),
    ],
)
def test_an_image_prompt_has_no_effect_beside_attention(
    calculation: str, model: str, warned: bool
) -> None:
    """Both hook the same layers of A1111's model; the one that hooks last does all."""
    module = "ip-adapter_clip_sd15" if "adapter" in model else "canny"
    unit = {"image": sent(64, 64), "module": module, "model": model}
    args = [*USUAL]
    args[NAMES.index("calculation")] = calculation
    scripts = {"Regional Prompter": {"args": args}, "ControlNet": {"args": [unit]}}
    answer = translate({"prompt": "a BREAK b", "seed": 1, "alwayson_scripts": scripts})
    told = [item for item in answer.warnings if "no effect beside Regional Prompter" in str(item)]
    assert bool(told) is warned
    assert all(item.path == "alwayson_scripts.controlnet.args[0]" for item in told)
