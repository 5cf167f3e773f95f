"""reference_*: whose noise, which rows, which layers; on a UNet of one self-attention."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths import reference  # noqa: E402
from custom_nodes.comfyui_a1111.maths.reference import (  # noqa: E402
    BATCH,
    NoiseStream,
    Reference,
    References,
    State,
    WholeBatch,
)

pytestmark = pytest.mark.torch

SIGMAS = torch.linspace(0.1, 10.0, 1000)


def unit(kind: str = "reference_only", **fields: Any) -> Reference:
    given = {"weight": 1.0, "fidelity": 0.5, "start": 0.0, "end": 1.0, **fields}
    return Reference(kind, given.pop("latent", torch.ones(1, 4, 2, 2)), **given)


class Sampling:
    sigmas = SIGMAS

    def timestep(self, sigma: Any) -> Any:
        return torch.argmin((SIGMAS - sigma).abs()).reshape(1)

    def percent_to_sigma(self, percent: float) -> float:
        return 1e9 if percent <= 0 else 10.0 * (1 - percent)


class Model:
    """Notes every input it is run on."""

    def __init__(self) -> None:
        self.model_sampling = Sampling()
        self.seen: list[tuple[Any, dict[str, Any]]] = []

    def process_latent_in(self, latent: Any) -> Any:
        return latent * 0.5

    def apply_model(self, x: Any, sigma: Any, **c: Any) -> Any:
        self.seen.append((x, c))
        return x


def call(
    references: References, model: Model, kinds: list[int], number: int, sigma: float = 5.0
) -> Any:
    x = torch.zeros(len(kinds), 4, 2, 2)
    options = {"cond_or_uncond": kinds, BATCH: WholeBatch(number)}
    c = {"transformer_options": options, "control": "residuals"}
    args = {"input": x, "timestep": torch.full((len(kinds),), sigma), "c": c}
    return references.run(model.apply_model, {**args, "cond_or_uncond": kinds})


def drawn_noise(model: Model, index: int, sigma: float = 5.0) -> Any:
    """The noise in the reference that a run was made on."""
    rows = model.seen[index][0]
    abar = 1 / (sigma**2 + 1)
    return (rows * abar**0.5 - abar**0.5 * 0.5) / (1 - abar) ** 0.5


def test_the_noise_is_the_generators_after_what_the_encoder_drew() -> None:
    model = Model()
    references = References([unit()], 7, 16, State(), True, None)
    call(references, model, [1, 0], 0)
    call(references, model, [1, 0], 1)
    generator = torch.Generator().manual_seed(7)
    torch.randn(16, generator=generator)
    for index in (0, 2):
        rows = torch.randn(2, 4, 2, 2, generator=generator)
        assert torch.allclose(drawn_noise(model, index), rows[[1, 0]], atol=1e-2)


def test_parts_of_a_call_share_its_noise_and_a_new_pass_starts_over() -> None:
    model = Model()
    references = References([unit()], 7, 0, State(), True, None)
    call(references, model, [0], 0)
    call(references, model, [1], 0)
    call(references, model, [0, 1], 0)
    whole = torch.cat([drawn_noise(model, 0), drawn_noise(model, 2)])
    assert not torch.allclose(whole[0], whole[1])
    assert torch.equal(whole, drawn_noise(model, 4))


def test_a_reference_runs_without_controlnets_and_only_in_its_range() -> None:
    model = Model()
    references = References([unit(start=0.4, end=0.6)], 7, 0, State(), True, None)
    for number, sigma in enumerate((8.0, 5.0, 1.0)):
        call(references, model, [0, 1], number, sigma)
    assert [c.get("control") for _, c in model.seen] == [
        "residuals",
        None,
        "residuals",
        "residuals",
    ]


def test_an_inpainting_model_sees_the_reference_as_its_source() -> None:
    model = Model()
    references = References([unit()], 7, 0, State(), True, None)
    c = {
        "transformer_options": {"cond_or_uncond": [0]},
        "c_concat": torch.ones(1, 5, 2, 2),
    }
    args = {"input": torch.zeros(1, 4, 2, 2), "timestep": torch.full((1,), 5.0), "c": c}
    references.run(model.apply_model, {**args, "cond_or_uncond": [0]})
    concat = model.seen[0][1]["c_concat"]
    assert concat[:, 0].abs().max() == 0 and torch.equal(
        concat[:, 1:], torch.full((1, 4, 2, 2), 0.5)
    )
    assert model.seen[1][1]["c_concat"].min() == 1


@pytest.mark.parametrize(
    ("batch", "kinds", "images", "rows"),
    [
        (WholeBatch(), [1, 0], 2, [2, 3, 0, 1]),
        (WholeBatch(parts=2), [0, 1], 2, [0, 2, 4, 5]),
        (WholeBatch(part=1, parts=2), [0], 2, [1, 3]),
    ],
)
def test_rows_of_a_part_of_the_batch(
    batch: WholeBatch, kinds: list[int], images: int, rows: list[int]
) -> None:
    assert batch.rows(kinds, images) == rows


def test_the_batch_without_a_negative_prompt_is_smaller() -> None:
    assert WholeBatch(parts=2).size(3) == 9
    assert WholeBatch(parts=2, has_negative=False).size(3) == 6


def test_a_stream_without_a_seed_is_random() -> None:
    one, other = (NoiseStream(None, 0).next((4, 4), torch.device("cpu")) for _ in range(2))
    assert not torch.equal(one, other)


class TestAttention:
    def joined(self, fidelity: float, negative: list[int], weight: float = 1.0) -> Any:
        """Attention whose result is the mean of what it attends to."""

        def inner(x: Any, context: Any = None, **_: Any) -> Any:
            seen = x if context is None else context
            return seen.mean(dim=1, keepdim=True).expand_as(x).clone()

        state = State()
        forward = reference.attention(state, state.bank(), 0.5, inner)
        state.writing = unit(fidelity=fidelity, weight=weight)
        forward(torch.full((2, 3, 1), 10.0))
        state.writing, state.negative = None, negative
        return forward(torch.zeros(2, 3, 1))[:, 0, 0].tolist()

    def test_rows_attend_to_the_reference_as_well(self) -> None:
        assert self.joined(0.0, [1]) == [5.0, 5.0]

    def test_fidelity_leaves_the_negative_rows_alone(self) -> None:
        assert self.joined(0.25, [1]) == [5.0, 3.75]
        assert self.joined(1.0, [1]) == [5.0, 0.0]

    def test_rows_that_are_not_told_apart_are_all_alike(self) -> None:
        assert self.joined(1.0, []) == [5.0, 5.0]

    def test_a_layer_beyond_the_weight_takes_no_part(self) -> None:
        assert self.joined(0.0, [1], weight=0.5) == [0.0, 0.0]
        assert self.joined(0.0, [1], weight=0.51) == [5.0, 5.0]

    def test_a_second_unit_that_keeps_nothing_reads_what_the_first_kept(self) -> None:
        def inner(x: Any, context: Any = None, **_: Any) -> Any:
            seen = x if context is None else context
            return seen.mean(dim=1, keepdim=True).expand_as(x).clone()

        state = State()
        forward = reference.attention(state, state.bank(), 0.5, inner)
        found = []
        for kind, value in (("reference_only", 10.0), ("reference_adain", 4.0), (None, 0.0)):
            state.writing = unit(kind, fidelity=0.0) if kind else None
            found.append(float(forward(torch.full((1, 3, 1), value))[0, 0, 0]))
        assert found == [10.0, 7.0, 0.0]
        for kind, value in (("reference_only", 10.0), ("reference_only", 2.0), (None, 0.0)):
            state.writing = unit(kind, fidelity=0.0) if kind else None
            found.append(float(forward(torch.full((1, 3, 1), value))[0, 0, 0]))
        assert found[3:] == [10.0, 2.0, 4.0], "two of one kind are both for the picture"


class TestAdain:
    def test_a_second_unit_that_keeps_nothing_takes_on_the_first_ones_style(self) -> None:
        state = State()
        forward = reference.adain(state, state.bank(), 0.0, lambda x: x)
        state.writing = unit("reference_adain", fidelity=0.0)
        style = torch.randn(1, 2, 8, 8) * 3 + 7
        forward(style)
        state.writing = unit("reference_only")
        restyled = forward(torch.randn(1, 2, 8, 8))
        assert torch.allclose(restyled.mean(dim=(2, 3)), style.mean(dim=(2, 3)), rtol=1e-3)
        state.writing = None
        x = torch.randn(1, 2, 8, 8)
        assert torch.equal(forward(x), x)

    def test_a_block_takes_on_mean_and_spread(self) -> None:
        state = State()
        forward = reference.adain(state, state.bank(), 0.0, lambda x: x)
        state.writing = unit("reference_adain", fidelity=0.0)
        style = torch.randn(1, 2, 8, 8) * 3 + 7
        forward(style)
        state.writing = None
        found = forward(torch.randn(1, 2, 8, 8))
        for moment in (torch.mean, torch.std):
            wanted = moment(style, dim=(2, 3))
            assert torch.allclose(moment(found, dim=(2, 3)), wanted, rtol=1e-3)

    def test_a_unit_of_attention_only_leaves_blocks_alone(self) -> None:
        state = State()
        forward = reference.adain(state, state.bank(), 0.0, lambda x: x)
        state.writing = unit("reference_only")
        forward(torch.full((1, 2, 4, 4), 9.0))
        state.writing = None
        x = torch.randn(1, 2, 4, 4)
        assert torch.equal(forward(x), x)


def test_the_widest_layers_take_part_first() -> None:
    assert reference.attention_places([320, 640, 640, 1280]) == [0.75, 0.25, 0.5, 0.0]


def test_adain_reaches_blocks_at_half_the_weight() -> None:
    places = {(kind, number): place for kind, number, place in reference.adain_places(False)}
    assert places["middle", 0] == 0 and places["input", 4] == 2 and places["output", 0] == 0
    assert places["input", 11] == pytest.approx(2 / 6) and places["output", 7] == 1.75
    assert len(list(reference.adain_places(True))) == 1 + 4 + 6


def test_the_wrapper_is_a_function_that_a_deep_copy_keeps() -> None:
    import copy

    from custom_nodes.comfyui_a1111.nodes.reference import _as_function

    wrapper = _as_function(References([unit()], 7, 0, State(), True, None))
    assert copy.deepcopy({"wrapper": wrapper})["wrapper"] is wrapper


def test_a_second_unit_joins_the_first_ones_run() -> None:
    from custom_nodes.comfyui_a1111.nodes.reference import A1111ControlNetReference

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attn1, self.norm1 = torch.nn.Identity(), torch.nn.LayerNorm(8)

    class UNet(torch.nn.Module):
        num_classes = None

        def __init__(self) -> None:
            super().__init__()
            blocks = [torch.nn.Sequential(Block()) for _ in range(12)]
            self.input_blocks = torch.nn.ModuleList(blocks)
            self.middle_block = torch.nn.Sequential(Block())
            self.output_blocks = torch.nn.ModuleList([torch.nn.Sequential(Block()) for _ in blocks])

    class Patcher:
        def __init__(self) -> None:
            self.model = SimpleNamespace(diffusion_model=UNet())
            self.model_options: dict[str, Any] = {}
            self.attachments: dict[str, Any] = {}
            self.object_patches: dict[str, Any] = {}

        def clone(self) -> Patcher:
            other = Patcher()
            other.model = self.model
            for name in ("model_options", "attachments", "object_patches"):
                setattr(other, name, dict(getattr(self, name)))
            return other

        def add_object_patch(self, name: str, patch: Any) -> None:
            self.object_patches[name] = patch

        def set_model_unet_function_wrapper(self, wrapper: Any) -> None:
            self.model_options["model_function_wrapper"] = wrapper

    node = A1111ControlNetReference()
    source = {"samples": torch.zeros(1, 4, 2, 2)}
    values = (source, "reference_only", 1.0, 0.5, 0.0, 1.0, 7, 0, True)
    (first,) = node.patch(Patcher(), *values)
    (second,) = node.patch(first, *values)
    (units, inner) = second.attachments["a1111_references"]
    assert len(units) == 2 and inner is None
    assert "diffusion_model.middle_block.0.forward" in second.object_patches
    assert "diffusion_model.output_blocks.7.0.attn1.forward" in second.object_patches
