"""Workflows of today in direct submission: the graphs of three of ComfyUI's bundled templates.

They are flux_schnell, hunyuan_video_text_to_video and text_to_video_wan of the package
comfyui-workflow-templates, in API format. Nodes, links and values are theirs; prompts are short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import requests

from devserver import DevServer
from devserver.dialect import DIALECTS
from devserver.settings import default_models
from tests.corpus.signatures import bundled, faults
from tests.devserver.graphs import node

NEWEST = list(DIALECTS)[-1]
Graph = dict[str, Any]


def flux_schnell() -> Graph:
    return {
        "30": node("CheckpointLoaderSimple", ckpt_name="flux1-schnell-fp8.safetensors"),
        "6": node("CLIPTextEncode", clip=["30", 1], text="a bottle with a galaxy inside"),
        "33": node("CLIPTextEncode", clip=["30", 1], text=""),
        "27": node("EmptySD3LatentImage", width=1024, height=1024, batch_size=1),
        "31": node(
            "KSampler",
            model=["30", 0],
            positive=["6", 0],
            negative=["33", 0],
            latent_image=["27", 0],
            seed=173805153958730,
            steps=4,
            cfg=1,
            sampler_name="euler",
            scheduler="simple",
            denoise=1,
        ),
        "8": node("VAEDecode", samples=["31", 0], vae=["30", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="ComfyUI"),
    }


def video(graph: Graph, decoded: str, fps: int) -> Graph:
    """A graph with what the video templates end in."""
    saved = {"filename_prefix": "video/ComfyUI", "format": "auto", "codec": "auto"}
    return {
        **graph,
        "made": node("CreateVideo", images=[decoded, 0], fps=fps),
        "saved": {"class_type": "SaveVideo", "inputs": {"video": ["made", 0], **saved}},
    }


def text_to_video_wan() -> Graph:
    graph = {
        "37": node(
            "UNETLoader", unet_name="wan2.1_t2v_1.3B_fp16.safetensors", weight_dtype="default"
        ),
        "38": node(
            "CLIPLoader",
            clip_name="umt5_xxl_fp8_e4m3fn_scaled.safetensors",
            type="wan",
            device="default",
        ),
        "39": node("VAELoader", vae_name="wan_2.1_vae.safetensors"),
        "48": node("ModelSamplingSD3", model=["37", 0], shift=8),
        "6": node("CLIPTextEncode", clip=["38", 0], text="a fox moving quickly"),
        "7": node("CLIPTextEncode", clip=["38", 0], text="overexposed, static"),
        "40": node("EmptyHunyuanLatentVideo", width=832, height=480, length=33, batch_size=1),
        "3": node(
            "KSampler",
            model=["48", 0],
            positive=["6", 0],
            negative=["7", 0],
            latent_image=["40", 0],
            seed=82628696717253,
            steps=30,
            cfg=6,
            sampler_name="uni_pc",
            scheduler="simple",
            denoise=1,
        ),
        "8": node("VAEDecode", samples=["3", 0], vae=["39", 0]),
    }
    return video(graph, "8", 16)


def hunyuan_video() -> Graph:
    graph = {
        "12": node(
            "UNETLoader",
            unet_name="hunyuan_video_t2v_720p_bf16.safetensors",
            weight_dtype="default",
        ),
        "11": node(
            "DualCLIPLoader",
            clip_name1="clip_l.safetensors",
            clip_name2="llava_llama3_fp8_scaled.safetensors",
            type="hunyuan_video",
            device="default",
        ),
        "10": node("VAELoader", vae_name="hunyuan_video_vae_bf16.safetensors"),
        "44": node("CLIPTextEncode", clip=["11", 0], text="walking in the snow"),
        "26": node("FluxGuidance", conditioning=["44", 0], guidance=6),
        "67": node("ModelSamplingSD3", model=["12", 0], shift=7),
        "22": node("BasicGuider", model=["67", 0], conditioning=["26", 0]),
        "17": node("BasicScheduler", model=["12", 0], scheduler="simple", steps=20, denoise=1),
        "16": node("KSamplerSelect", sampler_name="euler"),
        "25": node("RandomNoise", noise_seed=1),
        "45": node("EmptyHunyuanLatentVideo", width=848, height=480, length=73, batch_size=1),
        "13": node(
            "SamplerCustomAdvanced",
            noise=["25", 0],
            guider=["22", 0],
            sampler=["16", 0],
            sigmas=["17", 0],
            latent_image=["45", 0],
        ),
        "73": node(
            "VAEDecodeTiled",
            samples=["13", 0],
            vae=["10", 0],
            tile_size=256,
            overlap=64,
            temporal_size=64,
            temporal_overlap=8,
        ),
    }
    return video(graph, "73", 24)


TEMPLATES: Mapping[str, tuple[Callable[[], Graph], Mapping[str, tuple[str, ...]]]] = {
    "flux_schnell": (flux_schnell, {"checkpoints": ("flux1-schnell-fp8.safetensors",)}),
    "text_to_video_wan": (
        text_to_video_wan,
        {
            "diffusion_models": ("wan2.1_t2v_1.3B_fp16.safetensors",),
            "text_encoders": ("umt5_xxl_fp8_e4m3fn_scaled.safetensors",),
            "vae": ("wan_2.1_vae.safetensors",),
        },
    ),
    "hunyuan_video_text_to_video": (
        hunyuan_video,
        {
            "diffusion_models": ("hunyuan_video_t2v_720p_bf16.safetensors",),
            "text_encoders": ("clip_l.safetensors", "llava_llama3_fp8_scaled.safetensors"),
            "vae": ("hunyuan_video_vae_bf16.safetensors",),
        },
    ),
}
"""Template -> its graph, and the model files it wants by folder."""


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[DevServer]:
    """The newest ComfyUI, with the models of the template that is named."""
    models = {**default_models(), **getattr(request, "param", {})}
    with DevServer(version=NEWEST, models=models) as server:
        yield server


def with_models(names: str = "graph") -> Any:
    cases = [(graph, files) for graph, files in TEMPLATES.values()]
    return pytest.mark.parametrize((names, "server"), cases, ids=TEMPLATES, indirect=["server"])


@with_models()
def test_it_passes_validation_where_its_models_are(
    graph: Callable[[], Graph], server: DevServer
) -> None:
    answer = requests.post(f"{server.url}/prompt", json={"prompt": graph()}, timeout=5)
    assert answer.status_code == 200, answer.text
    assert answer.json()["node_errors"] == {}


@pytest.mark.parametrize("name", TEMPLATES)
async def test_it_is_refused_with_the_names_of_the_models_that_lack(name: str, worker: Any) -> None:
    graph, files = TEMPLATES[name]
    answer = await worker.graph(graph())
    for wanted in files.values():
        for file in wanted:
            assert file in answer["error"]


@pytest.mark.parametrize("server", [TEMPLATES["flux_schnell"][1]], indirect=True)
async def test_the_worker_runs_the_flux_template(worker: Any) -> None:
    answer = await worker.graph(flux_schnell())
    assert len(answer["images"]) == 1, answer


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_newest_signatures_accept_it(name: str) -> None:
    graph = TEMPLATES[name][0]()
    graph.pop("saved", None)  # has a dynamic combo, which only the server's validation expands
    assert faults(graph, bundled(NEWEST)) == []
