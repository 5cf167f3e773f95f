"""Model names as A1111 writes them -> files of the catalog, and a checkpoint's architecture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from translator.comfy.catalog import Catalog, ModelFacts
from translator.models import families
from translator.models.families import Family, PictureKind
from translator.options import Options
from translator.report import Report

EXTENSIONS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".sft", ".onnx", ".gguf")

_READS: Mapping[PictureKind, str] = {
    "inpaint": "inpaints: it is given the picture around the mask",
    "edit": "edits a picture by instruction: it is given that picture",
}
"""What a checkpoint reads beside the latent, for messages."""

_HASH_SUFFIX = re.compile(r"\s*\[[0-9a-fA-F]*\]\s*$")


@dataclass(frozen=True)
class ModelFile:
    """A model file that a name was resolved to.

    Attributes:
        folder: ComfyUI's name of the model folder.
        name: the file relative to it, as the loader node takes it.
        facts: what is known of it.
    """

    folder: str
    name: str
    facts: ModelFacts

    @property
    def stem(self) -> str:
        """The file name without folders and extension."""
        return stem(self.name)

    @property
    def basename(self) -> str:
        """The file name without folders."""
        return re.split(r"[\\/]", self.name)[-1]

    @property
    def hash10(self) -> str | None:
        """A1111's model hash: the first 10 digits of the SHA-256, or None where it is unknown."""
        return self.facts.sha256[:10] if self.facts.sha256 else None


@dataclass(frozen=True)
class Checkpoint(ModelFile):
    """A checkpoint.

    Attributes:
        architecture: the name of one of `families.FAMILIES`.
        picture: what its UNet reads beside the latent, or None.
    """

    architecture: str
    picture: PictureKind | None = None

    @property
    def family(self) -> Family:
        """What is particular to its architecture."""
        return families.of(self.architecture)

    def drawn_by_loading_after(self, other: Checkpoint) -> tuple[tuple[int, ...], ...]:
        """Shapes of what A1111 draws from torch's generator to load it in place of another.

        It builds a model anew only where the two have different configurations.
        """
        return self.family.drawn_by_loading if self.is_built_anew_after(other) else ()

    def is_built_anew_after(self, other: Checkpoint) -> bool:
        """Whether A1111 builds a model for it, rather than to load its weights into the other's."""
        return self.name != other.name and self._config != other._config

    @property
    def _config(self) -> tuple[object, ...]:
        """What tells A1111's configuration of a checkpoint from another's."""
        own = self.name if self.facts.has_config else None
        return own, self.architecture, self.prediction, self.facts.picture_channels or 0

    @property
    def prediction(self) -> str:
        """What its UNet predicts, ``eps`` or ``v_prediction``: its file's word, or its family's."""
        told = self.facts.v_prediction
        if told is None:
            return self.family.prediction
        return "v_prediction" if told else "eps"


@lru_cache(maxsize=4096)
def stem(name: str) -> str:
    """A model file's name without folders and without a known extension."""
    base = re.split(r"[\\/]", name)[-1]
    for extension in EXTENSIONS:
        if base.lower().endswith(extension):
            return base[: -len(extension)]
    return base


@lru_cache(maxsize=32)
def _by_stem(files: tuple[str, ...]) -> Mapping[str, Sequence[str]]:
    """Stem -> its files, in order."""
    found: dict[str, list[str]] = {}
    for item in files:
        found.setdefault(stem(item), []).append(item)
    return found


@lru_cache(maxsize=8)
def _checkpoint_ids(rows: tuple[tuple[str, str | None, str | None], ...]) -> Mapping[str, str]:
    """Every id of every checkpoint, see semantics of ``sd_model_checkpoint`` in A1111.

    Args:
        rows: file, SHA-256 and short hash of each, None where they are not known.
    """
    ids: dict[str, str] = {}
    for item, sha256, short_hash in rows:
        relative = item.replace("\\", "/")
        flat = without_extension(relative).replace("/", "_")
        names = [stem(item), relative, item, flat]
        if sha256:
            hash10 = sha256[:10]
            names += [f"{relative} [{hash10}]", f"{stem(item)} [{hash10}]", hash10, sha256]
        if short_hash:
            names += [short_hash, f"{relative} [{short_hash}]"]
        for name in names:
            ids.setdefault(name, item)
    return ids


def without_hash(name: str) -> str:
    """A title without the hash in brackets at its end: ``a.safetensors [6ce0161689]``."""
    return _HASH_SUFFIX.sub("", name).strip()


def _hash_of(title: str) -> str:
    """The hash in brackets at a title's end."""
    return title.rpartition("[")[2].rstrip("] ")


class Models:
    """Resolves model names against a catalog.

    In an open catalog every name is taken, with ``.safetensors`` where it has no extension, and the
    report says once that names were not checked.
    """

    def __init__(
        self,
        catalog: Catalog,
        options: Options,
        report: Report,
    ) -> None:
        self._catalog = catalog
        self._architectures = options.architectures
        self._default_checkpoint = options.default_checkpoint
        self._report = report
        self._ids: Mapping[str, str] | None = None
        self._aliases: dict[str, Mapping[str, Sequence[str]]] = {}

    def checkpoint(self, name: str | None, path: str, hint: str | None) -> Checkpoint:
        """The checkpoint of an override or an option: an exact id of it, as A1111 matches.

        Args:
            name: file stem, relative path, title, ``stem [hash]`` or a hash; None, empty or
                without a match takes the default checkpoint (without a match after a report).
            path: where the name stands in the request.
            hint: architecture that the rest of the request is certain of, or None.
        """
        found = self._exact(name) if name else None
        if found is None and name:
            self._report.missing(
                path,
                self._no_checkpoint(name),
                instead=f"{self._default_checkpoint} is used",
                value=name,
            )
        return self._with_architecture(found or self._default(), path, hint)

    def checkpoint_fuzzy(self, name: str, path: str, hint: str | None) -> Checkpoint | None:
        """The checkpoint of hires fix, refiner or script: an exact id, else part of a title.

        Without a match the request is refused, as A1111 does, and the answer is None.
        """
        found = self._exact(name) or self._containing(name)
        if found is None:
            self._report.invalid(path, self._no_checkpoint(name), name)
            return None
        return self._with_architecture(found, path, hint)

    def vae(self, name: str | None, checkpoint: Checkpoint, path: str) -> ModelFile | None:
        """The separate VAE of option ``sd_vae``, or None for the checkpoint's own.

        ``Automatic`` takes a file whose name starts with the checkpoint's stem, where there is one.
        """
        if not name or name.lower() == "none":
            return None
        files = self._catalog.files("vae")
        if name.lower() in ("automatic", "auto"):
            stems = _by_stem(tuple(files or ()))
            beside = next((item for item in stems if item.startswith(checkpoint.stem)), None)
            return None if beside is None else self._file("vae", stems[beside][0])
        if files is None:
            return self._file("vae", self._taken_as_is(name))
        for item in files:
            if name in (item, re.split(r"[\\/]", item)[-1], stem(item)):
                return self._file("vae", item)
        self._report.missing(
            path,
            f'no VAE "{name}" in this ComfyUI'
            f"{self.similar('vae', name) or '; put the file into models/vae'}",
            instead="the checkpoint's own VAE is used, as A1111 does",
            value=name,
        )
        return None

    def network(self, folder: str, name: str) -> ModelFile | None:
        """A LoRA or hypernetwork by A1111's rule: file stem or alias, exact; None without one."""
        files = self._catalog.files(folder)
        if files is None:
            return self._file(folder, self._taken_as_is(name))
        found = _by_stem(tuple(files)).get(name, ())[:1] or self._by_alias(folder).get(name, ())
        return self._file(folder, found[0]) if len(found) == 1 else None

    def _by_alias(self, folder: str) -> Mapping[str, Sequence[str]]:
        """Alias -> the files of a folder that have it."""
        if folder not in self._aliases:
            found: dict[str, list[str]] = {}
            for item in self._catalog.files(folder) or ():
                alias = self._catalog.facts_of(folder, item).alias
                if alias is not None:
                    found.setdefault(alias, []).append(item)
            self._aliases[folder] = found
        return self._aliases[folder]

    def file(self, folder: str, name: str) -> ModelFile | None:
        """A file by its exact name in any subfolder, as A1111's tables of upscalers name it."""
        files = self._catalog.files(folder)
        if files is None:
            return self._file(folder, self._taken_as_is(name))
        for item in files:
            if name in (item, re.split(r"[\\/]", item)[-1]):
                return self._file(folder, item)
        return None

    def similar(self, folder: str, name: str) -> str:
        """What a name that matches no file of a folder may mean, as the end of a sentence.

        Paths, hashes, extensions and case do not count; an empty text where nothing is alike.
        """
        there = _by_stem(tuple(self._catalog.files(folder) or ()))
        return self._report.did_you_mean(stem(without_hash(name)), there)

    def _no_checkpoint(self, name: str) -> str:
        """Why a name is no checkpoint's, and what to send instead."""
        like = self.similar("checkpoints", name)
        remedy = like or "; GET sdapi/v1/sd-models lists what there is"
        wanted = stem(without_hash(name))
        there = _by_stem(tuple(self._catalog.files("checkpoints") or ())).get(wanted, ())
        if there and _HASH_SUFFIX.search(name):
            facts = self._catalog.facts_of("checkpoints", there[0])
            known = facts.sha256[:10] if facts.sha256 else facts.short_hash
            return (
                f'the checkpoint "{wanted}" here has the hash {known}, not {_hash_of(name)}{like}'
            )
        if there and re.search(r"[\\/]", name):
            return f"a checkpoint is named without its path, as GET sdapi/v1/sd-models has it{like}"
        return f'no checkpoint "{name}" in this ComfyUI{remedy}'

    def _file(self, folder: str, name: str) -> ModelFile:
        return ModelFile(folder, name, self._catalog.facts_of(folder, name))

    def _taken_as_is(self, name: str) -> str:
        self._report.warn("", "no list of model files is known: names of models were not checked")
        name = without_hash(name)
        return name if name.lower().endswith(EXTENSIONS) else f"{name}.safetensors"

    def _exact(self, name: str) -> str | None:
        if self._catalog.files("checkpoints") is None:
            return self._taken_as_is(name)
        if self._ids is None:
            self._ids = self._checkpoint_ids()
        spellings = (name, name.replace("\\", "/"))  # as a server on Windows lists it
        found = (
            self._ids.get(item) or self._of_unknown_hash(item, self._ids) for item in spellings
        )
        return next(filter(None, found), None)

    def _of_unknown_hash(self, name: str, ids: Mapping[str, str]) -> str | None:
        """The file of a title with a hash, where the file was not hashed: the hash may be right."""
        item = ids.get(without_hash(name))
        if item is None or self._catalog.facts_of("checkpoints", item).sha256:
            return None
        return item

    def _checkpoint_ids(self) -> Mapping[str, str]:
        rows = []
        for item in self._catalog.files("checkpoints") or ():
            facts = self._catalog.facts_of("checkpoints", item)
            rows.append((item, facts.sha256, facts.short_hash))
        return _checkpoint_ids(tuple(rows))

    def _containing(self, name: str) -> str | None:
        """The checkpoint with the shortest title that contains the text, as A1111 searches."""
        for text in (name, without_hash(name)):
            matches = [item for item in self._catalog.files("checkpoints") or () if text in item]
            if matches:
                return min(matches, key=len)
        return None

    def _default(self) -> str:
        files = self._catalog.files("checkpoints")
        if files is None:
            return self._taken_as_is(self._default_checkpoint)
        wanted = self._default_checkpoint
        found = self._exact(wanted) or self._exact(stem(wanted))  # it may lie in a subfolder
        if found is not None:
            return found
        if files:
            self._report.warn(
                "",
                f'the default checkpoint "{self._default_checkpoint}" is not there; '
                f'"{files[0]}", the first of the list, is used, as A1111 does',
            )
            return files[0]
        self._report.missing(
            "override_settings.sd_model_checkpoint",
            "this ComfyUI has no checkpoint; put one into its models/checkpoints folder",
            instead="no picture can be made",
        )
        self._report.raise_if_refused()
        return self._default_checkpoint

    def _with_architecture(self, name: str, path: str, hint: str | None) -> Checkpoint:
        facts = self._catalog.facts_of("checkpoints", name)
        architecture = facts.architecture
        if architecture in families.UNSUPPORTED:
            self._report.invalid(
                path,
                f'checkpoint "{name}" is a {architecture} model, and only '
                f"{', '.join(families.FAMILIES)} can be used here; choose such a checkpoint",
                name,
            )
            return Checkpoint("checkpoints", name, facts, families.DEFAULT.name)
        if architecture not in families.FAMILIES:
            architecture = self._told_elsewhere(name, path, hint, was_read=architecture is not None)
        picture = self._picture(name, families.of(str(architecture)), facts, path)
        return Checkpoint("checkpoints", name, facts, str(architecture), picture)

    def _picture(
        self, name: str, family: Family, facts: ModelFacts, path: str
    ) -> PictureKind | None:
        """What the checkpoint's UNet reads beside the latent, by its header or else its name."""
        if facts.picture_channels is None:
            told = families.picture_told_by_name(stem(name)) if facts.architecture is None else None
            if told is None or told not in family.pictures.values():
                return None
            self._report.warn(
                "",
                f"checkpoint {name}: from its name it is taken for one that {_READS[told]}",
            )
            return told
        kind = family.pictures.get(facts.picture_channels)
        if kind is None and facts.picture_channels:
            self._report.unsupported(
                path,
                f'checkpoint "{name}" is a {family.name} model whose UNet takes '
                f"{facts.picture_channels} channels beside the latent (a depth map, or a picture "
                "to upscale or edit), which A1111 does not give it either; choose another",
                instead="ComfyUI feeds it what it takes for empty, so the result is not A1111's",
                value=name,
            )
        return kind

    def _told_elsewhere(self, name: str, path: str, hint: str | None, *, was_read: bool) -> str:
        """Configured table, then the checkpoint's name, then the rest of the request."""
        known = self._architectures.get(name) or self._architectures.get(stem(name))
        if known:
            return known
        told = families.told_by_name(stem(name))
        if hint and told in (None, hint):
            return hint
        guess = told or families.DEFAULT.name
        why = "shows no family that is known here" if was_read else "cannot be read"
        self._report.warn(
            path if was_read else "",
            f"checkpoint {name}: its file {why}, so from its name it is taken for {guess}; name "
            "its architecture in the settings to be sure",
        )
        return guess


def without_extension(name: str) -> str:
    """A relative path without a known extension."""
    base = re.split(r"[\\/]", name)[-1]
    return name[: len(name) - len(base)] + stem(base)
