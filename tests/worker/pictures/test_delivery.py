"""Answers: formats, shapes, and what is done with one that is too large."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from urllib.request import urlopen

import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from tests.worker.graphs import txt2img
from worker import submission
from worker.errors import RequestError, ResultTooLarge
from worker.pictures import delivery
from worker.pictures.delivery import Picture
from worker.pictures.metadata import exif_user_comment
from worker.pictures.storage import Bucket
from worker.settings import Settings

TEXT = "a cat\nSteps: 1, Seed: 1, Size: 64x64"


def image_file(kind: str = "PNG", size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    """An image that compresses about as a photo does."""
    out = BytesIO()
    smooth = Image.radial_gradient("L").resize(size)
    grain = Image.blend(smooth, Image.effect_noise(size, 120), 0.05)
    image = Image.merge("RGB", (grain, smooth.rotate(90), grain.rotate(180))).convert(mode)
    image.save(out, kind, **({"compress_level": 1} if kind == "PNG" else {}))
    return out.getvalue()


def pixels(data: Any) -> bytes:
    with Image.open(BytesIO(data)) as image:
        return image.convert("RGB").tobytes()


def deliver(pictures: list[Picture], **how: Any) -> delivery.Delivered:
    given: dict[str, Any] = {
        "rest": 0,
        "limit": 10_000_000,
        "settings": Settings(),
        "bucket": None,
        "upload": False,
        "job_id": "job",
    }
    return delivery.deliver(pictures, **{**given, **how})


def test_png_keeps_its_pixels_and_gets_its_text() -> None:
    source = image_file()
    picture = delivery.a1111_picture(source, "png", 80, TEXT)
    assert pixels(picture.data) == pixels(source)
    with Image.open(BytesIO(picture.data)) as image:
        assert image.text == {"parameters": TEXT}


@pytest.mark.parametrize(
    ("samples_format", "kind"), [("jpg", "JPEG"), ("jpeg", "JPEG"), ("WEBP", "WEBP")]
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_other_formats_carry_the_text_as_exif(samples_format: str, kind: str, mode: str) -> None:
    picture = delivery.a1111_picture(image_file(mode=mode), samples_format, 80, TEXT)
    with Image.open(BytesIO(picture.data)) as image:
        assert image.format == kind
        assert image.getexif().get_ifd(0x8769)[0x9286].startswith(b"UNICODE\0")
        assert TEXT.encode("utf-16-be") in image.info["exif"]


def test_jpeg_is_what_pillow_makes_at_that_quality() -> None:
    source = image_file()
    expected = BytesIO()
    with Image.open(BytesIO(source)) as image:
        image.save(expected, "JPEG", quality=33, exif=exif_user_comment(TEXT))
    assert delivery.a1111_picture(source, "jpg", 33, TEXT).data == expected.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_detected_map_is_answered_as_it_was_sent(kind: str) -> None:
    source = image_file(kind)
    assert delivery.detected_map_picture(source).data is source


def test_a_detected_map_in_another_format_becomes_png() -> None:
    source = image_file("BMP")
    picture = delivery.detected_map_picture(source)
    assert picture.extension == "png"
    assert pixels(picture.data) == pixels(source)


def test_a1111_answer_has_its_three_members_and_warnings_only_if_any() -> None:
    answer = delivery.a1111_answer([], {"prompt": "ü"}, {"seed": 1, "prompt": "ü"})
    assert list(answer) == ["images", "parameters", "info"]
    assert json.loads(answer["info"]) == {"seed": 1, "prompt": "ü"}
    assert delivery.with_warnings(answer, ["a", "a", "b"])["warnings"] == ["a", "b"]


def test_what_fits_is_answered_as_it_is() -> None:
    source = image_file()
    delivered = deliver([Picture(source, "png")])
    assert base64.b64decode(delivered.values[0]) == source
    assert not delivered.warnings


def test_too_large_becomes_lossless_webp() -> None:
    source = image_file(size=(256, 256))
    limit = int(Picture(source, "png").size * 0.95)
    delivered = deliver([Picture(source, "png", TEXT)], limit=limit)
    (data,) = (base64.b64decode(value) for value in delivered.values)
    with Image.open(BytesIO(data)) as image:
        assert image.format == "WEBP"
        assert TEXT.encode("utf-16-be") in image.info["exif"]
    assert pixels(data) == pixels(source)
    assert len(data) < limit
    assert "lossless WebP" in delivered.warnings[0]


def test_much_too_large_becomes_jpeg_of_falling_quality() -> None:
    source = image_file(size=(256, 256))
    sizes = {}
    for share in (0.2, 0.1):
        limit = int(Picture(source, "png").size * share)
        delivered = deliver([Picture(source, "png", TEXT)], limit=limit)
        sizes[share] = len(delivered.values[0])
        assert sizes[share] <= limit
        assert "JPEG of quality" in delivered.warnings[0]
    assert sizes[0.1] < sizes[0.2]


def test_the_steps_and_their_order_are_configured() -> None:
    source = image_file(size=(256, 256))
    limit = Picture(source, "png").size // 2
    with pytest.raises(ResultTooLarge, match="BUCKET_ENDPOINT_URL") as caught:
        deliver([Picture(source, "png")], limit=limit, settings=Settings(oversize=("webp",)))
    assert "MB" in str(caught.value)


def test_the_rest_of_the_answer_counts() -> None:
    source = image_file()
    size = Picture(source, "png").size
    assert not deliver([Picture(source, "png")], limit=size + 50, rest=50).warnings
    assert deliver([Picture(source, "png")], limit=size + 50, rest=51).warnings


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class TestBucket:
    """Against a real S3 API."""

    @pytest.fixture
    def bucket(self, endpoint: str) -> Bucket:
        import boto3

        boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        ).create_bucket(Bucket="results")
        return Bucket(endpoint, "key", "secret", "results", 600)

    def test_an_upload_is_answered_as_a_url_that_gives_the_image(self, bucket: Bucket) -> None:
        source = image_file()
        delivered = deliver([Picture(source, "png")], bucket=bucket, upload=True)
        assert delivered.uploaded
        (url,) = delivered.values
        assert "/results/job/" in url
        assert "secret" not in url
        with urlopen(url) as reply:
            assert reply.headers["Content-Type"] == "image/png"
            assert reply.read() == source

    def test_too_large_goes_to_the_bucket_first(self, bucket: Bucket) -> None:
        delivered = deliver([Picture(image_file(), "png")], bucket=bucket, limit=1000)
        assert delivered.uploaded

    def test_a_bucket_that_refuses_does_not_lose_the_result(self, endpoint: str) -> None:
        bucket = Bucket(endpoint, "key", "secret", "no-such-bucket", 600)
        source = image_file()
        delivered = deliver([Picture(source, "png")], bucket=bucket, upload=True)
        assert not delivered.uploaded
        assert base64.b64decode(delivered.values[0]) == source
        assert "NoSuchBucket" in delivered.warnings[0]
        assert "secret" not in delivered.warnings[0]

    async def test_direct_submission_answers_s3_url(
        self, bucket: Bucket, make_worker: Any, server: Any
    ) -> None:
        worker = make_worker(
            bucket_url=bucket.endpoint,
            bucket_key=bucket.key,
            bucket_secret=bucket.secret,
            bucket_name=bucket.name,
        )
        answer = await worker.graph(txt2img())
        (image,) = answer["images"]
        assert image["type"] == "s3_url"
        with urlopen(image["data"]) as reply:
            assert reply.read(4) == b"\x89PNG"

    async def test_the_jobs_own_bucket_goes_before(
        self, bucket: Bucket, worker: Any, server: Any
    ) -> None:
        config = {
            "endpointUrl": bucket.endpoint,
            "accessId": bucket.key,
            "accessSecret": bucket.secret,
            "bucketName": bucket.name,
        }
        answer = await worker.run({"workflow": txt2img()}, s3Config=config)
        assert answer["images"][0]["type"] == "s3_url"
        answer = await worker.run({"workflow": txt2img()}, s3Config={"accessId": "x"})
        assert "s3Config: endpointUrl" in answer["error"]


def test_a_config_of_another_shape_is_refused() -> None:
    with pytest.raises(RequestError, match="s3Config"):
        Bucket.of(Settings(), {"s3Config": "text"})


def test_what_is_no_image_stands_under_files_with_its_media_type() -> None:
    pictures = [
        Picture(b"x", name.rpartition(".")[2], None, name)
        for name in ("a.png", "b.mp4", "c.flac", "d.glb", "e.gif")
    ]
    delivered = deliver(pictures)
    answer = submission.succeeded(delivered, [{"node": "3", "text": "hello"}], [])
    assert [item["filename"] for item in answer["images"]] == ["a.png", "e.gif"]
    assert [(item["filename"], item["media_type"]) for item in answer["files"]] == [
        ("b.mp4", "video/mp4"),
        ("c.flac", "audio/flac"),
        ("d.glb", "model/gltf-binary"),
    ]
    assert answer["texts"] == [{"node": "3", "text": "hello"}]
    assert "status" not in answer


def test_a_video_that_does_not_fit_ends_in_the_limits_error() -> None:
    with pytest.raises(ResultTooLarge, match="BUCKET_ENDPOINT_URL"):
        deliver([Picture(b"x" * 20_000_000, "mp4", None, "a.mp4")])
