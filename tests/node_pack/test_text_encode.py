"""Prompt encoding around a stand-in for CLIP."""

from __future__ import annotations

import json
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths import text_encode  # noqa: E402
from custom_nodes.comfyui_a1111.maths.chunks import Chunk, chunk_text  # noqa: E402
from custom_nodes.comfyui_a1111.maths.text_encode import Part, RawText, ScheduleEntry  # noqa: E402

pytestmark = pytest.mark.torch

CHANNELS = {"l": 3, "g": 5}
COMMA = 1


def tokenize(text: str) -> list[int]:
    return [COMMA if word == "," else 1000 + ord(word[0]) for word in text.split()]


class FakeEncoder:
    """z is a fixed random vector per token and position; pooled is the first chunk's sum."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.texts: list[dict[str, list[Chunk[Any]]]] = []

    def chunk(self, name: str, text: text_encode.Segments) -> list[Chunk[Any]]:
        return chunk_text(text, tokenize, [], COMMA, 20)

    def encode(self, chunks: dict[str, list[Chunk[Any]]]) -> RawText:
        self.texts.append(chunks)
        z = {name: torch.stack([plain(name, chunk) for chunk in chunks[name]]) for name in chunks}
        return RawText(z, z[self.names[-1]][0].sum(0, keepdim=True), {"hooks": "kept"})


def plain(name: str, chunk: Chunk[Any]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(hash((name, chunk.tokens)) % 2**31)
    return torch.randn(77, CHANNELS[name], generator=generator) + 0.3


def entry(end: int, *pieces: tuple[str, float]) -> ScheduleEntry:
    return ScheduleEntry(end, pieces)


def weights(chunk: Chunk[Any]) -> torch.Tensor:
    return torch.tensor(chunk.multipliers).unsqueeze(-1)


def test_emphasis_original_restores_the_mean_over_the_batch() -> None:
    z = torch.randn(2, 77, 4, generator=torch.Generator().manual_seed(0)) + 1
    multipliers = torch.ones(2, 77)
    multipliers[0, 3:9] = 1.4
    weighted = text_encode.apply_emphasis(z, multipliers, "Original")
    raw = z * multipliers.unsqueeze(-1)
    assert torch.allclose(weighted, raw * (z.mean() / raw.mean()))
    assert weighted.mean().item() == pytest.approx(z.mean().item(), rel=1e-5)
    assert not torch.allclose(weighted[1], z[1])  # the unweighted text is rescaled as well


def test_other_emphasis_modes() -> None:
    z, multipliers = torch.randn(1, 77, 4), torch.full((1, 77), 1.5)
    assert torch.equal(text_encode.apply_emphasis(z, multipliers, "No norm"), z * 1.5)
    for mode in ("Ignore", "None"):
        assert torch.equal(text_encode.apply_emphasis(z, multipliers, mode), z)
    with pytest.raises(ValueError, match="'loud'"):
        text_encode.apply_emphasis(z, multipliers, "loud")


def test_unit_weights_change_nothing() -> None:
    z = torch.randn(1, 77, 4)
    assert torch.equal(text_encode.apply_emphasis(z, torch.ones(1, 77), "Original"), z)


def test_a_schedule_is_one_batch_with_repeats_counted() -> None:
    encoder = FakeEncoder("l")
    loud, soft = (("a ", 1.0), ("b", 1.5)), (("a ", 1.0), ("c", 0.8))
    schedule = [entry(1, *loud), entry(2, *soft), entry(3, *loud)]
    encoded = text_encode.encode_schedule(encoder, schedule, "Original")
    assert len(encoder.texts) == 2
    assert encoded[0] is encoded[2]

    chunks = [encoder.chunk("l", text)[0] for text in (loud, soft, loud)]
    z = torch.stack([plain("l", chunk) for chunk in chunks])
    raw = z * torch.stack([weights(chunk) for chunk in chunks])
    expected = raw * (z.mean() / raw.mean())
    for got, want in zip(encoded, expected, strict=True):
        assert torch.allclose(got.cond, want, atol=1e-6)


def test_shorter_texts_of_a_schedule_get_empty_chunks() -> None:
    encoder = FakeEncoder("l")
    schedule = [entry(3, ("a", 1.0)), entry(6, ("a", 1.0), ("BREAK", -1.0), ("b", 1.0))]
    short, long = text_encode.encode_schedule(encoder, schedule, "Original")
    assert short.cond.shape == long.cond.shape == (154, 3)
    assert torch.equal(short.cond[77:], plain("l", text_encode.empty_chunk()))


def test_encoders_are_weighted_apart_and_joined_along_the_channels() -> None:
    encoder = FakeEncoder("l", "g")
    text = (("a ", 1.0), ("b", 1.7))
    (encoded,) = text_encode.encode_schedule(encoder, [entry(6, *text)], "Original")
    assert encoded.cond.shape == (77, 8)
    for name, part in zip("lg", torch.split(encoded.cond, [3, 5], dim=-1), strict=True):
        chunk = encoder.chunk(name, text)[0]
        z = plain(name, chunk)
        raw = z * weights(chunk)
        assert torch.allclose(part, raw * (z.mean() / raw.mean()), atol=1e-6)


def test_pooled_is_the_first_chunks_and_unweighted() -> None:
    encoder = FakeEncoder("l", "g")
    text = (("a", 1.9), ("BREAK", -1.0), ("b", 1.0))
    (encoded,) = text_encode.encode_schedule(encoder, [entry(6, *text)], "Original")
    expected = plain("g", encoder.chunk("g", text)[0]).sum(0, keepdim=True)
    assert encoded.pooled is not None and torch.equal(encoded.pooled, expected)


def test_parts_are_tagged_and_padded_with_their_last_vector() -> None:
    encoder = FakeEncoder("l")
    parts = [
        Part(1.0, (entry(2, ("a", 1.0)), entry(6, ("b", 1.0)))),
        Part(-0.4, (entry(6, ("c", 1.0), ("BREAK", -1.0), ("d", 1.0)),)),
    ]
    result = text_encode.encode_prompt(encoder, parts, "Original", False)
    tags = [(t["a1111_part"], t["a1111_weight"], t["a1111_end"]) for _, t in result]
    assert tags == [(0, 1.0, 2), (0, 1.0, 6), (1, -0.4, 6)]
    assert all(cond.shape == (1, 154, 3) for cond, _ in result)
    short = result[0][0][0]
    assert torch.equal(short[77:], short[76:77].expand(77, -1))
    assert all(t["hooks"] == "kept" for _, t in result)


def test_empty_negatives_are_zeroed_on_request() -> None:
    empty, other = entry(6, ("", 1.0)), entry(6, ("a", 1.0))
    for parts, zero, zeroed in (
        ([Part(1.0, (empty,))], True, True),
        ([Part(1.0, (empty,))], False, False),
        ([Part(1.0, (entry(3, ("", 1.0)), other))], True, False),
    ):
        (cond, tags), *_ = text_encode.encode_prompt(FakeEncoder("l", "g"), parts, "Original", zero)
        assert bool((cond == 0).all()) is zeroed
        assert bool((tags["pooled_output"] == 0).all()) is zeroed


def test_parse_prompt() -> None:
    text = json.dumps(
        {"parts": [{"weight": 0.5, "schedule": [[3, [["a", 1.2], ["BREAK", -1]]], [6, []]]}]}
    )
    (part,) = text_encode.parse_prompt(text)
    assert part == Part(0.5, (ScheduleEntry(3, (("a", 1.2), ("BREAK", -1.0))), entry(6)))


@pytest.mark.parametrize("text", ["", "[]", '{"parts": [{"weight": 1}]}', '{"parts": [1]}'])
def test_parse_prompt_refuses_other_json(text: str) -> None:
    with pytest.raises(ValueError, match="A1111TextEncode"):
        text_encode.parse_prompt(text)
