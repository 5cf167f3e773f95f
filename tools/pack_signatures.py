"""Write translator/tables/signatures-a1111-pack.json from our node pack's own INPUT_TYPES.

Needs torch, but no ComfyUI. `tests/node_pack/test_signatures.py` runs it to see that the file is up
to date.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from translator.comfy.capture import signature_file

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "translator" / "tables" / "signatures-a1111-pack.json"
PACK = "comfyui_a1111"


def object_info(mappings: Mapping[str, Any]) -> dict[str, Any]:
    """The pack's nodes as ComfyUI's /object_info would show them."""
    return {
        name: {
            "python_module": f"custom_nodes.{PACK}",
            "category": node.CATEGORY,
            "output_node": getattr(node, "OUTPUT_NODE", False),
            "input": node.INPUT_TYPES(),
            "output": list(node.RETURN_TYPES),
            "output_name": list(getattr(node, "RETURN_NAMES", node.RETURN_TYPES)),
        }
        for name, node in mappings.items()
    }


def render() -> str:
    """The text of the signature file."""
    sys.path.insert(0, str(ROOT / "custom_nodes"))
    pack = importlib.import_module(PACK)
    return signature_file(object_info(pack.NODE_CLASS_MAPPINGS), {})


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    TABLE.write_text(render(), "utf-8")


if __name__ == "__main__":
    main()
