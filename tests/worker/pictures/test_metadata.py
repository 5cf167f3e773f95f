"""A1111's text in image files, read back by Pillow."""

from io import BytesIO

import pytest
from PIL import Image, PngImagePlugin

from worker.pictures import metadata

INFOTEXT = "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, Seed: 1, Size: 8x8"


def png(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    out = BytesIO()
    Image.effect_noise((48, 32), 90).convert("RGB").save(out, "PNG", pnginfo=info)
    return out.getvalue()


def pillow_chunk(key: str, text: str) -> bytes:
    """The chunk that Pillow itself writes."""
    data = png(**{key: text})
    start = data.index(key.encode() + b"\0") - 8
    length = int.from_bytes(data[start : start + 4], "big")
    return data[start : start + 12 + length]


@pytest.mark.parametrize("text", [INFOTEXT, "café", "", "猫 <lora:x:1>"])
def test_chunk_is_byte_for_byte_pillows(text: str) -> None:
    assert metadata.text_chunk("parameters", text) == pillow_chunk("parameters", text)


@pytest.mark.parametrize("text", [INFOTEXT, "猫"])
def test_parameters_are_read_back_and_pixels_untouched(text: str) -> None:
    source = png()
    with Image.open(BytesIO(metadata.with_parameters(source, text))) as image:
        assert image.text == {"parameters": text}
        with Image.open(BytesIO(source)) as before:
            assert image.tobytes() == before.tobytes()


def test_parameters_stand_right_behind_the_header() -> None:
    data = bytes(metadata.with_parameters(png(), INFOTEXT))
    assert data[33 + 4 : 33 + 8] == b"tEXt"


def test_comfyui_graph_is_taken_out_and_other_texts_stay() -> None:
    source = png(prompt='{"1": {}}', workflow="{}", Author="me")
    with Image.open(BytesIO(metadata.with_parameters(source, INFOTEXT))) as image:
        assert image.text == {"parameters": INFOTEXT, "Author": "me"}
    with Image.open(BytesIO(metadata.with_parameters(source, None))) as image:
        assert image.text == {"Author": "me"}


def test_nothing_to_change_makes_no_copy() -> None:
    source = png()
    assert metadata.with_parameters(source, None) is source


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize("text", [INFOTEXT, "猫", ""])
def test_user_comment_is_read_back(kind: str, text: str) -> None:
    out = BytesIO()
    Image.new("RGB", (8, 8)).save(out, kind, exif=metadata.exif_user_comment(text))
    with Image.open(out) as image:
        comment = image.getexif().get_ifd(0x8769)[0x9286]
    assert comment == b"UNICODE\0" + text.encode("utf-16-be")
