"""The image without Docker: every pin and path of the Dockerfile; the start script run for real."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tools.install_packs import PackFileError, read
from translator.comfy.packs import PACKS

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
PACK_FILE = (ROOT / "custom_nodes.txt").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
COMMIT = re.compile(r"[0-9a-f]{40}")


def instructions(name: str) -> list[str]:
    """The arguments of every Dockerfile instruction of a kind, continued lines joined."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name} +(.*)$", joined, re.MULTILINE)


def pins() -> dict[str, Version]:
    lines = (ROOT / "docker" / "constraints.txt").read_text("utf-8").splitlines()
    found = {}
    for line in filter(None, (line.split("#")[0].strip() for line in lines)):
        name, equal, version = line.partition("==")
        assert equal, f"{line}: not pinned"
        found[_canonical(name)] = Version(version)
    return found


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- Dockerfile -----------------------------------------------------------------------------------


def test_base_image_and_comfyui_are_pinned() -> None:
    (base,) = instructions("FROM")
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+( AS \w+)?", base)
    (commit,) = [text for text in instructions("ARG") if text.startswith("COMFYUI_COMMIT=")]
    assert COMMIT.fullmatch(commit.partition("=")[2])
    assert not re.search(r"git clone|:latest|--branch", DOCKERFILE)


def test_everything_that_is_copied_is_there() -> None:
    for arguments in instructions("COPY"):
        *sources, target = arguments.split()
        assert sources
        assert target.startswith(("/opt/", "$WORKER_HOME", "$COMFYUI_HOME"))
        for source in sources:
            assert (ROOT / source).exists(), source


def test_every_python_package_of_ours_is_copied() -> None:
    copied = {word for arguments in instructions("COPY") for word in arguments.split()[:-1]}
    assert {"translator", "worker", "handler.py", "pyproject.toml", "workflows"} <= copied
    assert "custom_nodes/comfyui_a1111" in copied


def test_pip_runs_under_the_constraints_from_the_first_install_on() -> None:
    constrained = DOCKERFILE.index("ENV PIP_CONSTRAINT=/opt/constraints.txt")
    assert DOCKERFILE.index("COPY docker/constraints.txt /opt/constraints.txt") < constrained
    assert constrained < DOCKERFILE.index("pip install")


def test_the_image_starts_by_the_start_script() -> None:
    (command,) = instructions("CMD")
    (script,) = json.loads(command)
    assert script == "/opt/worker/docker/start.sh"
    assert os.access(ROOT / "docker" / "start.sh", os.X_OK)


# --- pins -----------------------------------------------------------------------------------------


def test_every_dependency_of_ours_is_pinned_within_its_bounds() -> None:
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["s3"]
    for requirement in map(Requirement, wanted):
        version = pins()[_canonical(requirement.name)]
        assert version in requirement.specifier, f"{requirement} and {version}"


@pytest.mark.parametrize("name", ["torch", "torchvision", "torchaudio", "numpy", "insightface"])
def test_what_the_packs_pull_each_their_way_is_pinned(name: str) -> None:
    assert name in pins()


def test_every_foreign_pack_that_the_translator_names_is_pinned_by_commit() -> None:
    packs = read(PACK_FILE.splitlines())
    assert all(COMMIT.fullmatch(pack.commit) for pack in packs)
    installed = {f"custom_nodes.{pack.folder}" for pack in packs}
    assert installed == set(PACKS) - {"custom_nodes.comfyui_a1111"}


def test_every_pack_has_its_licence_above_it() -> None:
    above: list[str] = []
    for line in PACK_FILE.splitlines():
        if line.startswith("https://"):
            assert re.search(r"Apache-2\.0|GPL-3\.0|MIT|BSD", " ".join(above)), line
            above = []
        else:
            above.append(line)


@pytest.mark.parametrize(
    "line",
    [
        "https://github.com/a/b main folder",
        "https://github.com/a/b 1ef34ef folder",
        f"http://github.com/a/b {'0' * 40} folder",
        f"https://github.com/a/b {'0' * 40}",
        f"https://github.com/a/b {'0' * 40} ../folder",
    ],
)
def test_lines_of_another_format_are_refused(line: str) -> None:
    with pytest.raises(PackFileError, match="line 2"):
        read(["# packs", line])


def test_a_folder_that_stands_twice_is_refused() -> None:
    line = f"https://github.com/a/b {'0' * 40} folder"
    with pytest.raises(PackFileError, match="twice"):
        read([line, line])


# --- start script ---------------------------------------------------------------------------------

_SPY = f"""#!/bin/sh
exec {sys.executable} -c '
import json, os, sys
print(json.dumps({{"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}}))
' "$@"
"""


class Started:
    """What the start script would have run."""

    def __init__(self, tmp_path: Path, *arguments: str, **environment: str) -> None:
        self.home = tmp_path / "ComfyUI"
        (self.home / "models").mkdir(parents=True, exist_ok=True)
        spy = tmp_path / "python"
        spy.write_text(_SPY)
        spy.chmod(0o755)
        done = subprocess.run(
            [str(ROOT / "docker" / "start.sh"), *arguments],
            env={
                "PATH": os.environ["PATH"],
                "COMFYUI_HOME": str(self.home),
                "WORKER_HOME": str(ROOT),
                "COMFYUI_PYTHON": str(spy),
                "MODELS_ROOT": str(tmp_path / "volume"),
                "STATE_DIR": str(tmp_path / "state"),
                **environment,
            },
            capture_output=True,
            text=True,
            check=True,
        )
        said: dict[str, Any] = json.loads(done.stdout)
        self.argv, self.cwd = said["argv"], said["cwd"]
        self.env: dict[str, str] = said["env"]
        self.errors = done.stderr
        self.model_paths = (tmp_path / "state" / "extra_model_paths.yaml").read_text("utf-8")


def volume(tmp_path: Path, *inside: str) -> Path:
    root = tmp_path.joinpath("volume", *inside)
    (root / "models" / "Stable-diffusion").mkdir(parents=True)
    return root


def test_the_worker_is_started_with_comfyui_as_its_own(tmp_path: Path) -> None:
    root = volume(tmp_path)
    started = Started(tmp_path, "--test_input", "{}")
    assert started.argv == ["-u", "handler.py", "--test_input", "{}"]
    assert Path(started.cwd) == ROOT
    command = started.env["COMFYUI_COMMAND"]
    assert "main.py --listen 127.0.0.1 --port 8188" in command
    assert f"--extra-model-paths-config {tmp_path}/state/extra_model_paths.yaml" in command
    assert started.env["COMFYUI_URL"] == "http://127.0.0.1:8188"
    assert started.env["COMFYUI_DIR"] == str(started.home)
    assert started.env["MODEL_ROOTS"] == str(root)
    assert started.errors == ""


def test_nothing_is_fetched_from_the_network(tmp_path: Path) -> None:
    volume(tmp_path)
    started = Started(tmp_path)
    assert started.env["HF_HUB_OFFLINE"] == started.env["TRANSFORMERS_OFFLINE"] == "1"
    assert started.env["AUX_ANNOTATOR_CKPTS_PATH"].startswith(str(tmp_path / "volume"))


def test_models_are_found_in_a1111s_layout(tmp_path: Path) -> None:
    root = volume(tmp_path)
    paths = folders(Started(tmp_path).model_paths)
    assert paths.pop("base_path") == [str(root)]
    assert paths["checkpoints"] == ["models/Stable-diffusion"]
    assert paths["embeddings"] == ["embeddings"]
    assert {"models/RealESRGAN", "models/ESRGAN"} <= set(paths["upscale_models"])
    for shared in ("controlnet", "instantid", "ipadapter"):
        assert "models/ControlNet" in paths[shared]
    assert "models/instantid" in paths["instantid"]
    assert {"models/Lora", "models/LyCORIS"} == set(paths["loras"])


def folders(text: str) -> dict[str, list[str]]:
    """The entries of an extra_model_paths.yaml: ``key: path`` or a block of paths."""
    entries: dict[str, list[str]] = {}
    key = ""
    for line in text.splitlines():
        found = re.fullmatch(r"  (\w+): *(.*)", line)
        if found:
            key = found[1]
            entries[key] = [] if found[2] == "|" else [found[2]]
        elif re.match(r" {4}\S", line):
            entries[key].append(line.strip())
    return entries


@pytest.mark.parametrize("inside", ["stable-diffusion-webui", "webui"])
def test_a_volume_with_a_whole_webui_works_as_it_is(tmp_path: Path, inside: str) -> None:
    root = volume(tmp_path, inside)
    (root / "styles.csv").write_text("name,prompt,negative_prompt\n")
    started = Started(tmp_path)
    assert started.env["MODEL_ROOTS"] == str(root)
    assert started.env["STYLES_FILE"] == str(root / "styles.csv")
    assert f"base_path: {root}\n" in started.model_paths


@pytest.mark.parametrize(
    "inside",
    ["models/insightface", "extensions/sd-webui-controlnet/annotator/downloads/insightface"],
)
def test_insightface_is_linked_to_where_its_packs_look(tmp_path: Path, inside: str) -> None:
    faces = volume(tmp_path) / inside
    faces.mkdir(parents=True)
    for _ in range(2):  # a second start finds the link
        started = Started(tmp_path)
        assert (started.home / "models" / "insightface").resolve() == faces


def test_a_missing_volume_is_said_and_no_obstacle(tmp_path: Path) -> None:
    started = Started(tmp_path)
    assert "is the network volume attached?" in started.errors
    assert "STYLES_FILE" not in started.env
    assert not (started.home / "models" / "insightface").exists()


def test_the_operators_own_settings_go_before(tmp_path: Path) -> None:
    volume(tmp_path)
    started = Started(
        tmp_path,
        COMFYUI_PORT="9000",
        COMFYUI_ARGS="--lowvram",
        MODEL_ROOTS="/other",
        HF_HUB_OFFLINE="0",
    )
    assert started.env["COMFYUI_URL"] == "http://127.0.0.1:9000"
    assert started.env["COMFYUI_COMMAND"].endswith("--lowvram")
    assert started.env["MODEL_ROOTS"] == "/other"
    assert started.env["HF_HUB_OFFLINE"] == "0"
