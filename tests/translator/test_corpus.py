"""The corpus: every request becomes the graph that was reviewed, and the signatures accept it."""

from __future__ import annotations

import json
import re

import pytest

from tests.corpus import GRAPHS, Case, cases, model_files, readable, snapshot, spelled
from tests.corpus.signatures import bundled, faults, unused, versions
from translator import Catalog
from translator.schemas import read_schema

CASES = cases()
KEPT = [(case, fidelity) for case in CASES for fidelity in case.fidelities]
BOTH = [(case, fidelity) for case in CASES for fidelity in ("exact", "core")]


def named(value: object) -> str | None:
    return value.name if isinstance(value, Case) else None


@pytest.mark.parametrize(("case", "fidelity"), KEPT, ids=named)
def test_graph_is_the_one_that_was_reviewed(case: Case, fidelity: str) -> None:
    """After a change that is meant: ``python -m tests.corpus --write``, and read the difference."""
    kept = case.graph_file(fidelity).read_text("utf-8")
    translation = case.translate(fidelity)
    assert readable(translation) == case.text_file(fidelity).read_text("utf-8")
    assert spelled(snapshot(translation)) == kept


@pytest.mark.parametrize(("case", "fidelity"), BOTH, ids=named)
def test_graph_is_accepted_by_the_signatures(case: Case, fidelity: str) -> None:
    graph = case.translate(fidelity).graph
    for version in versions():
        assert faults(graph, bundled(version)) == [], version
    assert unused(graph, bundled()) == []


@pytest.mark.parametrize(("case", "fidelity"), BOTH, ids=named)
def test_what_is_told_stands_at_a_field_of_the_request(case: Case, fidelity: str) -> None:
    """Not at an input of a node, which no client knows."""
    tab = case.endpoint.rpartition("/")[2]
    known = {*read_schema(tab)["properties"], *case.payload}
    for warning in case.translate(fidelity).warnings:
        assert not warning.path or re.split(r"[.\[]", warning.path)[0] in known, warning


@pytest.mark.parametrize("case", CASES, ids=named)
def test_equal_requests_give_equal_graphs_with_ids_in_order(case: Case) -> None:
    graph = case.translate().graph
    assert list(graph) == [str(number) for number in range(1, len(graph) + 1)]
    assert json.dumps(case.translate().graph) == json.dumps(graph)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_core_graph_has_no_node_of_ours(case: Case) -> None:
    used = {node["class_type"] for node in case.translate("core").graph.values()}
    ours = {name for name in used if name.startswith("A1111")} - {"A1111ImageGrid"}
    assert ours == set()


@pytest.mark.parametrize("case", CASES, ids=named)
def test_every_answered_image_comes_from_an_output_node_or_an_upload(case: Case) -> None:
    translation = case.translate()
    uploads = {upload.name for upload in translation.uploads}
    for output in translation.outputs:
        if output.node is None:
            assert output.upload in uploads
        else:
            assert translation.graph[output.node]["class_type"].startswith("SaveImage")
    loaded = {
        node["inputs"]["image"]
        for node in translation.graph.values()
        if node["class_type"].startswith("LoadImage")
    }
    assert loaded <= uploads


def test_a_catalog_that_lists_the_corpus_files_gives_the_same_graphs() -> None:
    """An open catalog takes names as they are; a real one must resolve them to the same files."""
    folders: dict[str, tuple[str, ...]] = {}
    for folder, name in sorted(model_files()):
        folders[folder] = (*folders.get(folder, ()), name)
    catalog = Catalog(nodes=Catalog.bundled().nodes, folders=folders)
    for case in CASES:
        assert case.translate(catalog=catalog).graph == case.translate().graph, case.name


def test_every_kept_graph_has_a_request() -> None:
    wanted = {case.graph_file(fidelity).name for case, fidelity in KEPT}
    wanted |= {case.text_file(fidelity).name for case, fidelity in KEPT}
    assert {file.name for file in GRAPHS.iterdir()} == wanted


def test_corpus_is_large_and_says_what_each_request_is_about() -> None:
    assert len(CASES) >= 30
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(case.about.endswith(".") for case in CASES if case.name != "txt2img-instantid")
