"""A graph as text: one line a node, nothing left out."""

from __future__ import annotations

import json

from translator import Catalog, translate
from translator.comfy.text import graph_text, prompt_text
from translator.prompt import node_input, parse

NODES = Catalog.bundled().nodes


def test_one_line_a_node_with_every_input() -> None:
    graph = translate({"prompt": "a cat", "seed": 1}).graph
    lines = graph_text(graph, NODES).splitlines()
    assert len(lines) == len(graph)
    for line, node in zip(lines, graph.values(), strict=True):
        assert f"  {node['class_type']}" in line
        assert all(f" {name}=" in line for name in node["inputs"])


def test_links_say_what_they_carry() -> None:
    graph = translate({"prompt": "a cat", "seed": 1}).graph
    text = graph_text(graph, NODES)
    assert "clip=1.CLIP" in text
    assert "positive=3.CONDITIONING" in text


def test_outputs_of_one_type_are_told_apart_by_number() -> None:
    graph = {
        "1": {"class_type": "SamplerCustomAdvanced", "inputs": {}},
        "2": {"class_type": "VAEDecode", "inputs": {"samples": ["1", 1], "vae": ["3", 0]}},
        "3": {"class_type": "FromAnUnknownPack", "inputs": {}},
    }
    assert "VAEDecode  samples=1.1 vae=3.0" in graph_text(graph, NODES)


def test_a_prompt_is_told_in_words() -> None:
    def told(text: str) -> str:
        return prompt_text(json.dumps(node_input(parse(text, 20).parts, "Original")))

    assert told("a (cat:1.2), b") == "a (cat:1.2), b"
    assert told("a cat AND a dog :0.5") == "a cat AND  a dog :0.5"  # its space is kept
    assert told("a [cat:dog:0.5]") == "to step 10: a cat | to step 20: a dog"
    assert told("a BREAK b") == "a BREAK b"
    assert prompt_text("no JSON") == "no JSON"


def test_texts_that_are_no_single_word_are_quoted() -> None:
    graph = {"1": {"class_type": "X", "inputs": {"a": "two words", "b": "one", "c": "", "d": 'a"'}}}
    assert graph_text(graph, {}) == '1  X  a="two words" b=one c="" d="a\\""\n'
