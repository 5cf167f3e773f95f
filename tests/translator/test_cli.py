"""``python -m translator``: what it reads, what it prints, and how it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import (
    BaseHTTPRequestHandler,
    HTTPServer,
    SimpleHTTPRequestHandler,
    ThreadingHTTPServer,
)
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import urlopen

import pytest

from devserver import DevServer
from tests.corpus import ROOT
from translator.__main__ import BAD_REQUEST, main

PAYLOAD: dict[str, Any] = {"prompt": "a café", "seed": 1, "steps": 3}
API = {"method": "POST", "endpoint": "/sdapi/v1/txt2img"}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Writes a document as JSON (a text as it is) and gives the file's name."""

    def write_file(document: Any, name: str = "request.json") -> str:
        file = tmp_path / name
        file.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
        return str(file)

    return write_file


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command line: exit code, stdout, lines of stderr."""

    def run_main(*arguments: str) -> tuple[int, str, list[str]]:
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines()

    return run_main


def classes(graph: dict[str, Any]) -> set[str]:
    return {node["class_type"] for node in graph.values()}


@pytest.mark.parametrize(
    "request_document",
    [
        PAYLOAD,
        {"api": API, "payload": PAYLOAD},
        {"input": {"api": API, "payload": PAYLOAD}},
        {"id": "job-1", "input": {"payload": PAYLOAD}, "webhook": "https://example.com"},
        {"input": PAYLOAD},
    ],
)
def test_stdout_holds_the_graph_alone_whatever_form_the_request_has(
    write: Any, run: Any, request_document: Any
) -> None:
    code, out, err = run(write(request_document))
    assert code == 0
    graph = json.loads(out)
    assert {"KSampler", "A1111Sampler"} & classes(graph)
    assert all(line.startswith("warning: ") for line in err)
    assert err


def test_full_prints_the_six_members(write: Any, run: Any) -> None:
    _, out, err = run(write(PAYLOAD), "--full")
    full = json.loads(out)
    assert list(full) == ["graph", "outputs", "uploads", "info", "parameters", "warnings"]
    assert [f"warning: {text}" for text in full["warnings"]] == err
    assert full["info"]["prompt"] == "a café"
    assert full["parameters"]["steps"] == 3


def test_a_random_seed_is_drawn_anew(write: Any, run: Any) -> None:
    request = write({"prompt": "a"})
    seeds = {json.loads(run(request, "--full")[1])["info"]["seed"] for _ in range(3)}
    assert len(seeds) == 3


def test_bad_requests_exit_2_with_one_problem_a_line(write: Any, run: Any) -> None:
    unit = {"image": "%%%", "module": "canny", "model": "m", "weight": 9}
    payload = {"sampler_name": "x", "alwayson_scripts": {"controlnet": {"args": [unit]}}}
    code, out, err = run(write({"input": {"payload": payload}}))
    assert code == BAD_REQUEST == 2
    assert out == ""
    assert [line.split(":")[0] for line in err] == [
        "alwayson_scripts.controlnet.args[0].weight",
        "alwayson_scripts.controlnet.args[0].image",
        "sampler_name",
    ]


def test_options_of_flags_go_before_those_of_the_request(write: Any, run: Any) -> None:
    payload = {**PAYLOAD, "sampler_name": "nonsense"}
    requested = {"unsupported": "warn", "fidelity": "core"}
    request = write({"input": {"payload": payload, "options": requested}})
    code, out, _ = run(request)
    assert (code, "KSampler" in classes(json.loads(out))) == (0, True)
    assert run(request, "--unsupported", "error")[0] == BAD_REQUEST
    exact = json.loads(run(request, "--fidelity", "exact")[1])
    assert "A1111Sampler" in classes(exact)


def test_further_flags(write: Any, run: Any) -> None:
    styles = write("name,prompt,negative_prompt\nWarm,warm light,", "styles.csv")
    settings = write({"CLIP_stop_at_last_layers": 2, "no_such_option": 1}, "config.json")
    request = write({"prompt": "a", "seed": 1, "styles": ["Warm"]})
    flags = ["--styles", styles, "--settings", settings, "--default-checkpoint", "mine.ckpt"]
    _, out, err = run(request, "--full", *flags, "--defaults", "runpod-worker-a1111")
    full = json.loads(out)
    assert full["info"]["prompt"] == "a, warm light"
    assert full["info"]["clip_skip"] == 2
    assert full["info"]["sampler_name"] == "Euler a"
    assert full["info"]["sd_model_name"] == "mine"
    assert any("no_such_option" in line for line in err)


def test_endpoint_of_the_flag_of_the_job_or_txt2img(write: Any, run: Any) -> None:
    job = {"input": {"api": {"endpoint": "/sdapi/v1/nonsense"}, "payload": PAYLOAD}}
    code, _, err = run(write(job))
    assert (code, err[0].split(":")[0]) == (BAD_REQUEST, "api.endpoint")
    assert run(write(job), "--endpoint", "sdapi/v1/txt2img")[0] == 0


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ("{not json", "request"),
        ({"input": {"payload": PAYLOAD, "options": "warn"}}, "options"),
        ({"input": {"payload": PAYLOAD, "options": {"draw_seed": 5}}}, "options.draw_seed"),
        ({"input": {"payload": PAYLOAD, "options": {"fidelity": "best"}}}, "options.fidelity"),
        ([PAYLOAD], "the payload is"),
        ({"input": None}, "the payload is"),
    ],
)
def test_what_cannot_be_read_exits_2(write: Any, run: Any, document: Any, path: str) -> None:
    code, out, err = run(write(document))
    assert (code, out) == (BAD_REQUEST, "")
    assert len(err) == 1
    assert err[0].startswith(path)


@pytest.mark.parametrize(
    ("flag", "content"),
    [
        ("--object-info", "[]"),
        ("--object-info", '{"KSampler": 5}'),
        ("--object-info", '{"KSampler": {}}'),
        ("--settings", "[1]"),
        ("--styles", "a,b\n1,2"),
        ("--object-info", None),
    ],
)
def test_bad_files_exit_2_and_name_the_flag(write: Any, run: Any, flag: str, content: Any) -> None:
    file = write(content, "file") if content else "/no/such/file"
    code, out, err = run(write(PAYLOAD), flag, file)
    assert (code, out) == (BAD_REQUEST, "")
    assert err[0].startswith(f"{flag}: {file} cannot be read: ")


def test_object_info_closes_the_lists_of_files(write: Any, run: Any) -> None:
    loader = {
        "input": {"required": {"ckpt_name": [["only.safetensors"]]}},
        "output": ["MODEL", "CLIP", "VAE"],
    }
    info = write({"CheckpointLoaderSimple": loader}, "object_info.json")
    request = write({**PAYLOAD, "override_settings": {"sd_model_checkpoint": "other"}})
    code, _, err = run(request, "--object-info", info)
    assert code == BAD_REQUEST
    assert err[0].startswith('override_settings.sd_model_checkpoint: no checkpoint "other"')


def test_object_info_of_a_running_server(write: Any, run: Any) -> None:
    with DevServer() as server:
        for url in (server.url, f"{server.url}/object_info", f"{server.url}/"):
            code, out, err = run(write(PAYLOAD), "--object-info", url)
            assert code == 0, err
            assert "A1111Sampler" in classes(json.loads(out))
        assert not any("names of models were not checked" in line for line in err)


def test_a_server_that_is_not_there_exits_2(write: Any, run: Any) -> None:
    code, _, err = run(write(PAYLOAD), "--object-info", "http://127.0.0.1:9")
    assert code == BAD_REQUEST
    assert err[0].startswith("--object-info: http://127.0.0.1:9/object_info cannot be read")


class _QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Keep the command's stderr clean."""


def test_object_info_may_lie_on_any_web_server(write: Any, run: Any, tmp_path: Path) -> None:
    """Only a ComfyUI has the list of embeddings beside it."""
    with DevServer() as server:
        (tmp_path / "object_info").write_bytes(urlopen(f"{server.url}/object_info").read())
    (tmp_path / "info.json").write_bytes((tmp_path / "object_info").read_bytes())
    files = partial(_QuietFiles, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), files) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        told = {
            name: run(
                write(PAYLOAD), "--object-info", f"http://127.0.0.1:{server.server_port}/{name}"
            )
            for name in ("info.json", "object_info")
        }
        server.shutdown()
    assert [code for code, _, _ in told.values()] == [0, 0]
    assert not any("embeddings" in line for line in told["info.json"][2])
    assert told["object_info"][2][0].startswith("warning: no embeddings are known: ")


def test_a_workflow_is_no_request_to_translate(write: Any, run: Any) -> None:
    code, out, err = run(write({"input": {"workflow": {"1": {}}}}))
    assert (code, out) == (BAD_REQUEST, "")
    assert err[0].startswith("workflow: ")


class _Junk(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def junk() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Junk)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_address_that_is_no_comfyui_exits_2(write: Any, run: Any, junk: str) -> None:
    code, _, err = run(write(PAYLOAD), "--object-info", junk)
    assert code == BAD_REQUEST
    assert "is not JSON" in err[0]


def test_as_a_process_with_stdin_and_any_text() -> None:
    """Through the real interpreter: a lone surrogate could be neither printed nor encoded."""
    request = '{"prompt": "桜", "\\ud800": 1, "seed": 1, "steps": 2}'
    done = subprocess.run(
        [sys.executable, "-m", "translator", "-", "--full"],
        input=request,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert done.returncode == BAD_REQUEST
    assert "half a character" in done.stderr


def test_unknown_flags_exit_2_as_argparse_has_it(write: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        main([write(PAYLOAD), "--unsupported", "maybe"])
    assert caught.value.code == 2


def test_capture_writes_the_signatures_of_a_server(run: Any, tmp_path: Path) -> None:
    with DevServer() as server:
        code, out, _ = run("capture", "--url", server.url)
        file = tmp_path / "signatures.json"
        assert run("capture", "--url", f"{server.url}/", "--out", str(file), "--packs")[0] == 0
    assert code == 0
    everything, core = json.loads(out)["nodes"], json.loads(file.read_text("utf-8"))["nodes"]
    assert "A1111Sampler" in everything
    assert "KSampler" in core
    assert "A1111Sampler" not in core


def test_explain_tells_passes_groups_and_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "request.json"
    file.write_text(
        json.dumps(
            {"prompt": "a cat", "seed": 5, "steps": 7, "enable_hr": True, "denoising_strength": 0.5}
        )
    )
    assert main([str(file), "--explain"]) == 0
    told = capsys.readouterr().out
    for text in ("Generation with our node pack: seed 5", "first pass: 512x512, 7 steps of"):
        assert text in told
    for title in ("Models", "Prompts", "First pass", "Hires pass", "Output", "Warnings"):
        assert f"\n{title}\n" in told


def test_html_is_written_of_refused_requests_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request, page = tmp_path / "request.json", tmp_path / "page.html"
    request.write_text(json.dumps({"prompt": "a cat", "steps": "many"}))
    assert main([str(request), "--html", str(page)]) == BAD_REQUEST
    assert "is not a whole number" in page.read_text("utf-8")
    assert main([str(request), "--html", str(tmp_path / "none" / "page.html")]) == BAD_REQUEST
    assert "--html: " in capsys.readouterr().err
