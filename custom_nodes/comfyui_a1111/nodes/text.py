"""A1111TextEncode: prompts encoded by ComfyUI's CLIP, weighted and scheduled as in A1111."""

from __future__ import annotations

import functools
import html
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..maths import embeddings, text_encode
from ..maths.chunks import END_TOKEN, Chunk, bracket_multipliers, chunk_text, chunk_text_old
from .inputs import flag, whole

MAX_SIDE = 16384

LAYOUTS: dict[frozenset[str], tuple[str, ...]] = {
    frozenset("l"): ("l",),
    frozenset("h"): ("h",),
    frozenset("lg"): ("l", "g"),
    frozenset("g"): ("g",),
}
"""ComfyUI's encoder names by model -> their order along the channels (SD1, SD2, SDXL, refiner)."""

COMMA = ",</w>"
"""The vocabulary's word for a comma."""

ZERO_PADDED = frozenset("hg")
"""OpenCLIP encoders: tokens after the first end token are 0, not the end token."""


@dataclass(frozen=True)
class EncodeSettings:
    """A1111's options on text encoding.

    Attributes:
        emphasis: one of `text_encode.EMPHASIS_MODES`.
        comma_backtrack: comma_padding_backtrack, see `chunks.chunk_text`.
        clip_skip: CLIP_stop_at_last_layers, 1 to 12.
        sdxl_clip_l_skip: whether `clip_skip` means SDXL's CLIP-L too.
        old_emphasis: use_old_emphasis_implementation, see `chunks.chunk_text_old`.
    """

    emphasis: str = "Original"
    comma_backtrack: int = 20
    clip_skip: int = 1
    sdxl_clip_l_skip: bool = False
    old_emphasis: bool = False

    def layer_of(self, names: tuple[str, ...], name: str) -> int | None:
        """ComfyUI's negative layer number for an encoder; None leaves its default.

        SD1 skips from 2 on; on SDXL only CLIP-L does, and only with the option; SD2 never.
        """
        if names == ("l",):
            return -self.clip_skip if self.clip_skip > 1 else None
        if names == ("l", "g") and name == "l" and self.sdxl_clip_l_skip:
            return -self.clip_skip
        return None


class ComfyTextEncoder:
    """`text_encode.TextEncoder` on a ComfyUI CLIP.

    Raises ValueError when the CLIP is not one that A1111's SD1, SD2 and SDXL models use.
    """

    def __init__(self, clip: Any, settings: EncodeSettings, folders: Sequence[str]) -> None:
        names = frozenset(clip.tokenize(""))
        if names not in LAYOUTS:
            raise ValueError(
                f"A1111TextEncode knows the text encoders of SD1, SD2 and SDXL, not {sorted(names)}"
            )
        self.names = LAYOUTS[names]
        self._clip = clip
        self._settings = settings
        self._tokenizers = {name: getattr(clip.tokenizer, f"clip_{name}") for name in self.names}
        self._widths = [tokenizer.embedding_size for tokenizer in self._tokenizers.values()]
        self._embeddings = embeddings.find_embeddings(folders, sum(self._widths))

    def chunk(self, name: str, text: text_encode.Segments) -> list[Chunk[Any]]:
        """See `text_encode.TextEncoder`."""
        vocabulary = self._tokenizers[name].tokenizer.get_vocab()
        tokenize = functools.partial(self.tokenize, name)
        if self._settings.old_emphasis:
            literal = "".join(piece for piece, _ in text)
            factors = {} if self._settings.emphasis == "None" else bracket_multipliers(vocabulary)
            return [chunk_text_old(literal, tokenize, self._embeddings, factors)]
        return chunk_text(
            text, tokenize, self._embeddings, vocabulary[COMMA], self._settings.comma_backtrack
        )

    def tokenize(self, name: str, text: str) -> list[int]:
        """Token ids of a text, without start and end."""
        if name in ZERO_PADDED:  # open_clip's tokenizer resolves HTML entities, CLIP-L's does not
            text = html.unescape(html.unescape(text))
        tokenizer = self._tokenizers[name].tokenizer
        if getattr(tokenizer, "fix_text", None) is None:
            text = mended(text)
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def encode(self, chunks: dict[str, list[Chunk[Any]]]) -> text_encode.RawText:
        """See `text_encode.TextEncoder`.

        Encoders that use different hidden layers are run apart, because ComfyUI sets the layer
        for all of them at once.
        """
        tokens = {
            name: [self._tokens(name, chunk) for chunk in chunks[name]] for name in self.names
        }
        layers = {name: self._settings.layer_of(self.names, name) for name in self.names}
        runs = {layer: self._run(tokens, layer) for layer in dict.fromkeys(layers.values())}
        z = {}
        for position, name in enumerate(self.names):
            cond = torch.split(runs[layers[name]]["cond"][0], self._widths, dim=-1)[position]
            z[name] = cond.float().unflatten(0, (len(chunks[name]), -1))
        extra = dict(runs[layers[self.names[-1]]])
        del extra["cond"]
        return text_encode.RawText(z, extra.pop("pooled_output"), extra)

    def _tokens(self, name: str, chunk: Chunk[Any]) -> list[tuple[Any, float]]:
        """ComfyUI's form of a chunk: token ids, embedding vectors in their places, weight 1."""
        tokens: list[Any] = list(chunk.tokens)
        if name in ZERO_PADDED:
            first_end = tokens.index(END_TOKEN)
            tokens[first_end + 1 :] = [0] * (len(tokens) - first_end - 1)
        for offset, embedding in chunk.fixes:
            vectors = embedding.for_encoder(name)
            room = len(tokens) - offset - 1
            tokens[offset + 1 : offset + 1 + len(vectors)] = list(vectors[:room])
        return [(token, 1.0) for token in tokens]

    def _run(self, tokens: dict[str, Any], layer: int | None) -> dict[str, Any]:
        clip = self._clip
        if layer is not None:
            clip = clip.clone()
            clip.clip_layer(layer)
        encoded: dict[str, Any] = clip.encode_from_tokens(tokens, return_dict=True)
        return encoded


def mended(text: str) -> str:
    """A text as CLIP's own tokenizer mends it, for one that does not: with ftfy.

    It matters for other scripts' forms of a character and for HTML entities.
    """
    if text.isascii() and "&" not in text:
        return text
    fix_text = _fix_text()
    return fix_text(text) if fix_text else text


@functools.cache
def _fix_text() -> Callable[[str], str] | None:
    """ftfy's function; None without ftfy, which is said once."""
    try:
        import ftfy
    except ImportError:
        logging.getLogger(__name__).warning(
            "ftfy is not installed in ComfyUI's Python: texts with HTML entities or in scripts "
            "such as Japanese are encoded otherwise than by A1111 (pip install ftfy)"
        )
        return None
    fix: Callable[[str], str] = ftfy.fix_text
    return fix


class A1111TextEncode:
    """Encode a parsed A1111 prompt: an entry per AND part and schedule step, for A1111Guider.

    See docs/architecture.md for the JSON. Size conditioning is added when `width` and `height` are
    not 0, the refiner's aesthetic score when it is not negative.
    """

    CATEGORY = "A1111/conditioning"
    RETURN_TYPES = ("CONDITIONING",)
    FUNCTION = "encode"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:
        return {
            "required": {
                "clip": ("CLIP",),
                "prompt": ("STRING", {"default": '{"parts": []}', "multiline": True}),
                "emphasis": (list(text_encode.EMPHASIS_MODES), {"default": "Original"}),
                "comma_padding_backtrack": whole(20, -1000, 1000),
                "clip_skip": whole(1, 1, 12),
                "zero_empty": flag(),
            },
            "optional": {
                "width": whole(0, 0),
                "height": whole(0, 0),
                "crop_top": whole(0, 0),
                "crop_left": whole(0, 0),
                "aesthetic_score": ("FLOAT", {"default": -1.0, "min": -1.0, "max": 1000.0}),
                "sdxl_clip_l_skip": flag(),
                "old_emphasis": flag(),
            },
        }

    @classmethod
    def IS_CHANGED(cls, **inputs: Any) -> str:
        """Encode anew when an embedding file came, went or changed."""
        return embeddings.fingerprint(embedding_folders())

    def encode(
        self,
        clip: Any,
        prompt: str,
        emphasis: str,
        comma_padding_backtrack: int,
        clip_skip: int,
        zero_empty: bool,
        width: int = 0,
        height: int = 0,
        crop_top: int = 0,
        crop_left: int = 0,
        aesthetic_score: float = -1.0,
        sdxl_clip_l_skip: bool = False,
        old_emphasis: bool = False,
    ) -> tuple[list[list[Any]]]:
        settings = EncodeSettings(
            emphasis, comma_padding_backtrack, clip_skip, sdxl_clip_l_skip, old_emphasis
        )
        encoder = ComfyTextEncoder(clip, settings, embedding_folders())
        parts = text_encode.parse_prompt(prompt)
        extra = size_tags(width, height, crop_top, crop_left, aesthetic_score)
        return (
            [
                [cond, {**tags, **extra}]
                for cond, tags in text_encode.encode_prompt(encoder, parts, emphasis, zero_empty)
            ],
        )


def size_tags(
    width: int, height: int, crop_top: int, crop_left: int, aesthetic_score: float
) -> dict[str, float]:
    """SDXL's size conditioning as ComfyUI names it; A1111 targets the size it starts from."""
    tags: dict[str, float] = {}
    if width and height:
        tags |= {
            "width": width,
            "height": height,
            "crop_w": crop_left,
            "crop_h": crop_top,
            "target_width": width,
            "target_height": height,
        }
    if aesthetic_score >= 0:
        tags["aesthetic_score"] = aesthetic_score
    return tags


def embedding_folders() -> list[str]:
    import folder_paths

    folders: list[str] = folder_paths.get_folder_paths("embeddings")
    return folders
