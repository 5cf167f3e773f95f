"""The tables of docs/models.md: every file that a feature needs, from the doctor's data."""

from __future__ import annotations

from tools.markdown import table
from worker.doctor.data import ModelFile, features, model_files, users

_SHOWN_USERS = 4


def file_table() -> str:
    """Every file: where it goes, where else it is looked for, its size and home, what needs it."""
    rows = [
        [
            f"`{file.target}`",
            ", ".join(f"`{place}`" for place in file.places[1:]),
            f"{file.mb:,}",
            file.home,
            _users(file),
        ]
        for file in model_files().values()
    ]
    return table(["put it at", "also looked for in", "MB, about", "home", "for"], rows)


def _users(file: ModelFile) -> str:
    found = users(file)
    shown = ", ".join(found[:_SHOWN_USERS])
    return shown if len(found) <= _SHOWN_USERS else f"{shown} and {len(found) - _SHOWN_USERS} more"


def feature_table() -> str:
    """Every feature with the files it needs and how much they are together."""
    rows = []
    for feature in features():
        files = [model_files()[id] for id in feature.files]
        names = ", ".join(f"`{file.name}`" for file in files)
        rows.append([feature.name, names, f"{sum(file.mb for file in files):,}" if files else ""])
    return table(["feature", "files", "MB, about"], rows)
