"""The doctor on an empty, a half and a full volume of stand-in files, beside a ComfyUI or alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from devserver import DevServer
from translator import Catalog
from translator.tables import read_table
from worker import __main__ as command_line
from worker.doctor.checks import Examination, examine
from worker.doctor.data import ModelFile, features, model_files, module_file_ids, users
from worker.doctor.links import link_all
from worker.doctor.report import as_json, as_text, in_few_lines
from worker.doctor.volume import find

NODES = Catalog.bundled().nodes.keys()
FACES = [file for file in model_files().values() if file.id.startswith("antelopev2/")]


def put(root: Path, files: Iterable[ModelFile], place: int = 0) -> None:
    """Stand-ins for files at their recommended place, or another."""
    for file in files:
        folder = file.places[min(place, len(file.places) - 1)]
        path = root / folder / file.name
        if file.is_snapshot:
            path = path / "snapshots" / "0123abcd" / "config.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"stand-in")


def states(examination: Examination) -> dict[str, str]:
    return {finding.feature.name: finding.state for finding in examination.findings}


# --- volumes --------------------------------------------------------------------------------------


def test_an_empty_volume_serves_what_needs_no_file(tmp_path: Path) -> None:
    found = examine([tmp_path], NODES)
    assert {name for name, state in states(found).items() if state == "ok"} == {
        "exact pictures (our node pack)"
    }
    assert not found.is_complete


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_full_volume_serves_everything_in_either_layout(tmp_path: Path, place: int) -> None:
    put(tmp_path, model_files().values(), place)
    found = examine([tmp_path], NODES)
    assert set(states(found).values()) == {"ok"}
    assert found.is_complete
    assert "everything is there" in as_text(found)


def test_a_half_volume_names_what_lacks_and_where_to_put_it(tmp_path: Path) -> None:
    instant_id = next(feature for feature in features() if feature.name == "InstantID")
    put(tmp_path, (model_files()[id] for id in instant_id.files if id not in FACES[0].id))
    found = examine([tmp_path], NODES)
    (finding,) = (item for item in found.findings if item.feature is instant_id)
    assert finding.missing_files == (FACES[0],)
    said = as_text(found)
    assert f"missing file  InstantID: {FACES[0].name}" in said
    assert f"{FACES[0].target}  about {FACES[0].mb} MB, {FACES[0].home}" in said


def test_each_feature_wants_its_own_files_and_no_others(tmp_path: Path) -> None:
    for number, feature in enumerate(features()):
        root = tmp_path / str(number)
        put(root, (model_files()[id] for id in feature.files))
        assert states(examine([root], NODES))[feature.name] == "ok"
        if feature.files:
            missing = examine([tmp_path / "none"], NODES).findings[number].missing_files
            assert tuple(file.id for file in missing) == feature.files


def test_several_roots_are_one_volume(tmp_path: Path) -> None:
    every = list(model_files().values())
    put(tmp_path / "a", every[::2])
    put(tmp_path / "b", every[1::2])
    assert examine([tmp_path / "a", tmp_path / "b"], NODES).is_complete


def test_names_that_serve_as_well_count_and_empty_files_do_not(tmp_path: Path) -> None:
    vision = model_files()["clip_vision H"]
    folder = tmp_path / vision.places[1]
    folder.mkdir(parents=True)
    (folder / "clip_h.pth").touch()
    assert find(vision, [tmp_path]) is None
    (folder / "clip_h.pth").write_bytes(b"weights")
    assert find(vision, [tmp_path]) == folder / "clip_h.pth"


def test_models_in_subfolders_are_found(tmp_path: Path) -> None:
    checkpoint = tmp_path / "models" / "Stable-diffusion" / "sdxl" / "mine.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"weights")
    assert find(model_files()["checkpoint"], [tmp_path]) == checkpoint


# --- ComfyUI --------------------------------------------------------------------------------------


def test_a_missing_pack_is_named_with_its_home(tmp_path: Path) -> None:
    put(tmp_path, model_files().values())
    nodes = {name for name in NODES if "InstantID" not in name}
    found = examine([tmp_path], nodes, "0.3.64")
    assert states(found)["InstantID"] == "missing pack"
    assert "ComfyUI_InstantID (github.com/cubiq)" in as_text(found)
    assert states(found)["restore_faces: GFPGAN"] == "ok"


def test_without_a_comfyui_only_files_are_looked_at(tmp_path: Path) -> None:
    put(tmp_path, model_files().values())
    found = examine([tmp_path])
    assert found.is_complete
    assert "nodes and packs were not looked at" in as_text(found)


# --- what is said ---------------------------------------------------------------------------------


def test_the_log_gets_few_lines_however_much_is_missing(tmp_path: Path) -> None:
    lines = in_few_lines(examine([tmp_path], NODES))
    assert 3 < len(lines) <= 13
    assert lines[0].startswith("doctor: 1 of ")
    assert lines[-1].endswith("python -m worker doctor lists them")
    put(tmp_path, model_files().values())
    assert len(in_few_lines(examine([tmp_path], NODES))) == 1


def test_json_has_every_feature_with_what_to_do(tmp_path: Path) -> None:
    told = json.loads(json.dumps(as_json(examine([tmp_path], NODES, "0.3.64"))))
    assert told["complete"] is False
    assert told["comfyui"] == "0.3.64"
    assert len(told["features"]) == len(features()) == sum(told["states"].values())
    wanted = {file["put_at"] for item in told["features"] for file in item["missing_files"]}
    assert wanted == {file.target for file in model_files().values() if users(file)}


def run(*arguments: str, **environment: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MODEL_ROOTS", "COMFYUI_URL"):
            patch.delenv(name, raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        return command_line.main(arguments)


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(tmp_path)
    assert run("doctor", "--url", "", "--root", root) == command_line.LACKING
    put(tmp_path, model_files().values())
    assert run("doctor", "--url", "", MODEL_ROOTS=root) == command_line.COMPLETE
    assert run("doctor", "--url", "") == command_line.CANNOT_LOOK
    assert "MODEL_ROOTS" in capsys.readouterr().err
    gone = str(tmp_path / "gone")
    assert run("doctor", "--url", "", "--root", gone) == command_line.CANNOT_LOOK


def test_the_command_asks_a_running_comfyui(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, model_files().values())
    with DevServer(missing=frozenset({"comfyui_controlnet_aux"})) as server:
        status = run("doctor", "--json", "--root", str(tmp_path), COMFYUI_URL=server.url)
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert status == command_line.LACKING
    assert told["comfyui"] == "0.3.64"
    lacking = {item["feature"] for item in told["features"] if item["state"] != "ok"}
    assert {"hed", "openpose", "mlsd"} <= lacking
    assert "txt2img, img2img" not in lacking


# --- links ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1])
def test_files_are_linked_to_where_their_readers_look(tmp_path: Path, place: int) -> None:
    volume, base = tmp_path / "volume", tmp_path / "base"
    put(volume, model_files().values(), place)
    linked = [file for file in model_files().values() if file.link]
    for _ in range(2):  # a second start replaces the links
        assert link_all([volume], base) == len(linked)
    for file in linked:
        found = base / str(file.link) / file.name
        assert found.is_symlink()
        assert found.resolve() == find(file, [volume])


def test_a_file_that_is_there_already_is_left_alone(tmp_path: Path) -> None:
    volume, base = tmp_path / "volume", tmp_path / "base"
    put(volume, [FACES[0]])
    own = base / str(FACES[0].link) / FACES[0].name
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    assert link_all([volume], base) == 0
    assert own.read_text() == "mine"


# --- data -----------------------------------------------------------------------------------------


def test_every_file_of_a_module_that_is_served_is_known() -> None:
    for name, row in read_table("modules")["modules"].items():
        for id in module_file_ids(row["files"]):
            assert id in model_files(), f"{name}: {id}"


def test_every_node_of_a_feature_is_one_of_a_bundled_comfyui() -> None:
    for feature in features():
        assert set(feature.nodes) <= NODES, feature.name


def test_every_file_has_a_use_a_size_and_a_home() -> None:
    for file in model_files().values():
        assert file.places, file.id
        assert file.mb > 0, file.id
        assert file.home, file.id
        assert users(file), file.id


async def test_as_a_job(worker: Any) -> None:
    answer = await worker.run({"api": {"method": "GET", "endpoint": "/worker/doctor"}})
    assert answer["comfyui"] == "0.3.64"
    assert {item["feature"] for item in answer["features"]} == {item.name for item in features()}
