"""The documentation in a browser that reaches nothing but this server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from devserver import DevServer
from tests.browser import browser
from tests.server.conftest import Running, local


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A tab without any network beyond this machine; an error of a script fails the test."""
    context = chromium.new_context()
    context.set_default_timeout(20_000)
    opened, errors, outside = context.new_page(), [], []
    opened.on("pageerror", lambda error: errors.append(str(error)))

    def only_here(route: Route) -> None:
        if "//127.0.0.1:" in route.request.url or route.request.url.startswith("data:"):
            route.continue_()
        else:
            outside.append(route.request.url)
            route.abort()

    context.route("**/*", only_here)
    yield opened
    context.close()
    assert (errors, outside) == ([], [])


def row(page: Page, path: str) -> Any:
    return page.locator(".opblock", has=page.locator(f'[data-path="{path}"]'))


def test_a_route_is_tried_out_in_the_documentation(server: Running, page: Page) -> None:
    page.goto(f"{server.url}/docs")
    expect(row(page, "/sdapi/v1/txt2img")).to_be_visible()
    samplers = row(page, "/sdapi/v1/samplers")
    samplers.locator(".opblock-summary-control").click()
    samplers.get_by_role("button", name="Try it out").click()
    samplers.get_by_role("button", name="Execute").click()
    answer = samplers.locator(".live-responses-table")
    expect(answer.locator("tbody .response-col_status").first).to_contain_text("200")
    expect(answer).to_contain_text("DPM++ 2M SDE")
    expect(samplers.locator(".request-url")).to_contain_text(f"{server.url}/sdapi/v1/samplers")


def test_the_fields_of_a_request_are_described(server: Running, page: Page) -> None:
    page.goto(f"{server.url}/docs")
    txt2img = row(page, "/sdapi/v1/txt2img")
    txt2img.locator(".opblock-summary-control").click()
    expect(txt2img.locator(".body-param__example")).to_contain_text('"enable_hr": false')


def test_below_a_subpath_the_documentation_finds_its_files(
    serve: Any, comfyui: DevServer, page: Page
) -> None:
    server = serve(local(comfyui.url), subpath="sd/api")
    page.goto(f"{server.url}/sd/api/docs")
    expect(row(page, "/sdapi/v1/txt2img")).to_be_visible()
    assert server.get("sd/api/openapi.json").json()["servers"] == [{"url": "/sd/api"}]


def test_the_page_below_a_subpath_is_reached_with_a_slash(
    serve: Any, comfyui: DevServer, page: Page
) -> None:
    server = serve(local(comfyui.url), subpath="sd")
    page.goto(f"{server.url}/sd")
    assert page.url == f"{server.url}/sd/", "or its own addresses would lead elsewhere"
