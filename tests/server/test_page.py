"""The page of the server, driven in a browser on the development server."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, expect

from devserver import DevServer
from tests.browser import browser
from tests.server.conftest import Running, local
from translator.page import html, view

SMALL = {"prompt": "a cat", "steps": 4, "seed": 7, "width": 64, "height": 64}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    opened = chromium.new_context(permissions=["clipboard-read", "clipboard-write"])
    opened.set_default_timeout(15_000)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab in which every error of a script fails the test."""
    opened, errors = context.new_page(), []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    assert errors == []


def paste(page: Page, value: Any) -> None:
    page.evaluate("text => navigator.clipboard.writeText(text)", json.dumps(value))
    field = page.get_by_label("A payload for")
    field.focus()
    page.keyboard.press("Control+A")
    page.keyboard.press("Control+V")


def shown(page: Page, value: Any) -> None:
    paste(page, value)
    page.get_by_role("button", name="Show what becomes of it").click()
    expect(page.locator("#result section").first).to_be_visible()
    expect(page.locator("#status")).to_have_text("")


def test_the_root_is_the_page_for_browsers_and_words_for_others(server: Running) -> None:
    assert "<!doctype html>" in requests.get(server.url, headers={"Accept": "text/html"}).text
    assert server.get("").text.startswith("This is an API")


def test_a_pasted_request_becomes_a_graph(server: Running, page: Page) -> None:
    page.goto(server.url)
    shown(page, {**SMALL, "enable_hr": True, "denoising_strength": 0.5, "hr_scale": 2})
    exact = page.locator('[data-target="exact"]')
    expect(exact.locator(".verdict")).to_contain_text("Runs:")
    groups = page.locator(".graph").first.locator(".group-title").all_text_contents()
    assert groups == ["Models", "Prompts", "First pass", "Hires pass", "Output"]
    assert page.locator(".u-wrap").count() == 2, "a plot of sigmas for each pass"
    expect(page.get_by_text("Infotext that is written")).to_be_visible()


def test_why_a_request_was_refused_stands_beside_its_field(server: Running, page: Page) -> None:
    page.goto(server.url)
    unit = {"module": "canny", "weight": "strong"}
    shown(
        page,
        {**SMALL, "steps": "many", "alwayson_scripts": {"controlnet": {"args": [unit]}}},
    )
    expect(page.locator('[data-target="exact"] .verdict')).to_contain_text("Refused: 2 problems")
    row = page.locator('[id="field-steps"]')
    expect(row).to_contain_text('"many" is not a whole number')
    link = page.locator('[data-target="exact"] a', has_text="args[0].weight")
    link.click()
    expect(page.locator('[id="field-alwayson_scripts.controlnet.args[0].weight"]')).to_be_focused()


def test_a_refusal_that_is_the_same_for_both_ways_is_said_once(server: Running, page: Page) -> None:
    page.goto(server.url)
    shown(page, {**SMALL, "steps": "many", "clip_skip": 2})
    expect(page.locator(".verdict")).to_have_text(["Refused: 1 problem"])
    answer = page.locator('[data-target="exact"]')
    expect(answer).to_contain_text("Nothing is run until what is refused is changed")
    expect(answer).to_contain_text("CLIP_stop_at_last_layers")
    expect(page.locator('[id="field-clip_skip"]')).to_contain_text("Differs")


def test_the_endpoint_is_told_by_the_fields_or_chosen(server: Running, page: Page) -> None:
    page.goto(server.url)
    shown(page, {**SMALL, "init_images": ["no picture"]})
    expect(page.locator("#fields-title")).to_have_text("Request to /sdapi/v1/img2img")
    expect(page.locator('[id="field-init_images[0]"]')).to_contain_text("Refused")
    page.get_by_label("Endpoint").select_option("/sdapi/v1/txt2img")
    page.get_by_role("button", name="Show what becomes of it").click()
    expect(page.locator("#fields-title")).to_have_text("Request to /sdapi/v1/txt2img")


def test_a_runpod_job_and_an_infotext_are_taken(server: Running, page: Page) -> None:
    page.goto(server.url)
    api = {"method": "POST", "endpoint": "/sdapi/v1/txt2img"}
    shown(page, {"input": {"api": api, "payload": {**SMALL, "prompt": "from a job"}}})
    expect(page.locator('[id="field-prompt"]')).to_contain_text("from a job")
    field = page.get_by_label("A payload for")
    field.fill("from a text\nSteps: 5, Sampler: Euler, CFG scale: 3, Seed: 9, Size: 64x64")
    field.press("Control+Enter")
    expect(page.locator('[id="field-infotext"]')).to_contain_text("Steps: 5")
    expect(page.locator("h3").first).to_contain_text("64×64, Euler")


def test_words_that_are_no_request_say_so(server: Running, page: Page) -> None:
    page.goto(server.url)
    page.get_by_label("A payload for").fill('{"prompt": ')
    page.get_by_role("button", name="Show what becomes of it").click()
    expect(page.locator("#status")).to_contain_text("The request is not JSON")


def dropped(page: Page, data: bytes, name: str, kind: str) -> None:
    """Drop a file on the page as a mouse would."""
    transfer = page.evaluate_handle(
        """([bytes, name, kind]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, {type: kind}));
            return transfer;
        }""",
        [list(data), name, kind],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


@pytest.mark.parametrize("kind", ("png", "jpg", "webp"))
def test_a_dropped_picture_tells_its_request(server: Running, page: Page, kind: str) -> None:
    made = server.post(
        "sdapi/v1/txt2img", {**SMALL, "override_settings": {"samples_format": kind}}
    ).json()
    data = base64.b64decode(made["images"][0])
    page.goto(server.url)
    dropped(page, data, f"picture.{kind}", f"image/{kind.replace('jpg', 'jpeg')}")
    expect(page.locator("#request")).to_have_value(re.compile(r"^a cat\n(.|\n)*Steps: 4"))
    expect(page.locator('[data-target="exact"] .verdict')).to_contain_text("Runs:")


def test_a_picture_without_infotext_says_so(server: Running, page: Page) -> None:
    page.goto(server.url)
    face = Path(__file__).parents[2] / "examples" / "face.jpg"
    page.locator("#picture").set_input_files(face)
    expect(page.locator("#status")).to_contain_text("face.jpg holds no infotext")


def test_a_run_shows_its_pictures(server: Running, page: Page) -> None:
    page.goto(server.url)
    paste(page, {**SMALL, "batch_size": 2})
    page.get_by_role("button", name="Run it").click()
    expect(page.locator("#status")).to_contain_text("Answered in")
    assert page.locator("#pictures img").count() >= 2
    natural = page.locator("#pictures img").first.evaluate("image => image.naturalWidth")
    assert natural == 64
    expect(page.get_by_role("button", name="Interrupt")).to_be_disabled()


def test_a_refused_run_says_why(server: Running, page: Page) -> None:
    page.goto(server.url)
    paste(page, {**SMALL, "steps": "many"})
    page.get_by_role("button", name="Run it").click()
    expect(page.locator("#status")).to_have_class("bad")
    expect(page.locator("#status")).to_contain_text("steps")


def test_progress_preview_and_interrupt(
    serve: Callable[..., Running], slow_comfyui: DevServer, page: Page
) -> None:
    running = serve(local(slow_comfyui.url))
    page.goto(running.url)
    paste(page, {**SMALL, "steps": 150, "width": 512, "height": 512})
    page.get_by_role("button", name="Run it").click()
    expect(page.locator("#status")).to_contain_text("Running: step")
    expect(page.locator("#preview")).to_be_visible()
    assert page.locator("#progress").evaluate("bar => bar.value") > 0
    page.get_by_role("button", name="Interrupt").click()
    expect(page.locator("#status")).to_contain_text("Answered in")


def test_downloads(server: Running, page: Page) -> None:
    page.goto(server.url)
    shown(page, SMALL)
    exact = page.locator('[data-target="exact"]')
    with page.expect_download() as download:
        exact.get_by_role("button", name="Download for ComfyUI's editor").click()
    workflow = json.loads(Path(download.value.path()).read_text("utf-8"))
    assert workflow["version"] == 0.4
    with page.expect_download() as download:
        exact.get_by_role("button", name="Download graph").click()
    graph = json.loads(Path(download.value.path()).read_text("utf-8"))
    assert {node["class_type"] for node in graph.values()} >= {"A1111Sampler", "SaveImage"}
    assert {"A1111Prompt", "A1111Schedule"} <= {node["type"] for node in workflow["nodes"]}
    page.locator('[data-target="core"]').get_by_role("button", name="Copy as RunPod job").click()
    expect(page.locator('[data-target="core"]')).to_contain_text("Copied")
    job = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert job["input"]["payload"] == SMALL
    assert job["input"]["options"] == {"fidelity": "core"}


def test_the_written_page_needs_no_server(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(html(view({**SMALL, "steps": "many"})), "utf-8")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    expect(page.locator('[data-target="exact"] .verdict')).to_contain_text("Refused: 1 problem")
    assert all(url.startswith(("file:", "data:")) for url in asked)


def test_a_narrow_page_does_not_scroll_sideways(server: Running, page: Page) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(server.url)
    shown(page, {**SMALL, "prompt": "x" * 300})
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 400


@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_text_has_contrast(page: Page, tmp_path: Path, scheme: Any) -> None:
    """WCAG's 4.5 to 1 between every text of the page and what it stands on."""
    file = tmp_path / "page.html"
    file.write_text(html(view({**SMALL, "steps": "many"})), "utf-8")
    page.emulate_media(color_scheme=scheme)
    page.goto(file.as_uri())
    low = page.evaluate(
        """() => {
        const parse = (text) => text.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map((value) => {
            const share = value / 255;
            return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        }).reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
        const ground = (element) => {
            for (let at = element; at; at = at.parentElement) {
                const colour = parse(getComputedStyle(at).backgroundColor);
                if (colour.length < 4 || colour[3] > 0) return colour;
            }
            return [255, 255, 255];
        };
        const found = [];
        for (const element of document.querySelectorAll("body *")) {
            const own = [...element.childNodes]
                .some((node) => node.nodeType === 3 && node.data.trim());
            if (!own || !element.getClientRects().length) continue;
            const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
            const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (ratio < 4.5) found.push([element.textContent.slice(0, 40), ratio]);
        }
        return found;
    }"""
    )
    assert low == []


def test_everything_can_be_reached_by_keyboard(server: Running, page: Page) -> None:
    page.goto(server.url)
    shown(page, SMALL)
    page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(document.activeElement.textContent || document.activeElement.id || '').trim()"
            )
        )
    for name in ("Run it", "Download for ComfyUI's editor", "Copy as RunPod job", "Fit"):
        assert name in reached
    nameless = page.evaluate(
        """() => [...document.querySelectorAll(
            "button, input, textarea, [role=img], [role=region]")]
        .filter((item) => !(item.getAttribute("aria-label") || item.textContent.trim()
            || item.labels?.length)).map((item) => item.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
