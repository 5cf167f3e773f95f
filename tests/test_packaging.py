"""The image without Docker: every pin and path of the Dockerfile; the start script run for real."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tools.check_image import left_out, requirements, unmet
from tools.install_packs import PackFileError, read
from tools.lock import EXTRAS
from translator.comfy.catalog import NEWEST
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
    """The lock's packages; each line of it is a pin, a hash or a comment."""
    found = {}
    for line in (ROOT / "docker" / "requirements.lock").read_text("utf-8").splitlines():
        if line.startswith((" ", "#")):
            continue
        name, equal, version = line.removesuffix(" \\").partition("==")
        assert equal, f"{line}: not pinned"
        found[_canonical(name)] = Version(version.partition(" ;")[0])
    return found


def hashes() -> dict[str, int]:
    """How many hashes each package of the lock has."""
    found: dict[str, int] = {}
    for line in (ROOT / "docker" / "requirements.lock").read_text("utf-8").splitlines():
        if line[:1] not in (" ", "#", ""):
            name = line.partition("==")[0]
            found[name] = 0
        elif "--hash=sha256:" in line:
            found[name] += 1
    return found


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- Dockerfile -----------------------------------------------------------------------------------


def test_base_image_and_comfyui_are_pinned() -> None:
    bases = {base.partition(" AS ")[0] for base in instructions("FROM")}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", bases.pop())
    (commit,) = [text for text in instructions("ARG") if text.startswith("COMFYUI_COMMIT=")]
    assert COMMIT.fullmatch(commit.partition("=")[2])
    assert not re.search(r"git clone|:latest|--branch", DOCKERFILE)


def test_everything_that_is_copied_is_there() -> None:
    for arguments in instructions("COPY"):
        *sources, target = arguments.split()
        assert sources
        assert target.startswith("/opt/")
        if not sources[0].startswith("--from="):
            for source in sources:
                assert (ROOT / source).exists(), source


def test_what_is_copied_is_let_in_by_dockerignore_and_nothing_else() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        word
        for arguments in instructions("COPY")
        for word in arguments.split()[:-1]
        if not arguments.startswith("--from=")
    }
    assert {source for source in copied if not source.startswith("docker")} | {"docker"} == let_in


def test_the_development_server_is_not_in_the_image() -> None:
    assert "devserver" not in DOCKERFILE


def test_the_image_runs_as_no_root_and_says_how_it_is() -> None:
    assert instructions("USER") == ["worker"]
    (check,) = instructions("HEALTHCHECK")
    assert "/opt/worker/docker/healthcheck.py" in check
    assert (ROOT / "docker" / "healthcheck.py").is_file()
    (label,) = instructions("LABEL")
    assert f'image.version="{PROJECT["version"]}"' in label
    assert f'comfyui.version="{NEWEST}"' in label


def test_every_python_package_of_ours_is_copied() -> None:
    copied = {word for arguments in instructions("COPY") for word in arguments.split()[:-1]}
    assert {"translator", "worker", "handler.py", "pyproject.toml", "workflows"} <= copied
    assert "custom_nodes/comfyui_a1111" in copied


def test_nothing_is_installed_but_the_lock_with_its_hashes() -> None:
    installs = re.findall(r"pip install[^&|]*", DOCKERFILE.replace("\\\n", " "))
    (tool, lock) = installs
    assert "uv==" in tool
    assert {"--no-deps", "--require-hashes"} <= set(lock.split())


def test_the_image_starts_by_the_start_script() -> None:
    (command,) = instructions("CMD")
    (script,) = json.loads(command)
    assert script == "/opt/worker/docker/start.sh"
    assert os.access(ROOT / "docker" / "start.sh", os.X_OK)


# --- pins -----------------------------------------------------------------------------------------


def test_every_dependency_of_ours_is_pinned_within_its_bounds() -> None:
    extras = PROJECT["optional-dependencies"]
    wanted = PROJECT["dependencies"] + [item for name in EXTRAS for item in extras[name]]
    overrides = (ROOT / "docker" / "overrides.txt").read_text("utf-8")
    for requirement in map(Requirement, wanted):
        if _canonical(requirement.name) in left_out(overrides):
            continue  # another package brings the same module
        version = pins()[_canonical(requirement.name)]
        assert version in requirement.specifier, f"{requirement} and {version}"


@pytest.mark.parametrize("name", ["torch", "torchvision", "torchaudio", "numpy", "insightface"])
def test_what_the_packs_pull_each_their_way_is_pinned(name: str) -> None:
    assert name in pins()


def test_every_package_of_the_lock_has_hashes() -> None:
    assert set(hashes()) == set(pins())
    assert min(hashes().values()) > 0


def test_modules_that_several_packages_bring_come_from_one() -> None:
    assert [name for name in pins() if name.startswith("onnxruntime")] == ["onnxruntime-gpu"]
    assert [name for name in pins() if name.startswith("opencv")] == [
        "opencv-contrib-python-headless"
    ]


@pytest.mark.parametrize("name", ["facexlib", "spandrel", "spandrel-extra-arches", "mediapipe"])
def test_what_face_restoration_and_mediapipe_modules_import_is_there(name: str) -> None:
    assert name in pins()


def test_requirements_that_are_not_met_are_named() -> None:
    text = """# packs
pytest>=1
packaging<1  # too old
no-such-package-at-all
opencv-python
numpy ; python_version < '3'
"""
    without = left_out("opencv-python ; sys_platform == 'never'\nnumpy >=2")
    assert without == {"opencv-python"}
    packaging = metadata.version("packaging")
    assert list(unmet(requirements(text), without)) == [
        f"packaging<1: {packaging} is installed",
        "no-such-package-at-all: not installed",
    ]


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


def test_what_the_image_runs_is_compiled_in_it() -> None:
    """The container writes no bytecode, and would compile a megabyte of source at every start."""
    _, image = (ROOT / "Dockerfile").read_text("utf-8").split("AS image")
    copied = image.rindex("COPY translator /opt/worker/translator")
    assert image.index("compileall -q /opt/worker") > copied


# --- start script ---------------------------------------------------------------------------------

_SPY = f"""#!/bin/sh
case "$1 $2" in "-m worker") exec {sys.executable} "$@" ;; esac
exec {sys.executable} -c '
import json, os, sys
print(json.dumps({{"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}}))
' "$@"
"""


CLI_ARGUMENTS = 'add("--cache-classic")'


class Started:
    """What the start script would have run."""

    def __init__(self, tmp_path: Path, *arguments: str, **environment: str) -> None:
        self.home = tmp_path / "ComfyUI"
        (self.home / "custom_nodes").mkdir(parents=True, exist_ok=True)
        (self.home / "comfy").mkdir(exist_ok=True)
        (self.home / "comfy" / "cli_args.py").write_text(CLI_ARGUMENTS)
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
        self.base = tmp_path / "state" / "comfyui"
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


def test_the_start_is_told_step_by_step_with_seconds(tmp_path: Path) -> None:
    root = volume(tmp_path)
    said = Started(tmp_path).errors.splitlines()
    steps = [line for line in said if line.startswith("start.sh: ")]
    assert all(re.match(r"start\.sh: \d+s: ", line) for line in steps)
    assert [line.split("s: ", 1)[1].split()[0] for line in steps] == [
        "models",
        "linking",
        "starting",
    ]
    assert str(root) in steps[0]
    assert "0 files of the volume linked" in said


def test_flags_that_a_version_does_not_know_are_left_out(tmp_path: Path) -> None:
    volume(tmp_path)
    command = Started(tmp_path).env["COMFYUI_COMMAND"].split()
    assert "--cache-classic" in command
    assert "--disable-dynamic-vram" not in command


def test_all_that_is_written_lies_below_one_folder(tmp_path: Path) -> None:
    volume(tmp_path)
    started = Started(tmp_path)
    state = str(tmp_path / "state")
    written = ("HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "COMFYUI_INPUT_DIR")
    assert all(started.env[name].startswith(state) for name in written)
    assert f"--base-directory {started.base}" in started.env["COMFYUI_COMMAND"]
    assert (started.base / "custom_nodes").resolve() == started.home / "custom_nodes"


def test_nothing_is_fetched_from_the_network(tmp_path: Path) -> None:
    volume(tmp_path)
    started = Started(tmp_path)
    assert started.env["HF_HUB_OFFLINE"] == started.env["TRANSFORMERS_OFFLINE"] == "1"
    assert started.env["AUX_ANNOTATOR_CKPTS_PATH"] == str(started.base / "annotators")
    assert started.env["HF_HUB_CACHE"].startswith(str(tmp_path / "volume"))


def test_models_are_found_in_a1111s_layout(tmp_path: Path) -> None:
    root = volume(tmp_path)
    paths = folders(Started(tmp_path).model_paths)
    assert paths.pop("base_path") == [str(root)]
    assert paths["checkpoints"] == ["models/Stable-diffusion", "models/checkpoints"]
    assert paths["embeddings"][0] == "embeddings"
    assert {"models/RealESRGAN", "models/ESRGAN"} <= set(paths["upscale_models"])
    for shared in ("controlnet", "instantid", "ipadapter"):
        assert "models/ControlNet" in paths[shared]
    assert "models/instantid" in paths["instantid"]
    assert {"models/Lora", "models/LyCORIS", "models/loras"} == set(paths["loras"])
    assert {"models/Codeformer", "models/GFPGAN"} <= set(paths["facerestore_models"])
    assert paths["adetailer"] == ["models/adetailer"]


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
    wildcards = root / "extensions" / "sd-dynamic-prompts" / "wildcards"
    wildcards.mkdir(parents=True)
    started = Started(tmp_path)
    assert started.env["WILDCARDS_DIR"] == str(wildcards)
    assert started.env["MODEL_ROOTS"] == str(root)
    assert started.env["STYLES_FILE"] == str(root / "styles.csv")
    assert f"base_path: {root}\n" in started.model_paths


@pytest.mark.parametrize(
    ("there", "link"),
    [
        (
            "models/insightface/models/antelopev2/glintr100.onnx",
            "models/insightface/models/antelopev2/glintr100.onnx",
        ),
        (
            "extensions/sd-webui-controlnet/annotator/downloads/hed/ControlNetHED.pth",
            "annotators/lllyasviel/Annotators/ControlNetHED.pth",
        ),
        (
            "models/Codeformer/codeformer-v0.1.0.pth",
            "models/facerestore_models/codeformer-v0.1.0.pth",
        ),
        (
            "models/GFPGAN/detection_Resnet50_Final.pth",
            "models/facedetection/detection_Resnet50_Final.pth",
        ),
    ],
)
def test_weights_are_linked_to_where_their_readers_look(
    tmp_path: Path, there: str, link: str
) -> None:
    file = volume(tmp_path) / there
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("weights")
    for _ in range(2):  # a second start finds the link
        started = Started(tmp_path)
        assert "1 files of the volume linked" in started.errors
        assert (started.base / link).resolve() == file


def test_a_missing_volume_is_said_and_no_obstacle(tmp_path: Path) -> None:
    started = Started(tmp_path)
    assert "is the network volume attached?" in started.errors
    assert "STYLES_FILE" not in started.env
    assert "0 files of the volume linked" in started.errors


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
