"""What infotexts say of model files."""

from __future__ import annotations

from dataclasses import replace

from translator import Catalog, ModelFacts, translate

SHA256 = "1e09ceb9e043" + "0" * 52


def test_hashes_of_the_embeddings_that_a_prompt_names() -> None:
    catalog = replace(
        Catalog.bundled(),
        open=False,
        folders={
            "checkpoints": ("v1-5-pruned-emaonly.safetensors",),
            "embeddings": ("emb.pt", "no.pt"),
        },
        facts={
            ("embeddings", "emb.pt"): ModelFacts(sha256=SHA256),
            ("embeddings", "no.pt"): ModelFacts(sha256="f" * 64),
        },
    )
    text = translate({"prompt": "a cat, EMB", "seed": 1}, catalog=catalog).info["infotexts"][0]
    assert 'TI hashes: "emb: 1e09ceb9e043"' in text
    assert "no:" not in text
