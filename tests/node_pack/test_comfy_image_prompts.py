"""Image prompts in ComfyUI's UNet, as the translator sets the packs' nodes, on random tensors.

Held against the extension's formula (sd-webui-controlnet v1.1.455: `ipadapter_model.py`,
`image_proj_models.py`, `plugable_ipadapter.py`, `clipvision`), written out here. Needs a ComfyUI
checkout (COMFYUI_DIR) with the packs, and an interpreter that can import it; runs on the CPU.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from custom_nodes.comfyui_a1111.maths import control_ops
from custom_nodes.comfyui_a1111.nodes import faces as face_nodes
from custom_nodes.comfyui_a1111.nodes import image_prompts
from tests.node_pack.comfy_models import (
    VECTOR,
    Patcher,
    call,
    clip_vision,
    noise,
    pack,
    torch,
    unet,
)

pytestmark = [pytest.mark.torch, pytest.mark.comfyui]

SD15_TEXT, SDXL_TEXT = 128, 2048
SIZE = (8, 16)
"""Of the latent, height and width; on other than multiples of 8 a region fails in A1111."""

CLIP_WIDTH, CLIP_OUT, CLIP_LAYERS = 64, 32, 3

INPUT_15, OUTPUT_15 = (1, 2, 4, 5, 7, 8), (3, 4, 5, 6, 7, 8, 9, 10, 11)
INPUT_XL, OUTPUT_XL = (4, 5, 7, 8), (0, 1, 2, 3, 4, 5)


def picture(seed: int, height: int = 80, width: int = 96) -> np.ndarray:
    """uint8 `[H, W, 3]`"""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tensor(image: np.ndarray) -> Any:
    """As LoadImage gives it."""
    return torch.from_numpy(image.astype(np.float32) / 255.0)[None]


def pixel_values(image: np.ndarray, mask: np.ndarray | None = None) -> Any:
    """What the extension shows CLIP: `[1, 3, 224, 224]`, normalised, zero where it is masked."""
    squashed = cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA) / 255.0
    mean = np.array([0.48145466, 0.4578275, 0.40821073])
    deviation = np.array([0.26862954, 0.26130258, 0.27577711])
    values = (squashed - mean) / deviation
    if mask is not None:
        hidden = cv2.resize(mask, (224, 224), interpolation=cv2.INTER_AREA) / 255.0
        values = values * (1.0 - hidden[..., None])
    return torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1)[None]


def vision_config(width: int) -> str:
    """A CLIP whose picture embedding is so wide, as ComfyUI's file of it."""
    config = {
        "hidden_act": "gelu",
        "hidden_size": CLIP_WIDTH,
        "image_size": 224,
        "intermediate_size": 128,
        "model_type": "clip_vision_model",
        "num_attention_heads": 4,
        "num_channels": 3,
        "num_hidden_layers": CLIP_LAYERS,
        "patch_size": 56,
        "projection_dim": width,
    }
    return json.dumps(config)


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A CLIP of three narrow layers in ComfyUI's own code."""
    path: Path = tmp_path_factory.mktemp("clip") / "config.json"
    path.write_text(vision_config(CLIP_OUT), "utf-8")
    return clip_vision(str(path), seed=21)


def seen_by(vision: Any, values: Any) -> SimpleNamespace:
    """CLIP's output for pixel values: the embedding, and the last layer but one."""
    with torch.no_grad():
        out = vision.model(pixel_values=values, intermediate_output=-2)
    return SimpleNamespace(image_embeds=out[2], hidden=out[1])


def layer_names(is_sdxl: bool) -> list[tuple[tuple[Any, ...], int]]:
    """The cross-attentions in the order of an adapter's keys, each with the number of the call.

    A place is (kind, block, index of the transformer block).
    """
    depths = {4: 2, 5: 2, 7: 10, 8: 10} if is_sdxl else dict.fromkeys(INPUT_15, 1)
    outs = (
        {block: 2 if block > 2 else 10 for block in OUTPUT_XL}
        if is_sdxl
        else dict.fromkeys(OUTPUT_15, 1)
    )
    middle = len(depths)
    places = [
        (("input", block, index), number)
        for number, (block, depth) in enumerate(depths.items())
        for index in range(depth)
    ]
    places += [
        (("output", block, index), middle + 1 + number)
        for number, (block, depth) in enumerate(outs.items())
        for index in range(depth)
    ]
    return places + [(("middle", 0, index), middle) for index in range(10 if is_sdxl else 1)]


def attention_at(model: Any, place: tuple[Any, ...]) -> Any:
    kind, block, index = place
    blocks = {
        "input": model.input_blocks,
        "output": model.output_blocks,
        "middle": [model.middle_block],
    }
    return blocks[kind][block][1].transformer_blocks[index].attn2


def random_state(shapes: Mapping[str, Sequence[int]], seed: int) -> dict[str, Any]:
    """Weights by name, of one size whatever their shape."""
    state = {}
    for number, (name, shape) in enumerate(shapes.items()):
        spread = 1.0 if len(shape) == 1 else 1.0 / shape[-1] ** 0.5
        state[name] = noise(*shape, seed=seed * 100 + number) * spread
    return state


def layers(model: Any, is_sdxl: bool, seed: int) -> dict[str, Any]:
    """Keys and values of an adapter for every cross-attention of a UNet."""
    made = {}
    for number, (place, _) in enumerate(layer_names(is_sdxl)):
        width, text = attention_at(model, place).to_k.weight.shape
        for offset, name in enumerate(("to_k_ip", "to_v_ip")):
            drawn = noise(width, text, seed=seed + 2 * number + offset)
            made[f"{2 * number + 1}.{name}.weight"] = drawn / text**0.5
    return made


def split(x: Any, heads: int) -> Any:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attention(q: Any, k: Any, v: Any, heads: int) -> Any:
    q, k, v = (split(x, heads) for x in (q, k, v))
    scores = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1)
    return (scores @ v).transpose(1, 2).flatten(2)


def prompted(
    model: Any, is_sdxl: bool, kvs: Mapping[str, Any], tokens: Any, weights: Any, region: Any
) -> Iterator[None]:
    """The extension's cross-attentions in place of a UNet's own.

    Args:
        tokens: `[rows, tokens, text]`, of each row of the batch.
        weights: one for all, or by the number of the call.
        region: `[1, 1, H, W]`, or None.
    """
    for number, (place, call_number) in enumerate(layer_names(is_sdxl)):
        block = attention_at(model, place)
        weight = weights if isinstance(weights, float) else weights.get(call_number, 0.0)
        key, value = (kvs[f"{2 * number + 1}.{name}.weight"] for name in ("to_k_ip", "to_v_ip"))
        block.forward = forward_of(block, key, value, tokens, weight, region)
    yield
    for place, _ in layer_names(is_sdxl):
        del attention_at(model, place).forward


def forward_of(block: Any, key: Any, value: Any, tokens: Any, weight: float, region: Any) -> Any:
    def forward(x: Any, context: Any = None, value_: Any = None, **_: Any) -> Any:
        q, k, v = block.to_q(x), block.to_k(context), block.to_v(context)
        out = attention(q, k, v, block.heads)
        own = attention(q, tokens @ key.T, tokens @ value.T, block.heads) * weight
        if region is not None:
            factor = (x.shape[1] / (SIZE[0] * SIZE[1])) ** 0.5
            size = (int(SIZE[0] * factor), int(SIZE[1] * factor))
            mask = torch.nn.functional.interpolate(region, size, mode="bilinear")
            own = own * mask.flatten(2).transpose(1, 2)
        return block.to_out(out + own)

    return forward


def sampled(model: Any, is_sdxl: bool, options: Mapping[str, Any]) -> Any:
    """The UNet's answer for a row of the negative prompt and one of the positive."""
    text = attention_at(model, ("middle", 0, 0)).to_k.weight.shape[1]
    sigmas = torch.tensor([5.0, 5.0])
    with torch.no_grad():
        return model(
            noise(2, 4, *SIZE, seed=4),
            torch.tensor([500.0, 500.0]),
            context=noise(2, 7, text, seed=5),
            y=noise(2, VECTOR, seed=6) if is_sdxl else None,
            transformer_options={**options, "cond_or_uncond": [1, 0], "sigmas": sigmas},
        )


def as_extension(
    model: Any,
    is_sdxl: bool,
    kvs: Mapping[str, Any],
    cond: Any,
    uncond: Any,
    weights: Any = 0.7,
    region: Any = None,
) -> Any:
    """The UNet's answer under the extension's image prompt."""
    places = prompted(model, is_sdxl, kvs, torch.cat([uncond, cond]), weights, region)
    next(places)
    found = sampled(model, is_sdxl, {})
    next(places, None)
    return found


def with_own_attention(model: Any) -> Any:
    """As every graph with an image prompt ends: the middle block where ComfyUI looks for it."""
    return image_prompts.A1111ControlNetAttention().own(model, "sampling")[0]


def options_of(patcher: Any) -> Mapping[str, Any]:
    options: Mapping[str, Any] = patcher.model_options["transformer_options"]
    return options


def applied(node: str, adapter: Any, vision: Any, image: Any, **inputs: Any) -> Any:
    """A model with an image prompt by a node of IPAdapter_plus, as the translator sets it."""
    nodes = pack("ComfyUI_IPAdapter_plus").NODE_CLASS_MAPPINGS
    (found, *_) = call(
        nodes[node],
        model=Patcher(),
        ipadapter=adapter,
        image=image,
        clip_vision=vision,
        start_at=0.0,
        end_at=1.0,
        weight_type="linear",
        combine_embeds="average",
        embeds_scaling="V only",
        **inputs,
    )
    return found


def plain_adapter(model: Any, is_sdxl: bool) -> dict[str, Any]:
    text = SDXL_TEXT if is_sdxl else SD15_TEXT
    shapes = {
        "proj.weight": (4 * text, CLIP_OUT),
        "proj.bias": (4 * text,),
        "norm.weight": (text,),
        "norm.bias": (text,),
    }
    return {"image_proj": random_state(shapes, 3), "ip_adapter": layers(model, is_sdxl, 400)}


def plain_tokens(state: Mapping[str, Any], seen: Any) -> Any:
    text = state["norm.weight"].shape[0]
    made = (seen @ state["proj.weight"].T + state["proj.bias"]).reshape(1, 4, text)
    return torch.nn.functional.layer_norm(made, (text,), state["norm.weight"], state["norm.bias"])


@pytest.mark.parametrize("is_sdxl", [False, True], ids=["SD1.5", "SDXL"])
@pytest.mark.parametrize("case", ["plain", "masked", "region", "per layer", "no layer"])
def test_an_image_prompt_is_the_extensions(vision: Any, is_sdxl: bool, case: str) -> None:
    text = SDXL_TEXT if is_sdxl else SD15_TEXT
    model = unet(is_sdxl, text, depth=2 if is_sdxl else 1)
    adapter = plain_adapter(model, is_sdxl)
    image, mask = picture(1), picture(2)[..., 0]
    inputs: dict[str, Any] = {"weight": 0.7}
    weights: Any = 0.7
    region = None
    node = "IPAdapterAdvanced"
    if case == "region":
        region = noise(1, 1, SIZE[0] * 8, SIZE[1] * 8, seed=9).clamp(0, 1)
        inputs["attn_mask"] = region[0]
    if "layer" in case:
        weights = {3: 0.4, 4: 1.2, 9: 0.1} if case == "per layer" else {}
        written = ", ".join(f"{number}:{weight}" for number, weight in weights.items()) or "0:0"
        inputs |= {"weight": 1.0, "weight_faceidv2": 1.0, "layer_weights": written}
        node = "IPAdapterMS"
    masked = tensor(mask[..., None])[..., 0] if case == "masked" else None
    (shown,) = image_prompts.A1111ControlNetClipImage().squash(tensor(image), masked)
    found = applied(node, adapter, vision, shown, **inputs)
    seen = seen_by(vision, pixel_values(image, mask if case == "masked" else None)).image_embeds
    cond = plain_tokens(adapter["image_proj"], seen)
    uncond = plain_tokens(adapter["image_proj"], torch.zeros_like(seen))
    expected = as_extension(model, is_sdxl, adapter["ip_adapter"], cond, uncond, weights, region)
    made = sampled(model, is_sdxl, options_of(with_own_attention(found)))
    # CLIP's own preparation rounds the masked picture to whole levels.
    assert torch.allclose(made, expected, atol=5e-3 if case == "masked" else 1e-4)
    bare = sampled(model, is_sdxl, {})
    assert torch.allclose(made, bare, atol=1e-2) == (case == "no layer")


def test_the_picture_for_clip_is_the_extensions(vision: Any) -> None:
    for height, width in ((80, 96), (300, 500), (224, 224), (1000, 224)):
        image = picture(5, height, width)
        (shown,) = image_prompts.A1111ControlNetClipImage().squash(tensor(image))
        wanted = cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA)
        assert (np.rint(shown[0].numpy() * 255) == wanted).all()


def resampler(text: int, is_sdxl: bool) -> dict[str, Any]:
    """Weights of a plus adapter: four layers of a perceiver, 16 tokens."""
    width, heads = (1280, 20) if is_sdxl else (text, 12)
    return {
        "latents": (1, 16, width),
        "proj_in.weight": (width, CLIP_WIDTH),
        "proj_in.bias": (width,),
        "proj_out.weight": (text, width),
        "proj_out.bias": (text,),
        "norm_out.weight": (text,),
        "norm_out.bias": (text,),
        **perceiver_shapes("layers", width, heads),
    }


def perceiver_shapes(prefix: str, width: int, heads: int) -> dict[str, Any]:
    inner = 64 * heads
    shapes: dict[str, Any] = {}
    for number in range(4):
        at = f"{prefix}.{number}"
        for norm in ("0.norm1", "0.norm2", "1.0"):
            shapes |= {f"{at}.{norm}.weight": (width,), f"{at}.{norm}.bias": (width,)}
        shapes |= {
            f"{at}.0.to_q.weight": (inner, width),
            f"{at}.0.to_kv.weight": (2 * inner, width),
            f"{at}.0.to_out.weight": (width, inner),
            f"{at}.1.1.weight": (4 * width, width),
            f"{at}.1.3.weight": (width, 4 * width),
        }
    return shapes


def perceived(state: Mapping[str, Any], prefix: str, heads: int, latents: Any, x: Any) -> Any:
    """The extension's perceiver: what `latents` read of `x`, layer by layer."""

    def norm(name: str, value: Any) -> Any:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return torch.nn.functional.layer_norm(value, weight.shape, weight, bias)

    for number in range(4):
        at = f"{prefix}.{number}"
        read, own = norm(f"{at}.0.norm1", x), norm(f"{at}.0.norm2", latents)
        q = own @ state[f"{at}.0.to_q.weight"].T
        k, v = (torch.cat([read, own], dim=1) @ state[f"{at}.0.to_kv.weight"].T).chunk(2, dim=-1)
        latents = attention(q, k, v, heads) @ state[f"{at}.0.to_out.weight"].T + latents
        hidden = norm(f"{at}.1.0", latents) @ state[f"{at}.1.1.weight"].T
        latents = torch.nn.functional.gelu(hidden) @ state[f"{at}.1.3.weight"].T + latents
    return latents


def projected(state: Mapping[str, Any], name: str, value: Any) -> Any:
    return value @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def normed(state: Mapping[str, Any], name: str, value: Any) -> Any:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return torch.nn.functional.layer_norm(value, weight.shape, weight, bias)


def plus_tokens(state: Mapping[str, Any], hidden: Any, heads: int) -> Any:
    latents = perceived(
        state, "layers", heads, state["latents"], projected(state, "proj_in", hidden)
    )
    return normed(state, "norm_out", projected(state, "proj_out", latents))


@pytest.mark.parametrize("kind", ["SD1.5 plus", "SD1.5 full", "SDXL plus"])
def test_a_plus_adapters_tokens_are_the_extensions(vision: Any, kind: str) -> None:
    """But for the negative prompt's: the extension ships those, the pack makes them of black."""
    is_sdxl = kind.startswith("SDXL")
    text = SDXL_TEXT if is_sdxl else SD15_TEXT
    model = unet(is_sdxl, text, depth=2 if is_sdxl else 1)
    if kind == "SD1.5 full":
        shapes = {
            "proj.0.weight": (CLIP_WIDTH, CLIP_WIDTH),
            "proj.0.bias": (CLIP_WIDTH,),
            "proj.2.weight": (text, CLIP_WIDTH),
            "proj.2.bias": (text,),
            "proj.3.weight": (text,),
            "proj.3.bias": (text,),
        }
    else:
        shapes = resampler(text, is_sdxl)
    state = random_state(shapes, 6)

    def tokens(hidden: Any) -> Any:
        if kind != "SD1.5 full":
            return plus_tokens(state, hidden, 20 if is_sdxl else 12)
        made = torch.nn.functional.gelu(projected(state, "proj.0", hidden))
        return normed(state, "proj.3", projected(state, "proj.2", made))

    adapter = {"image_proj": state, "ip_adapter": layers(model, is_sdxl, 400)}
    image = picture(1)
    (shown,) = image_prompts.A1111ControlNetClipImage().squash(tensor(image))
    found = with_own_attention(applied("IPAdapterAdvanced", adapter, vision, shown, weight=0.7))
    with torch.no_grad():
        cond = tokens(seen_by(vision, pixel_values(image)).hidden)
        uncond = tokens(seen_by(vision, pixel_values(np.zeros_like(image))).hidden)
    expected = as_extension(model, is_sdxl, adapter["ip_adapter"], cond, uncond)
    made = sampled(model, is_sdxl, options_of(found))
    assert torch.allclose(made, expected, atol=1e-4)


class Faces:
    """InsightFace, which finds two faces at 640 pixels, or none."""

    def __init__(self, found: bool = True) -> None:
        self.det_model = SimpleNamespace(input_size=None)
        self._found = found

    def get(self, image: np.ndarray) -> list[Any]:
        if self.det_model.input_size != (640, 640):
            return [self._face(3, (0, 0, 90, 70))]
        return [self._face(1, (0, 0, 9, 9)), self._face(2, (5, 5, 60, 50))] if self._found else []

    def _face(self, seed: int, box: tuple[int, ...]) -> Any:
        embedding = noise(512, seed=seed)
        face = Face(bbox=np.array(box), kps=np.array([[3, 3], [9, 3], [6, 6], [4, 9], [8, 9]]))
        face.normed_embedding = (embedding / embedding.norm()).numpy()
        return face


class Face(dict[str, Any]):
    """A face of InsightFace: its members are attributes as well."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


def face_adapter(model: Any, is_sdxl: bool, plus: bool) -> dict[str, Any]:
    text = SDXL_TEXT if is_sdxl else SD15_TEXT
    shapes: dict[str, Any] = {
        "proj.0.weight": (1024, 512),
        "proj.0.bias": (1024,),
        "proj.2.weight": (4 * text, 1024),
        "proj.2.bias": (4 * text,),
        "norm.weight": (text,),
        "norm.bias": (text,),
    }
    if plus:
        at = "perceiver_resampler"
        shapes |= {
            f"{at}.proj_in.weight": (text, CLIP_WIDTH),
            f"{at}.proj_in.bias": (text,),
            f"{at}.proj_out.weight": (text, text),
            f"{at}.proj_out.bias": (text,),
            f"{at}.norm_out.weight": (text,),
            f"{at}.norm_out.bias": (text,),
            **perceiver_shapes(f"{at}.layers", text, text // 64),
        }
    kvs = layers(model, is_sdxl, 400)
    kvs["0.to_q_lora.down.weight"] = noise(4, 32, seed=1)
    return {"image_proj": random_state(shapes, 8), "ip_adapter": kvs}


def face_tokens(state: Mapping[str, Any], face: Any, hidden: Any, shortcut: bool) -> Any:
    """The extension's tokens of a face; `hidden` is CLIP's last layer but one for plus, or None."""
    text = state["norm.weight"].shape[0]
    made = torch.nn.functional.gelu(projected(state, "proj.0", face))
    x = normed(state, "norm", projected(state, "proj.2", made).reshape(1, 4, text))
    if hidden is None:
        return x
    at = "perceiver_resampler"
    read = projected(state, f"{at}.proj_in", hidden)
    latents = perceived(state, f"{at}.layers", text // 64, x, read)
    out = normed(state, f"{at}.norm_out", projected(state, f"{at}.proj_out", latents))
    return x + out if shortcut else out


@pytest.mark.parametrize("is_sdxl", [False, True], ids=["SD1.5", "SDXL"])
@pytest.mark.parametrize("kind", ["plain", "plus", "plus v2"])
def test_a_faces_tokens_are_the_extensions(
    vision: Any, is_sdxl: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crop = SimpleNamespace(norm_crop=lambda image, landmark, image_size: image[:64, :64])
    insightface = SimpleNamespace(face_align=crop)
    monkeypatch.setitem(__import__("sys").modules, "insightface", SimpleNamespace())
    monkeypatch.setitem(__import__("sys").modules, "insightface.utils", insightface)
    model = unet(is_sdxl, SDXL_TEXT if is_sdxl else SD15_TEXT, depth=2 if is_sdxl else 1)
    adapter = face_adapter(model, is_sdxl, kind != "plain")
    if kind == "plus v2":
        adapter["faceidplusv2"] = True
    image = picture(1)
    (faces,) = face_nodes.A1111LargestFace().wrap(Faces())
    patched = applied(
        "IPAdapterFaceID",
        adapter,
        vision,
        tensor(image),
        weight=0.7,
        insightface=faces,
        weight_faceidv2=1.0,
    )
    seen = None
    if kind != "plain":
        (shown,) = image_prompts.A1111ControlNetClipImage().squash(tensor(image))
        seen = vision.encode_image(shown)
    (found,) = face_nodes.A1111FaceTokens().replace(
        patched, faces, tensor(image), seen, kind == "plus v2"
    )
    face = noise(512, seed=2)
    face = (face / face.norm())[None]
    hidden = black = None
    if kind != "plain":
        hidden = seen_by(vision, pixel_values(image)).hidden
        black = seen_by(vision, pixel_values(np.zeros_like(image))).hidden
    shortcut = kind == "plus v2"
    state = adapter["image_proj"]
    with torch.no_grad():
        cond = face_tokens(state, face, hidden, shortcut)
        uncond = face_tokens(state, torch.zeros_like(face), black, shortcut)
    expected = as_extension(model, is_sdxl, adapter["ip_adapter"], cond, uncond)
    made = sampled(model, is_sdxl, options_of(with_own_attention(found)))
    assert torch.allclose(made, expected, atol=1e-4)


def test_a_face_is_looked_for_at_640_pixels_only() -> None:
    (faces,) = face_nodes.A1111LargestFace().wrap(Faces(found=False))
    faces.det_model.input_size = (320, 320)
    assert faces.get(picture(1)) == []
    with pytest.raises(ValueError, match="No face detected"):
        face_nodes.A1111FaceTokens().replace(Patcher(), faces, tensor(picture(1)))


@pytest.mark.parametrize("augmentation", [0.0, 0.35, 1.0])
def test_revision_is_the_extensions(tmp_path: Path, augmentation: float) -> None:
    path = tmp_path / "config.json"
    path.write_text(vision_config(1280), "utf-8")
    wide = clip_vision(str(path), seed=22)
    images, weights, seed = (picture(1), picture(2)), (0.8, 1.3), 77
    pooled = [[noise(1, 7, SDXL_TEXT, seed=1), {"pooled_output": noise(1, 1280, seed=2)}]]
    revised: Any = pooled
    for number, (image, weight) in enumerate(zip(images, weights, strict=True)):
        (shown,) = image_prompts.A1111ControlNetClipImage().squash(tensor(image))
        (revised,) = image_prompts.A1111Revision().revise(
            revised,
            weight,
            augmentation,
            seed,
            number > 0,
            False,
            wide.encode_image(shown),
            1280 * number,
        )
    # The extension's noise schedule, from 1e-4 to 2e-2 by even roots, at a level of 0 to 999.
    betas = np.linspace(1e-4**0.5, 2e-2**0.5, 1000) ** 2
    kept = np.cumprod(1.0 - betas)[min(int(augmentation * 1000), 999)]
    torch.manual_seed(seed)
    expected = sum(
        weight
        * (
            float(kept) ** 0.5 * seen_by(wide, pixel_values(image)).image_embeds
            + float(1.0 - kept) ** 0.5 * torch.randn(1, 1280)
        )
        for image, weight in zip(images, weights, strict=True)
    )
    assert torch.allclose(revised[0][1]["pooled_output"], expected, atol=1e-4)
    assert torch.equal(revised[0][0], pooled[0][0])


def test_clips_tensor_is_the_extensions(vision: Any) -> None:
    """A dictionary of tensors: the embeddings, and what each layer makes of the one before."""
    image = picture(1)
    (shown,) = image_prompts.A1111ControlNetClipImage().squash(tensor(image))
    (text,) = image_prompts.A1111ClipTensor().encode(vision, shown)
    found = torch.load(io.BytesIO(base64.b64decode(text)))
    assert list(found) == ["image_embeds", "last_hidden_state", "hidden_states"]
    values, inner = pixel_values(image), vision.model.vision_model
    with torch.no_grad():
        x = inner.pre_layrnorm(inner.embeddings(values))
        states = [x]
        for layer in inner.encoder.layers:
            normed_x = layer.layer_norm1(x)
            own = layer.self_attn
            q, k, v = own.q_proj(normed_x), own.k_proj(normed_x), own.v_proj(normed_x)
            x = x + own.out_proj(attention(q, k, v, own.heads))
            wide = layer.mlp.fc1(layer.layer_norm2(x))
            x = x + layer.mlp.fc2(torch.nn.functional.gelu(wide))
            states.append(x)
        embeds = vision.model.visual_projection(inner.post_layernorm(x[:, 0]))
    assert torch.allclose(found["image_embeds"], embeds, atol=1e-4)
    assert torch.allclose(found["last_hidden_state"], x, atol=1e-4)
    assert len(found["hidden_states"]) == CLIP_LAYERS + 1
    for one, other in zip(found["hidden_states"], states, strict=True):
        assert one.shape == (1, 17, CLIP_WIDTH) and torch.allclose(one, other, atol=1e-4)


def test_an_image_prompt_has_a_weight_for_each_layer(vision: Any) -> None:
    model = unet(False, SD15_TEXT)
    adapter = plain_adapter(model, False)
    (shown,) = image_prompts.A1111ControlNetClipImage().squash(tensor(picture(1)))
    found = applied("IPAdapterAdvanced", adapter, vision, shown, weight=1.0)
    weights = [0.0, 0.5] + [0.25] * 14
    (found,) = image_prompts.A1111LayerWeights().weigh(found, json.dumps(weights))
    seen = seen_by(vision, pixel_values(picture(1))).image_embeds
    cond = plain_tokens(adapter["image_proj"], seen)
    uncond = plain_tokens(adapter["image_proj"], torch.zeros_like(seen))
    by_layer = dict(enumerate(weights))
    expected = as_extension(model, False, adapter["ip_adapter"], cond, uncond, by_layer)
    made = sampled(model, False, options_of(with_own_attention(found)))
    assert torch.allclose(made, expected, atol=1e-4)


@pytest.mark.parametrize("images", [1, 2, 3])
@pytest.mark.parametrize("negative_first", [True, False])
def test_rows_read_what_the_extension_kept_of_its_first_call(
    vision: Any, images: int, negative_first: bool
) -> None:
    """NGMS leaves the negative prompt out later on, "Skip Early CFG" at first."""
    model = unet(False, SD15_TEXT)
    adapter = plain_adapter(model, False)
    (shown,) = image_prompts.A1111ControlNetClipImage().squash(tensor(picture(1)))
    found = with_own_attention(applied("IPAdapterAdvanced", adapter, vision, shown, weight=0.7))
    for patch in options_of(found)["patches_replace"]["attn2"].values():
        del patch.kwargs[-1]["unfold_batch"]  # as InstantID's pack leaves it out
    seen = seen_by(vision, pixel_values(picture(1))).image_embeds
    cond = plain_tokens(adapter["image_proj"], seen)
    uncond = plain_tokens(adapter["image_proj"], torch.zeros_like(seen))
    first = [cond] * images + ([uncond] * images if negative_first else [])
    rows = images if negative_first else 2 * images
    # As call_ip keeps `first`, and `view(batch_size, -1, heads, head_dim)` reads it.
    kept = torch.cat(first).reshape(rows, -1, SD15_TEXT)
    x, context = noise(rows, 4, *SIZE, seed=4), noise(rows, 7, SD15_TEXT, seed=5)
    t = torch.full((rows,), 500.0)
    places = prompted(model, False, adapter["ip_adapter"], kept, 0.7, None)
    next(places)
    with torch.no_grad():
        expected = model(x, t, context=context, transformer_options={})
    next(places, None)
    options = control_ops.with_kept_tokens(
        options_of(found),
        images,
        negative_first=negative_first,
        negative_now=not negative_first,
    )
    kinds = [0] if negative_first else [0, 1]
    with torch.no_grad():
        made = model(
            x,
            t,
            context=context,
            transformer_options={**options, "cond_or_uncond": kinds, "sigmas": t * 0 + 5.0},
        )
    assert torch.allclose(made, expected, atol=1e-4)
