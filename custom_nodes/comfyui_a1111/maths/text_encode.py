"""A1111's prompt encoding: weighted chunks, mean restoration, schedules and AND parts.

Pure torch; the text encoder itself is behind `TextEncoder`. Source of the rules: A1111 v1.10.1
`modules/sd_hijack_clip.py`, `sd_emphasis.py`, `prompt_parser.py`, restated in shared facts
`semantics.md` section 5.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from .chunks import Chunk, empty_chunk

EMPHASIS_MODES = ("Original", "No norm", "Ignore", "None")

Segments = tuple[tuple[str, float], ...]
"""A parsed text: pieces with their weights; ("BREAK", -1) closes a chunk."""


@dataclass(frozen=True)
class ScheduleEntry:
    """A text that is used up to and including model call `end` (0-based)."""

    end: int
    text: Segments

    @property
    def is_empty(self) -> bool:
        return all(piece == "" for piece, _ in self.text)


@dataclass(frozen=True)
class Part:
    """One side of an AND, with its weight in the sum."""

    weight: float
    schedule: tuple[ScheduleEntry, ...]


def parse_prompt(text: str) -> list[Part]:
    """Read the JSON that the translator makes of a prompt (see docs/architecture.md).

    Raises ValueError when it is not of that form.
    """
    try:
        return [
            Part(
                float(part["weight"]),
                tuple(
                    ScheduleEntry(int(end), tuple((str(piece), float(w)) for piece, w in segments))
                    for end, segments in part["schedule"]
                ),
            )
            for part in json.loads(text)["parts"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"A1111TextEncode: prompt is not the JSON expected: {error!r}") from error


@dataclass(frozen=True)
class Encoded:
    """One text: `cond` `[tokens, channels]`, `pooled` `[1, channels]` or None."""

    cond: torch.Tensor
    pooled: torch.Tensor | None
    extra: dict[str, Any]


@dataclass(frozen=True)
class RawText:
    """A text's unweighted encodings by encoder name, `[chunks, 77, channels]` each."""

    z: dict[str, torch.Tensor]
    pooled: torch.Tensor | None
    extra: dict[str, Any]


class TextEncoder(Protocol):
    """The CLIP side: tokenising and plain encoding, by encoder in the order of the channels."""

    @property
    def names(self) -> Sequence[str]: ...

    def chunk(self, name: str, text: Segments) -> list[Chunk[Any]]:
        """The 75-token chunks of a text for the encoder `name`."""
        ...

    def encode(self, chunks: dict[str, list[Chunk[Any]]]) -> RawText:
        """Encode one text's chunks with unit weights."""
        ...


def apply_emphasis(z: torch.Tensor, multipliers: torch.Tensor, mode: str) -> torch.Tensor:
    """Weight the tokens of `z` `[texts, 77, channels]` by `multipliers` `[texts, 77]`.

    `Original` then scales everything so that the mean over ALL of `z` is what it was; `No norm`
    does not; `Ignore` and `None` return `z`. Raises ValueError for another mode.
    """
    if mode not in EMPHASIS_MODES:
        raise ValueError(f"A1111TextEncode: emphasis {mode!r} is not one of {EMPHASIS_MODES}")
    if mode in ("Ignore", "None"):
        return z
    weighted = z * multipliers.unsqueeze(-1).to(z)
    return weighted * (z.mean() / weighted.mean()) if mode == "Original" else weighted


def encode_schedule(
    encoder: TextEncoder, schedule: Sequence[ScheduleEntry], emphasis: str
) -> list[Encoded]:
    """Encode the texts of one AND part, in schedule order.

    A1111 encodes a part's whole schedule as one batch: shorter texts get empty chunks up to the
    longest, and the mean is restored over all entries of the batch together, chunk position by
    chunk position and encoder by encoder, a text that comes n times counting n times. Equal texts
    are run through CLIP once and share their result.
    """
    texts = list(dict.fromkeys(entry.text for entry in schedule))
    chunks = _chunk_texts(encoder, texts)
    raw = [encoder.encode(text_chunks) for text_chunks in chunks]
    positions = [texts.index(entry.text) for entry in schedule]
    slices = []
    for name in encoder.names:
        z = torch.stack([text.z[name] for text in raw])
        multipliers = torch.tensor(
            [[chunk.multipliers for chunk in text[name]] for text in chunks], dtype=torch.float32
        )
        slices.append(_weight_chunks(z, multipliers, positions, emphasis))
    conds = torch.cat(slices, dim=-1)
    encoded = [
        Encoded(cond, text.pooled, text.extra) for cond, text in zip(conds, raw, strict=True)
    ]
    return [encoded[position] for position in positions]


def _chunk_texts(
    encoder: TextEncoder, texts: Sequence[Segments]
) -> list[dict[str, list[Chunk[Any]]]]:
    """Chunks by encoder for each text, padded with empty chunks to the longest of them all."""
    chunked = [{name: encoder.chunk(name, text) for name in encoder.names} for text in texts]
    count = max(len(chunks) for text in chunked for chunks in text.values())
    return [
        {name: [*chunks, *[empty_chunk()] * (count - len(chunks))] for name, chunks in text.items()}
        for text in chunked
    ]


def _weight_chunks(
    z: torch.Tensor, multipliers: torch.Tensor, positions: Sequence[int], emphasis: str
) -> torch.Tensor:
    """Weight `z` `[texts, chunks, 77, channels]`; returns `[texts, chunks * 77, channels]`.

    `positions` says which text each schedule entry uses, which is what the mean is taken over.
    """
    weighted = []
    for index in range(z.shape[1]):
        batch = apply_emphasis(z[positions, index], multipliers[positions, index], emphasis)
        weighted.append(batch[[positions.index(text) for text in range(z.shape[0])]])
    return torch.cat(weighted, dim=1)


def pad_to_longest(conds: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Lengthen `[tokens, channels]` tensors to the longest by repeating each one's last vector."""
    longest = max(cond.shape[0] for cond in conds)
    return [torch.cat([cond, cond[-1:].expand(longest - cond.shape[0], -1)]) for cond in conds]


def encode_prompt(
    encoder: TextEncoder, parts: Sequence[Part], emphasis: str, zero_empty: bool
) -> list[tuple[torch.Tensor, dict[str, Any]]]:
    """Encode a prompt: one `(cond [1, tokens, channels], tags)` per part and schedule entry.

    The tags are a1111_part, a1111_weight and a1111_end, `pooled_output`, and what the encoder
    adds. `zero_empty` zeroes cond and pooled of a part whose texts are all empty (SDXL negatives).
    """
    encoded = [
        (index, part, entry, _zeroed(text) if zero_empty and _all_empty(part) else text)
        for index, part in enumerate(parts)
        for entry, text in zip(
            part.schedule, encode_schedule(encoder, part.schedule, emphasis), strict=True
        )
    ]
    conds = pad_to_longest([text.cond for *_, text in encoded])
    return [
        (
            cond.unsqueeze(0),
            {
                **text.extra,
                "pooled_output": text.pooled,
                "a1111_part": index,
                "a1111_weight": part.weight,
                "a1111_end": entry.end,
            },
        )
        for cond, (index, part, entry, text) in zip(conds, encoded, strict=True)
    ]


def _all_empty(part: Part) -> bool:
    return all(entry.is_empty for entry in part.schedule)


def _zeroed(text: Encoded) -> Encoded:
    pooled = None if text.pooled is None else torch.zeros_like(text.pooled)
    return Encoded(torch.zeros_like(text.cond), pooled, text.extra)
