"""The traits of HTTP that A1111's clients rely on."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any

import pytest
import requests

from devserver import DevServer
from server.exchange import WARNINGS_HEADER, header_of
from server.flags import parse, settings_of
from tests.server.conftest import SMALL, Running, local
from tests.translator.beyond import a1111s_own
from tests.translator.lists.test_a1111 import recorded
from tests.worker.graphs import opened, picture


def test_txt2img_has_a1111s_members_and_nothing_else(server: Running) -> None:
    reply = server.post("sdapi/v1/txt2img", SMALL)
    assert reply.status_code == 200
    answer = reply.json()
    assert list(answer) == ["images", "parameters", "info"]
    assert opened(answer["images"][0]).size == (64, 64)
    assert json.loads(answer["info"])["seed"] == 7
    assert float(reply.headers["X-Process-Time"]) > 0


@pytest.mark.parametrize(
    "path", ["sdapi/v1/txt2img/", "/sdapi/v1/txt2img", "sdapi//v1/txt2img", "sub/sdapi/v1/txt2img"]
)
def test_slashes_and_the_subpath_do_not_matter(serve: Any, comfyui: DevServer, path: str) -> None:
    server = serve(local(comfyui.url), subpath="sub")
    reply = requests.post(f"{server.url}/{path}", json=SMALL, timeout=20)
    assert reply.status_code == 200
    assert not reply.history, "clients need not follow a redirect"


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_json_needs_no_content_type(server: Running, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    reply = requests.post(
        f"{server.url}/sdapi/v1/txt2img", data=json.dumps(SMALL), headers=headers, timeout=20
    )
    assert reply.status_code == 200


@pytest.mark.parametrize(
    ("body", "loc", "kind"),
    [
        (b"", ["body"], "value_error.missing"),
        (b"{broken", ["body", 1], "value_error.jsondecode"),
        (b"[1]", ["body"], "type_error.dict"),
        (b"null", ["body"], "type_error.dict"),
    ],
)
def test_a_bad_body_is_refused_as_fastapi_does(
    server: Running, body: bytes, loc: list[Any], kind: str
) -> None:
    reply = requests.post(f"{server.url}/sdapi/v1/txt2img", data=body, timeout=20)
    assert reply.status_code == 422
    (problem,) = reply.json()["detail"]
    assert problem["loc"] == loc
    assert problem["type"] == kind
    assert set(problem) == {"loc", "msg", "type"}


def test_a_wrong_field_is_named_by_its_place(server: Running) -> None:
    reply = server.post("sdapi/v1/txt2img", {**SMALL, "steps": "many", "width": []})
    assert reply.status_code == 422
    assert {tuple(item["loc"]) for item in reply.json()["detail"]} == {
        ("body", "steps"),
        ("body", "width"),
    }
    assert "steps" in reply.headers[WARNINGS_HEADER]


@pytest.mark.parametrize(
    ("fields", "status", "detail"),
    [
        ({"script_name": "nope"}, 422, "Script 'nope' not found"),
        (
            {"alwayson_scripts": {"X/Y/Z plot": {"args": []}}},
            422,
            "Cannot have a selectable script in the always on scripts params",
        ),
    ],
)
def test_unknown_scripts_fail_with_a1111s_text(
    server: Running, fields: dict[str, Any], status: int, detail: str
) -> None:
    reply = server.post("sdapi/v1/txt2img", {**SMALL, **fields})
    assert reply.status_code == status
    body = reply.json()
    assert detail in body["detail"]
    assert {key: body[key] for key in ("error", "body", "errors")} == {
        "error": "HTTPException",
        "body": "",
        "errors": "",
    }


def test_what_a1111_paints_is_painted_with_a_warning(server: Running) -> None:
    reply = server.post(
        "sdapi/v1/txt2img", {**SMALL, "sampler_name": "Nope", "prompt": "a cat <lora:missing:1>"}
    )
    assert reply.status_code == 200
    notes = json.loads(reply.headers[WARNINGS_HEADER])
    assert any("Nope" in note for note in notes)
    assert any("missing" in note for note in notes)
    assert "warnings" not in reply.json()


def test_warnings_in_the_header_are_bounded_and_plain_ascii() -> None:
    text = header_of([f"{number} ü " + "x" * 200 for number in range(100)])
    assert len(text) <= 6000
    assert text.isascii()
    assert json.loads(text)[-1].endswith("more, see the server's log")
    assert len(header_of(["x" * 100_000])) < 6000


def test_routes_that_are_not_there(server: Running) -> None:
    for path in ("nope", "sdapi/v1/nope", "sdapi/v1/server-stop", "user"):
        reply = server.post(path, {})
        assert (reply.status_code, reply.json()) == (404, {"detail": "Not Found"}), path
    reply = server.get("sdapi/v1/txt2img")
    assert (reply.status_code, reply.json()) == (405, {"detail": "Method Not Allowed"})


def test_methods_that_a_path_does_not_take(server: Running) -> None:
    for ask in (requests.head, requests.options, requests.put, requests.delete):
        reply = ask(f"{server.url}/sdapi/v1/samplers", timeout=20)
        assert (reply.status_code, reply.headers["Allow"]) == (405, "GET"), ask


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16", "utf-32"])
def test_json_in_any_of_its_codings(server: Running, coding: str) -> None:
    body = json.dumps({**SMALL, "prompt": "ein Kätzchen"}, ensure_ascii=False).encode(coding)
    reply = requests.post(f"{server.url}/sdapi/v1/txt2img", data=body, timeout=20)
    assert json.loads(reply.json()["info"])["prompt"] == "ein Kätzchen"


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("sdapi/v1/progress", "skip_current_image"),
        ("controlnet/module_list", "alias_names"),
        ("controlnet/model_list", "update"),
    ],
)
def test_a_switch_that_is_neither_true_nor_false(
    server: Running, path: str, parameter: str
) -> None:
    reply = server.get(f"{path}?{parameter}=maybe")
    assert reply.status_code == 422
    assert reply.json()["detail"] == [
        {
            "loc": ["query", parameter],
            "msg": "value could not be parsed to a boolean",
            "type": "type_error.bool",
        }
    ]
    for value in ("1", "True", "no", "off"):
        assert server.get(f"{path}?{parameter}={value}").status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("img2img", {}, 404, "Init image not found"),
        ("img2img", {"init_images": ["zz"]}, 500, "Invalid encoded image"),
        ("png-info", {"image": "zz"}, 500, "Invalid encoded image"),
        ("extra-single-image", {"image": ""}, 500, "Invalid encoded image"),
        ("png-info", {}, 422, [{"loc": ["body", "image"], "msg": "field required",
                                "type": "value_error.missing"}]),
    ],
)  # fmt: skip
def test_a_picture_that_is_missing_or_none(
    server: Running, path: str, body: Any, status: int, told: Any
) -> None:
    reply = server.post(f"sdapi/v1/{path}", body)
    assert (reply.status_code, reply.json()["detail"]) == (status, told)


def test_a_client_that_hangs_up_in_its_body_harms_nobody(server: Running) -> None:
    head = b"POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n{"
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(head)
    assert server.generate()["images"]


def test_many_poll_while_pictures_are_made(slow: Running) -> None:
    request = slow.in_background(steps=40, n_iter=2, force_task_id="polled")
    statuses: list[int] = []

    def poll() -> None:
        while not request.is_done:
            statuses.append(slow.get("sdapi/v1/progress").status_code)
            told = slow.post("internal/progress", {"id_task": "polled"})
            statuses.append(told.status_code)

    threads = [threading.Thread(target=poll) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert request.reply().status_code == 200
    assert len(statuses) > 100
    assert set(statuses) == {200}


def test_what_cannot_be_done_says_why_in_a1111s_shape(server: Running) -> None:
    reply = server.post("sdapi/v1/interrogate", {"image": picture(), "model": "clip"})
    assert reply.status_code == 500
    assert {"error", "detail", "body", "errors"} == set(reply.json())
    assert "BLIP" in reply.headers[WARNINGS_HEADER]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("sdapi/v1/interrupt", {}),
        ("sdapi/v1/skip", None),
        ("sdapi/v1/refresh-checkpoints", None),
        ("sdapi/v1/refresh-loras", None),
        ("sdapi/v1/unload-checkpoint", {}),
        ("sdapi/v1/reload-checkpoint", {}),
    ],
)
def test_actions_answer_null_and_empty_objects_bare(server: Running, path: str, body: Any) -> None:
    reply = requests.post(f"{server.url}/{path}", timeout=20)
    assert reply.status_code == 200
    assert reply.json() == body
    assert server.post(path, {}).json() == body


@pytest.mark.parametrize("route", ["samplers", "schedulers", "latent-upscale-modes", "progress"])
def test_lists_are_as_recorded_from_a1111(server: Running, route: str) -> None:
    assert a1111s_own(server.get(f"sdapi/v1/{route}").json()) == recorded()[route]


def test_poses_are_drawn_from_a_body_that_is_a_list(server: Running) -> None:
    path = "controlnet/render_openpose_json"
    person = {"pose_keypoints_2d": [0.5, 0.5, 1] * 18}
    pose = {"people": [person], "canvas_width": 64, "canvas_height": 32}
    answer = server.post(path, [pose, pose]).json()
    assert answer["info"] == "Success"
    assert [opened(image).size for image in answer["images"]] == [(64, 32)] * 2
    for nothing in (server.post(path), server.post(path, [])):
        assert nothing.json() == {"info": "No pose data detected."}
    wrong = server.post(path, [{"foo": 1}])
    assert wrong.status_code == 422
    assert wrong.json()["detail"][0]["loc"] == ["body", 0, "people"]
    short = server.post(path, [{**pose, "people": [{"pose_keypoints_2d": [1, 1, 1]}]}])
    assert (short.status_code, short.json()["error"]) == (500, "IndexError")


def test_large_bodies_and_answers(server: Running) -> None:
    filler = "x" * 30_000_000
    reply = server.post("sdapi/v1/txt2img", {**SMALL, "alwayson_scripts": {}, "filler": filler})
    assert reply.status_code == 200
    plain = requests.get(
        f"{server.url}/sdapi/v1/options", headers={"Accept-Encoding": "identity"}, timeout=20
    )
    packed = server.get("sdapi/v1/options")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.json() == plain.json()


def test_a_browser_may_ask_from_an_allowed_origin(serve: Any, comfyui: DevServer) -> None:
    server = serve(local(comfyui.url), cors_origins=("http://ok.example",), auth={"a": "b"})
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-a"}
    for origin, allowed in (("http://ok.example", True), ("http://no.example", False)):
        headers = {**asked, "Origin": origin}
        reply = requests.options(f"{server.url}/sdapi/v1/txt2img", headers=headers, timeout=20)
        assert (reply.headers.get("Access-Control-Allow-Origin") == origin) == allowed


def test_basic_authentication(serve: Any, comfyui: DevServer) -> None:
    server = serve(local(comfyui.url), auth={"user": "pass:word", "other": "x"})
    reply = server.get("sdapi/v1/options")
    assert reply.status_code == 401
    assert reply.headers["WWW-Authenticate"] == "Basic"
    for user in (("user", "wrong"), ("nobody", ""), ("other", "pass:word")):
        reply = server.get("sdapi/v1/options", auth=user)
        assert (reply.status_code, reply.json()) == (
            401,
            {
                "error": "HTTPException",
                "detail": "Incorrect username or password",
                "body": "",
                "errors": "",
            },
        )
    assert server.get("sdapi/v1/options", auth=("user", "pass:word")).status_code == 200
    assert server.get("controlnet/version").status_code == 401
    assert server.get("internal/ping").status_code == 200


def test_the_documentation_is_made_from_our_schemas(server: Running) -> None:
    document = server.get("openapi.json").json()
    fields = document["components"]["schemas"]["StableDiffusionProcessingTxt2Img"]["properties"]
    assert {"prompt", "enable_hr", "alwayson_scripts", "force_task_id"} <= set(fields)
    assert "/sdapi/v1/progress" in document["paths"]
    page = server.get("docs")
    assert page.status_code == 200
    assert "/openapi.json" in page.text


def test_what_clients_probe_is_there(server: Running) -> None:
    assert server.get("internal/ping").json() == {}
    assert server.get("").status_code == 200
    assert "components" in server.get("config").json()
    deadline = time.monotonic() + 10
    while server.get("ping").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ping_tells_that_comfyui_is_away(serve: Any) -> None:
    server = serve(local("http://127.0.0.1:9"))
    assert server.get("ping").status_code == 204
    assert server.get("sdapi/v1/samplers").status_code == 200


def test_the_api_ends_the_server_where_it_may(serve: Any, comfyui: DevServer) -> None:
    server = serve(local(comfyui.url), server_stop=True)
    assert server.post("sdapi/v1/server-stop").status_code == 200
    server._thread.join(10)
    assert not server._thread.is_alive()


def test_twenty_clients_at_once_lose_nothing(server: Running) -> None:
    replies: dict[int, Any] = {}

    def ask(seed: int) -> None:
        replies[seed] = server.generate(seed=seed)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(replies) == list(range(20))
    assert all(json.loads(answer["info"])["seed"] == seed for seed, answer in replies.items())


@pytest.mark.parametrize(
    ("arguments", "environment", "wanted"),
    [
        ([], {}, {"host": "127.0.0.1", "port": 7860}),
        (["--listen", "--port", "9"], {}, {"host": "0.0.0.0", "port": 9}),
        ([], {"PORT": "80"}, {"host": "0.0.0.0", "port": 80}),
        ([], {"API_AUTH": "a:b,c:d:e"}, {"auth": {"a": "b", "c": "d:e"}}),
        ([], {"LISTEN": "1", "SUBPATH": "/sd/"}, {"host": "0.0.0.0", "subpath": "sd"}),
        (["--backend", "http://a:1, http://b:2"], {}, {"backends": ("http://a:1", "http://b:2")}),
        (
            ["--backend", "runpod"],
            {"RUNPOD_ENDPOINT_ID": "x", "RUNPOD_API_KEY": "k"},
            {"runpod_endpoint": "x", "runpod_key": "k", "backends": ()},
        ),
    ],
)
def test_flags_come_from_the_command_line_and_the_environment(
    arguments: list[str], environment: dict[str, str], wanted: dict[str, Any]
) -> None:
    flags = parse(arguments, environment)
    assert {name: getattr(flags, name) for name in wanted} == wanted
    assert "'k'" not in repr(flags)


@pytest.mark.parametrize(
    "arguments", [["--api-auth", "nobody"], ["--port", "x"], ["--backend", "runpod"], ["--nope"]]
)
def test_flags_that_make_no_sense_end_with_a_message(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(arguments, {})
    assert arguments[0].lstrip("-") in capsys.readouterr().err


def test_the_profile_is_lenient_and_gives_way_to_the_environment() -> None:
    flags = parse([], {})
    assert settings_of(flags, {}).unsupported == "warn"
    assert settings_of(flags, {}).detected_maps == "all"
    assert settings_of(flags, {"UNSUPPORTED": "error"}).unsupported == "error"
    both = parse([], {"PORT": "80"})
    assert settings_of(both, {"PORT_HEALTH": "80"}).health_port == 0
    assert settings_of(both, {"PORT_HEALTH": "81"}).health_port == 81
