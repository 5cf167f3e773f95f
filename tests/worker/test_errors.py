"""What may leave the worker in a message."""

import pytest

from worker.errors import MAX_MESSAGE_LENGTH, JobError, scrub


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no file '/comfyui/models/vae/x.pt' here", "no file 'x.pt' here"),
        ("/root/.cache/a/b.bin: Permission denied", "b.bin: Permission denied"),
        ("C:\\Users\\me\\model.ckpt is bad", "model.ckpt is bad"),
        ("1/2 of 3/4 and/or nothing", "1/2 of 3/4 and/or nothing"),
        ("see http://127.0.0.1:8188/view/x/y", "see http://127.0.0.1:8188/view/x/y"),
        ("/models/vae/x.pt is kept", "/models/vae/x.pt is kept"),
    ],
)
def test_paths_are_cut_to_their_last_part(text: str, expected: str) -> None:
    assert scrub(text, keep=["/models"]) == expected


def test_payload_and_secrets_are_blotted_out() -> None:
    text = scrub(f"image {'QUJD' * 100} with key s3cr3t", secrets=["s3cr3t"])
    assert text == "image (400 characters) with key ***"


def test_a_long_message_is_cut() -> None:
    text = scrub("word " * 10_000)
    assert len(text) < MAX_MESSAGE_LENGTH + 50
    assert text.endswith("(50000 characters)")


def test_an_error_says_what_and_what_to_do() -> None:
    assert str(JobError("a is b", "use c")) == "a is b; use c"
    assert str(JobError("a is b")) == "a is b"
