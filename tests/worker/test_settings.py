"""Environment variables in, settings out."""

from pathlib import Path

import pytest

from worker.errors import SettingsError
from worker.settings import Settings, manual, variables

MANUAL = Path(__file__).parents[2] / "docs" / "operations.md"


def test_defaults_need_no_environment() -> None:
    assert Settings.from_env({}) == Settings()


def test_values_are_parsed_and_empty_ones_count_as_not_set() -> None:
    settings = Settings.from_env(
        {
            "JOB_TIMEOUT_S": "12.5",
            "WORKER_CONCURRENCY": " 7 ",
            "IMAGE_URLS": "TRUE",
            "NODE_ALLOW_LIST": "KSampler, SaveImage,",
            "MODEL_ROOTS": "/a:/b",
            "UNSUPPORTED": "WARN",
            "A1111_OPTIONS": '{"eta_noise_seed_delta": 31337}',
            "LOG_LEVEL": "",
        }
    )
    assert settings.job_timeout_s == 12.5
    assert settings.concurrency == 7
    assert settings.image_urls is True
    assert settings.node_allow_list == ("KSampler", "SaveImage")
    assert settings.model_roots == (Path("/a"), Path("/b"))
    assert settings.unsupported == "warn"
    assert settings.a1111_options == '{"eta_noise_seed_delta": 31337}'
    assert settings.log_level == Settings().log_level


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOB_TIMEOUT_S", "soon"),
        ("IMAGE_URLS", "maybe"),
        ("UNSUPPORTED", "ignore"),
        ("WARMUP_REQUEST", "/no/such/file.json"),
        ("A1111_OPTIONS", "{"),
    ],
)
def test_a_value_that_does_not_parse_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}:"):
        Settings.from_env({name: value})


def test_a_json_object_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "options.json"
    file.write_text('{"CLIP_stop_at_last_layers": 2}')
    settings = Settings.from_env({"A1111_OPTIONS": str(file)})
    assert settings.a1111_options == '{"CLIP_stop_at_last_layers": 2}'


def test_settings_can_be_compared_and_hashed() -> None:
    assert len({Settings.from_env({}), Settings()}) == 1


def test_every_variable_is_described_once_and_in_the_manual() -> None:
    listed = variables()
    names = [name for name, _, _ in listed]
    assert len(set(names)) == len(names)
    assert manual() in MANUAL.read_text("utf-8"), "python -m worker.settings prints the table"
