"""ComfyUI's own editor, in headless Chromium, opens our workflows and would submit our graphs.

The editor is the frontend package from PyPI; what its server would answer is given by the test.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, Route

from devserver import DevServer
from tests.browser import browser
from tests.corpus import Case, cases, model_files
from tests.worker.graphs import txt2img
from translator import Catalog
from translator.comfy.editor import layout, workflow
from translator.editable import editable
from worker.routes.editor_format import to_graph

HOST = "http://editor.test/"
NODES = Catalog.bundled().nodes
TEN = (
    "batch-of-four",
    "controlnet-canny-hires-esrgan",
    "controlnet-inpaint-mask",
    "controlnet-region-and-blocks",
    "hires-latent",
    "iterations-with-grid",
    "lora-two",
    "script-xyz-plot",
    "sdxl-base",
    "txt2img-instantid",
)
CASES = [case for case in cases() if case.name in TEN]

_ANSWERS: dict[str, Any] = {
    "users": {"storage": "server", "migrated": True},
    "settings": {"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False},
    "extensions": [],
    "userdata": [],
    "experiment/models": [],
    "jobs": {"jobs": [], "pagination": {"offset": 0, "limit": 0, "total": 0, "has_more": False}},
}


def object_info() -> dict[str, Any]:
    """The node list of a ComfyUI that has every file of the corpus."""
    with DevServer() as server:
        info: dict[str, Any] = requests.get(f"{server.url}/object_info", timeout=20).json()
    files: dict[str, set[str]] = {}
    for folder, name in model_files():
        files.setdefault(folder, set()).add(name)
    for case in CASES:
        for upload in case.translate().uploads:
            files.setdefault("input", set()).add(upload.name)
    for name, node in NODES.items():
        for input_name, item in node.inputs.items():
            if item.folder in files and name in info:
                _add_files(info[name]["input"], input_name, sorted(files[item.folder]))
    return info


def _add_files(inputs: dict[str, Any], name: str, files: list[str]) -> None:
    for group in inputs.values():
        if name in group and isinstance(group[name][0], list):
            group[name][0] = sorted({*group[name][0], *files})


class Editor:
    """The editor in a tab."""

    def __init__(self, page: Page, static: Path) -> None:
        self.page = page
        self.errors: list[str] = []
        self._static = static
        self._info = json.dumps(object_info())
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.route("**/*", self._answer)
        page.route_web_socket("**/ws*", lambda socket: None)
        page.goto(HOST)
        page.wait_for_function("() => window.app?.graph && window.app?.extensionManager")
        page.wait_for_timeout(2000)
        self.errors.clear()

    def _answer(self, route: Route) -> None:
        path = route.request.url.removeprefix(HOST).split("?")[0]
        if path == "api/object_info":
            route.fulfill(body=self._info, content_type="application/json")
        elif path.startswith("api/userdata/"):
            route.fulfill(status=404, body="")
        elif path.startswith("api/"):
            route.fulfill(json=_ANSWERS.get(path.removeprefix("api/"), {}))
        elif (file := self._static / (path or "index.html")).is_file():
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            route.fulfill(body=file.read_bytes(), content_type=kind)
        else:
            route.fulfill(status=404, body="")

    def open(self, document: dict[str, Any]) -> None:
        self.page.evaluate("document => window.app.loadGraphData(document)", document)

    def saved(self, script: str) -> dict[str, Any]:
        """The open workflow as the editor saves it, after a script has changed it.

        Args:
            script: JavaScript with the graph as ``g``.
        """
        changed = f"const g = window.app.graph; {script}"
        text: str = self.page.evaluate(
            f"() => {{ {changed}; return JSON.stringify(g.serialize()) }}"
        )
        document: dict[str, Any] = json.loads(text)
        self.open(document)
        return document

    def nodes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.page.evaluate(
            """() => window.app.graph.nodes.map((node) => ({
                id: Number(node.id), type: node.type, title: node.title, pos: [...node.pos],
                size: [...node.size], broken: Boolean(node.has_errors),
            }))"""
        )
        return found

    def groups(self) -> list[Any]:
        found: list[Any] = self.page.evaluate(
            "() => window.app.graph.groups.map((group) => [group.title, [...group.pos]])"
        )
        return found

    def submitted(self) -> dict[str, Any]:
        """What the editor's Run would send."""
        sent: dict[str, Any] = self.page.evaluate(
            "async () => (await window.app.graphToPrompt()).output"
        )
        return sent


@pytest.fixture(scope="module")
def editor() -> Iterator[Editor]:
    package = find_spec("comfyui_frontend_package")
    if package is None or package.origin is None:
        pytest.skip("the editor is not there: pip install comfyui-frontend-package")
    with browser() as running:
        page = running.new_page(viewport={"width": 1600, "height": 900})
        page.set_default_timeout(60_000)
        yield Editor(page, Path(package.origin).parent / "static")


def test_there_are_ten() -> None:
    assert len(CASES) == len(TEN)


def written(case: Case) -> Any:
    """The graph of a request, prompts and steps as people write them."""
    made = case.translate()
    return editable(made.graph, made.plans, Catalog.bundled())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_editor_opens_the_workflow(editor: Editor, case: Case) -> None:
    graph = written(case)
    assert {"A1111Prompt", "A1111Schedule"} <= {node["class_type"] for node in graph.values()}
    editor.open(workflow(graph, NODES))
    placed = layout(graph, NODES)
    assert editor.errors == []
    found = editor.nodes()
    assert [str(node["id"]) for node in found] == list(graph)
    for node in found:
        wanted = placed.nodes[str(node["id"])]
        assert node["type"] == graph[str(node["id"])]["class_type"]
        assert node["title"] == placed.titles[str(node["id"])]
        assert node["pos"] == [wanted.x, wanted.y + 30]
        assert node["size"][1] <= wanted.height, "the editor needs more room than it was given"
        assert not node["broken"], node
    assert editor.groups() == [
        [group.title, [box.x, box.y]]
        for group, box in zip(placed.groups, placed.group_boxes, strict=True)
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_editor_would_submit_the_graph(editor: Editor, case: Case) -> None:
    graph = written(case)
    editor.open(workflow(graph, NODES))
    sent = editor.submitted()
    assert set(sent) == set(graph)
    for node, wanted in graph.items():
        assert sent[node]["class_type"] == wanted["class_type"]
        for name, value in wanted["inputs"].items():
            assert sent[node]["inputs"][name] == value, (node, name)


_OF = "(...types) => new Set(g.nodes.filter(node => types.includes(node.type)))"
_SAMPLING = (
    f"const of = {_OF}; const {{node}} = g.convertToSubgraph(of('KSampler', 'EmptyLatentImage'))"
)
_CHANGES = {
    "subgraph": _SAMPLING,
    "shown-widget": f"{_SAMPLING}; node.widgets[0].value = 77",
    "nested": f"{_SAMPLING}; "
    "g.convertToSubgraph(of(node.type, 'VAEDecode')).node.widgets[0].value = 99",
    "bypassed": f"{_SAMPLING}; node.mode = 4",
    "muted": f"{_SAMPLING}; node.mode = 2",
    "bypassed-inside": f"{_SAMPLING}; "
    "node.subgraph.nodes.find(node => node.type == 'KSampler').mode = 4",
    "bypassed-node": "g.nodes.find(node => node.type == 'KSampler').mode = 4",
}


@pytest.mark.parametrize("change", list(_CHANGES))
def test_a_workflow_of_the_editor_becomes_what_it_would_submit(editor: Editor, change: str) -> None:
    editor.open(workflow(txt2img(), NODES))
    document = editor.saved(_CHANGES[change])
    sent = editor.submitted()
    assert sent
    ours = to_graph(document, Catalog.bundled())
    assert {name: node["inputs"] for name, node in ours.items()} == {
        name: node["inputs"] for name, node in sent.items()
    }
    assert {node["class_type"] for node in ours.values()} == {
        node["class_type"] for node in sent.values()
    }
