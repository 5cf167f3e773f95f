"""A1111TextEncode on a stand-in for ComfyUI's CLIP."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths.embeddings import Embedding  # noqa: E402
from custom_nodes.comfyui_a1111.nodes import text as text_nodes  # noqa: E402
from custom_nodes.comfyui_a1111.nodes.text import EncodeSettings  # noqa: E402

pytestmark = pytest.mark.torch

WORDS = {text_nodes.COMMA: 267, "(": 7, ")": 8, "red": 9, "cat": 10, "&": 11, "&amp;": 12}
WIDTHS = {"l": 768, "g": 1280, "h": 1024}


class FakeTokenizer:
    def __init__(self, name: str) -> None:
        self.embedding_size = WIDTHS[name]

    def tokenizer(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [WORDS[word] for word in text.split()]}


class FakeClip:
    """Records what it is asked to encode; z is the token ids, so slices can be told apart."""

    def __init__(self, *names: str, layer: int | None = None, log: list[Any] | None = None) -> None:
        self.names, self.layer = names, layer
        self.log: list[Any] = [] if log is None else log
        tokenizers = {f"clip_{name}": FakeTokenizer(name) for name in names}
        for tokenizer in tokenizers.values():
            tokenizer.tokenizer = Vocabulary(tokenizer.tokenizer)  # type: ignore[method-assign]
        self.tokenizer = SimpleNamespace(**tokenizers)

    def tokenize(self, text: str) -> dict[str, list[Any]]:
        return {name: [] for name in self.names}

    def clone(self) -> FakeClip:
        return FakeClip(*self.names, layer=self.layer, log=self.log)

    def clip_layer(self, layer: int) -> None:
        self.layer = layer

    def encode_from_tokens(self, tokens: dict[str, Any], return_dict: bool) -> dict[str, Any]:
        self.log.append((self.layer, tokens))
        marker = float(self.layer or 0)
        width = sum(WIDTHS[name] for name in self.names)
        cond = torch.full((1, 77 * len(tokens[self.names[0]]), width), 1.0 + marker)
        return {"cond": cond, "pooled_output": torch.full((1, 4), marker)}


class Vocabulary:
    """Callable like a tokenizer of transformers, with its vocabulary."""

    def __init__(self, call: Any) -> None:
        self.call = call

    def __call__(self, text: str, add_special_tokens: bool) -> Any:
        return self.call(text, add_special_tokens)

    def get_vocab(self) -> dict[str, int]:
        return WORDS


def prompt(*pieces: tuple[str, float]) -> str:
    return json.dumps({"parts": [{"weight": 1.0, "schedule": [[6, pieces]]}]})


@pytest.fixture
def encode(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(text_nodes, "embedding_folders", list)

    def run(clip: FakeClip, text: str, **options: Any) -> Any:
        settings = {
            "emphasis": "Original",
            "comma_padding_backtrack": 20,
            "clip_skip": 1,
            "zero_empty": False,
            **options,
        }
        return text_nodes.A1111TextEncode().encode(clip, text, **settings)[0]

    return run


@pytest.mark.parametrize(
    ("names", "settings", "layers"),
    [
        (("l",), EncodeSettings(clip_skip=1), [None]),
        (("l",), EncodeSettings(clip_skip=2), [-2]),
        (("h",), EncodeSettings(clip_skip=3), [None]),
        (("l", "g"), EncodeSettings(clip_skip=2), [None, None]),
        (("l", "g"), EncodeSettings(clip_skip=1, sdxl_clip_l_skip=True), [-1, None]),
        (("l", "g"), EncodeSettings(clip_skip=3, sdxl_clip_l_skip=True), [-3, None]),
        (("g",), EncodeSettings(clip_skip=3, sdxl_clip_l_skip=True), [None]),
    ],
)
def test_clip_skip_by_model(names: Any, settings: EncodeSettings, layers: list[Any]) -> None:
    assert [settings.layer_of(names, name) for name in names] == layers


def test_sdxl_clip_l_skip_takes_only_clip_l_from_the_other_layer(encode: Any) -> None:
    clip = FakeClip("l", "g")
    ((cond, tags),) = encode(clip, prompt(("cat", 1.0)), clip_skip=3, sdxl_clip_l_skip=True)
    assert sorted(layer or 0 for layer, _ in clip.log) == [-3, 0]
    assert (cond[..., :768] == -2).all() and (cond[..., 768:] == 1).all()
    assert tags["pooled_output"].max() == 0
    assert clip.layer is None


def test_clip_is_asked_with_unit_weights_and_a1111s_padding(encode: Any) -> None:
    clip = FakeClip("l", "g")
    encode(clip, prompt(("red ", 1.3), ("cat", 1.0)))
    ((_, tokens),) = clip.log
    for name, padding in (("l", 49407), ("g", 0)):
        (chunk,) = tokens[name]
        assert [token for token, _ in chunk] == [49406, 9, 10, 49407, *[padding] * 73]
        assert {weight for _, weight in chunk} == {1.0}


def test_openclip_resolves_html_entities(encode: Any) -> None:
    clip = FakeClip("l", "g")
    encode(clip, prompt(("&amp;", 1.0)))
    ((_, tokens),) = clip.log
    assert tokens["l"][0][1][0] == 12
    assert tokens["g"][0][1][0] == 11


def test_embedding_vectors_stand_where_the_name_was(
    encode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = {"l": torch.ones(2, 768), "g": torch.zeros(2, 1280)}
    wanted = []

    def find(folders: Any, width: int) -> list[Embedding]:
        wanted.append(width)
        return [Embedding("red cat", vectors)]

    monkeypatch.setattr(text_nodes.embeddings, "find_embeddings", find)
    clip = FakeClip("l", "g")
    encode(clip, prompt(("cat red cat", 1.0)))
    assert wanted == [2048]
    ((_, tokens),) = clip.log
    for name in "lg":
        chunk = [token for token, _ in tokens[name][0]]
        assert len(chunk) == 77 and chunk[:2] == [49406, 10] and chunk[4] == 49407
        assert all(torch.equal(chunk[2 + i], vectors[name][i]) for i in range(2))


def test_old_emphasis_reads_brackets_from_the_tokens(encode: Any) -> None:
    clip = FakeClip("l")
    encode(clip, prompt(("( red ) cat", 1.0)), old_emphasis=True)
    encode(clip, prompt(("( red ) cat", 1.0)), old_emphasis=True, emphasis="None")
    chunks = [[token for token, _ in tokens["l"][0]][1:6] for _, tokens in clip.log]
    assert chunks == [[9, 10, 49407, 49407, 49407], [7, 9, 8, 10, 49407]]


def test_size_and_score_tags(encode: Any) -> None:
    ((_, plain),) = encode(FakeClip("l", "g"), prompt(("cat", 1.0)))
    assert not {"width", "aesthetic_score"} & set(plain)
    ((_, tags),) = encode(
        FakeClip("g"),
        prompt(("cat", 1.0)),
        width=960,
        height=1280,
        crop_top=8,
        crop_left=16,
        aesthetic_score=2.5,
    )
    expected = {
        "width": 960,
        "height": 1280,
        "crop_w": 16,
        "crop_h": 8,
        "target_width": 960,
        "target_height": 1280,
        "aesthetic_score": 2.5,
    }
    assert expected.items() <= tags.items()


def test_other_text_encoders_are_refused(encode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WIDTHS, "t5xxl", 4096)
    with pytest.raises(ValueError, match="t5xxl"):
        encode(FakeClip("l", "t5xxl"), prompt(("cat", 1.0)))


def test_signature_needs_no_comfyui() -> None:
    inputs = text_nodes.A1111TextEncode.INPUT_TYPES()
    assert set(inputs["required"]) == {
        "clip",
        "prompt",
        "emphasis",
        "comma_padding_backtrack",
        "clip_skip",
        "zero_empty",
    }


class TestMended:
    @pytest.fixture(autouse=True)
    def forget(self) -> Iterator[None]:
        text_nodes._fix_text.cache_clear()
        yield
        text_nodes._fix_text.cache_clear()

    def test_ftfy_mends_what_is_not_plain(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ftfy", SimpleNamespace(fix_text=str.upper))
        assert text_nodes.mended("ｃａｔ") == "ＣＡＴ"
        assert text_nodes.mended("a &amp; b") == "A &AMP; B"
        assert text_nodes.mended("a cat") == "a cat"

    def test_its_absence_is_said_once(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setitem(sys.modules, "ftfy", None)
        assert [text_nodes.mended("日本"), text_nodes.mended("日本")] == ["日本", "日本"]
        assert [record.message for record in caplog.records if "ftfy" in record.message] != []
        assert len(caplog.records) == 1
