"""The checkpoint of a request that names none."""

from __future__ import annotations

from dataclasses import replace

from translator import Catalog, translate


def test_the_default_checkpoint_may_lie_in_a_subfolder() -> None:
    files = ("other.safetensors", "sd15/v1-5-pruned-emaonly.safetensors")
    catalog = replace(Catalog.bundled(), open=False, folders={"checkpoints": files})
    graph = translate({"seed": 1}, catalog=catalog).graph
    assert graph["1"]["inputs"]["ckpt_name"] == files[1]
