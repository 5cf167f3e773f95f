"""Model names as A1111 writes them, matched against a catalog, and architectures."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from translator.comfy.catalog import Catalog, ModelFacts
from translator.models.names import Checkpoint, Models, stem, without_hash
from translator.options import Options
from translator.report import Report, TranslationError, Unsupported

SHA = "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa"
CHECKPOINTS = (
    "a/deliberate_v2.safetensors",
    "v1-5-pruned-emaonly.safetensors",
    "deliberate_v2-inp.ckpt",
)
FACTS = {
    ("checkpoints", "v1-5-pruned-emaonly.safetensors"): ModelFacts(
        architecture="SD1", sha256=SHA, short_hash="81761151"
    ),
    ("loras", "sub/detail.safetensors"): ModelFacts(alias="Detail Tweaker"),
    ("loras", "one.safetensors"): ModelFacts(alias="shared"),
    ("loras", "two.safetensors"): ModelFacts(alias="shared"),
}
FOLDERS = {
    "checkpoints": CHECKPOINTS,
    "vae": ("sub/kl-f8.pt", "deliberate_v2.vae.safetensors"),
    "loras": ("sub/detail.safetensors", "one.safetensors", "two.safetensors"),
}


def models(
    report: Report | None = None,
    *,
    folders: Mapping[str, tuple[str, ...]] = FOLDERS,
    default: str = "v1-5-pruned-emaonly.safetensors",
    architectures: Mapping[str, str] | None = None,
    is_open: bool = False,
) -> Models:
    catalog = Catalog(nodes={}, folders={} if is_open else folders, open=is_open, facts=FACTS)
    options = Options(architectures=architectures or {}, default_checkpoint=default)
    return Models(catalog, options, report or Report())


@pytest.mark.parametrize(
    "name",
    [
        "v1-5-pruned-emaonly",
        "v1-5-pruned-emaonly.safetensors",
        f"v1-5-pruned-emaonly.safetensors [{SHA[:10]}]",
        f"v1-5-pruned-emaonly [{SHA[:10]}]",
        SHA[:10],
        SHA,
        "81761151",
        "v1-5-pruned-emaonly.safetensors [81761151]",
    ],
)
def test_every_id_of_a_checkpoint_matches(name: str) -> None:
    report = Report()
    found = models(report).checkpoint(name, "p", None)
    assert found.name == "v1-5-pruned-emaonly.safetensors"
    assert found.hash10 == SHA[:10]
    assert report.problems == ()


@pytest.mark.parametrize(
    "name",
    [
        "deliberate_v2",
        "a/deliberate_v2.safetensors",
        "a_deliberate_v2",
        "deliberate_v2 [aaaaaaaaaa]",
    ],
)
def test_a_title_with_a_hash_matches_a_file_that_was_not_hashed(name: str) -> None:
    assert models().checkpoint(name, "p", None).name == "a/deliberate_v2.safetensors"


@pytest.mark.parametrize(
    "name", ["deliberate", "DELIBERATE_V2", "v1-5-pruned-emaonly.safetensors [aaaaaaaaaa]"]
)
def test_overrides_match_no_part_no_other_case_and_no_wrong_hash(name: str) -> None:
    report = Report()
    models(report).checkpoint(name, "override_settings.sd_model_checkpoint", None)
    (problem,) = report.problems
    assert problem.kind == "missing"
    assert problem.path == "override_settings.sd_model_checkpoint"


def test_fuzzy_names_take_the_shortest_title_that_contains_them() -> None:
    found = models().checkpoint_fuzzy("deliberate", "p", None)
    assert found is not None
    assert found.name == "deliberate_v2-inp.ckpt"
    with_hash = models().checkpoint_fuzzy("deliberate_v2-inp [0123456789]", "p", None)
    assert with_hash is not None
    assert with_hash.name == "deliberate_v2-inp.ckpt"


@pytest.mark.parametrize("unsupported", ["error", "warn"])
def test_fuzzy_names_without_a_match_are_refused_even_with_warn(unsupported: Unsupported) -> None:
    report = Report(unsupported)
    assert models(report).checkpoint_fuzzy("nothing", "hr_checkpoint_name", None) is None
    with pytest.raises(TranslationError, match=r"^hr_checkpoint_name: no checkpoint"):
        report.raise_if_refused()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("C:/models/deliberate_v2-inp.ckpt", 'without its path.* did you mean "deliberate_v2-inp"'),
        ("deliberate_v2-inp.pt", 'no checkpoint "deliberate_v2-inp.pt".* did you mean'),
    ],
)
def test_what_is_wrong_with_a_name_is_told(name: str, said: str) -> None:
    report = Report("error")
    models(report).checkpoint(name, "sd_model_checkpoint", None)
    with pytest.raises(TranslationError, match=said):
        report.raise_if_refused()


def test_open_catalog_takes_any_name_and_says_so_once() -> None:
    report = Report()
    taken = models(report, is_open=True)
    names = ["model", "other.ckpt", "dir/third [12345678]"]
    found = [taken.checkpoint(name, "p", "SD1").name for name in names]
    assert found == ["model.safetensors", "other.ckpt", "dir/third.safetensors"]
    assert report.warning_texts == [
        "no list of model files is known: names of models were not checked"
    ]


@pytest.mark.parametrize("name", [None, ""])
def test_without_a_name_the_default_is_used(name: str | None) -> None:
    assert models().checkpoint(name, "p", None).stem == "v1-5-pruned-emaonly"


def test_a_default_that_is_not_there_is_the_first_of_the_list() -> None:
    report = Report()
    assert models(report, default="gone").checkpoint(None, "p", "SD1").name == CHECKPOINTS[0]
    assert "first of the list" in report.warning_texts[0]


def test_no_checkpoint_at_all_is_refused_even_with_warn() -> None:
    with pytest.raises(TranslationError, match="has no checkpoint"):
        models(Report(), folders={"checkpoints": ()}).checkpoint(None, "p", None)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("None", None),
        ("", None),
        (None, None),
        ("Automatic", "deliberate_v2.vae.safetensors"),
        ("kl-f8.pt", "sub/kl-f8.pt"),
    ],
)
def test_vae(name: str | None, file: str | None) -> None:
    checkpoint = models().checkpoint("deliberate_v2", "p", "SD1")
    found = models().vae(name, checkpoint, "override_settings.sd_vae")
    assert (found.name if found else None) == file


def test_automatic_vae_without_a_file_beside_is_the_checkpoints_own() -> None:
    checkpoint = models().checkpoint(None, "p", None)
    assert models().vae("Automatic", checkpoint, "p") is None


def test_unknown_vae_is_missing() -> None:
    report = Report("warn")
    checkpoint = models().checkpoint(None, "p", None)
    assert models(report).vae("kl-f9.pt", checkpoint, "override_settings.sd_vae") is None
    assert report.warning_texts[0].startswith('override_settings.sd_vae: no VAE "kl-f9.pt"')


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("detail", "sub/detail.safetensors"),
        ("Detail Tweaker", "sub/detail.safetensors"),
        ("one", "one.safetensors"),
        ("shared", None),
        ("Detail", None),
    ],
)
def test_networks_match_stem_or_an_alias_of_their_own(name: str, file: str | None) -> None:
    found = models().network("loras", name)
    assert (found.name if found else None) == file


def architecture(name: str, hint: str | None = None, **tables: Mapping[str, str]) -> str:
    checkpoint: Checkpoint = models(is_open=True, **tables).checkpoint(name, "p", hint)
    return checkpoint.architecture


def test_architecture_by_header_table_hint_and_name_in_that_order() -> None:
    assert architecture("v1-5-pruned-emaonly", "SDXL") == "SD1"
    assert architecture("mystery", "SDXL", architectures={"mystery": "SD2"}) == "SD2"
    assert architecture("mystery", "SDXL") == "SDXL"
    assert architecture("mystery") == "SD1"


def test_a_guess_is_told() -> None:
    report = Report()
    models(report, is_open=True).checkpoint("mystery", "p", None)
    assert any("from its name it is taken for SD1" in text for text in report.warning_texts)


def test_stems_and_hashes() -> None:
    assert stem("a\\b/c.d.safetensors") == "c.d"
    assert stem("name.v2") == "name.v2"
    assert without_hash("name.ckpt [0a1b2c3d]") == "name.ckpt"
    assert without_hash("name [not hex]") == "name [not hex]"


@pytest.mark.parametrize(
    ("family", "channels", "picture"),
    [
        ("SD1", 5, "inpaint"),
        ("SD1", 4, "edit"),
        ("SD1", 0, None),
        ("SD2", 5, "inpaint"),
        ("SDXL", 5, "inpaint"),
    ],
)
def test_a_header_tells_what_a_checkpoint_reads_beside_the_latent(
    family: str, channels: int, picture: str | None
) -> None:
    facts = ModelFacts(architecture=family, picture_channels=channels)
    found, report = found_with(facts, "v1-5-inpainting.safetensors")
    assert found.picture == picture
    assert not report.problems


@pytest.mark.parametrize(("family", "channels"), [("SD2", 1), ("SD2", 3), ("SDXL", 4)])
def test_a_checkpoint_that_a1111_gives_no_picture_is_refused(family: str, channels: int) -> None:
    facts = ModelFacts(architecture=family, picture_channels=channels)
    _, report = found_with(facts, "depth.safetensors")
    assert [problem.path for problem in report.problems] == ["sd_model_checkpoint"]
    assert f"{channels} channels beside the latent" in report.problems[0].message


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("sd-v1-5-inpainting.ckpt", "inpaint"),
        ("instruct-pix2pix-00-22000.ckpt", "edit"),
        ("sd_xl_ip2p.ckpt", None),
        ("v1-5-pruned-emaonly.ckpt", None),
    ],
)
def test_a_name_tells_it_where_the_file_cannot_be_read(name: str, picture: str | None) -> None:
    found, report = found_with(ModelFacts(), name)
    assert found.picture == picture
    told = any("beside" in text or "it is given" in text for text in report.warning_texts)
    assert told == (picture is not None)


def found_with(facts: ModelFacts, name: str) -> tuple[Checkpoint, Report]:
    catalog = Catalog(
        nodes={}, folders={"checkpoints": (name,)}, facts={("checkpoints", name): facts}
    )
    report = Report()
    models = Models(catalog, Options(default_checkpoint=name), report)
    return models.checkpoint(name, "sd_model_checkpoint", None), report
