"""The wildcards of Dynamic Prompts: files of a folder that the operator names."""

from __future__ import annotations

import logging
from pathlib import Path

from dynamicprompts.wildcards.item import WildcardItem
from dynamicprompts.wildcards.tree import build_tree_from_path

from translator.prompt.template_budget import Wildcards

log = logging.getLogger(__name__)


def read_wildcards(folder: Path | None) -> Wildcards:
    """The wildcards below a folder: text files, a value a line, and YAML or JSON files.

    None where no folder is named or it cannot be read, which is logged, as is a file of it.
    """
    if folder is None:
        return {}
    if not folder.is_dir():
        log.error("there is no folder of wildcards %s", folder)
        return {}
    found: dict[str, tuple[str | tuple[str, float], ...]] = {}
    for name, collection in build_tree_from_path(folder).map.items():
        try:
            found[name] = tuple(map(_value, collection.get_values()))
        except (OSError, ValueError) as error:
            log.error("the wildcard %s cannot be read: %s", name, error)
    return found


def _value(item: str | WildcardItem) -> str | tuple[str, float]:
    return item if isinstance(item, str) else (item.content, item.weight)
