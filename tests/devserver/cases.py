"""Graphs whose results were recorded from a real ComfyUI, see `record`.

They use the models of ``shared/lab``: ``synth15`` and its kin are small enough for a CPU.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image

from tests.devserver.graphs import Graph, node

MODELS = {
    "checkpoints": ["synth15.safetensors"],
    "vae": ["synthvae.safetensors"],
    "upscale_models": ["synthesrgan.pth"],
    "controlnet": ["synth_control_sd15_canny.safetensors"],
    "loras": [],
}


def _file(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    return _file(Image.new("RGB", (90, 40), (9, 120, 30)), "JPEG", exif=exif)


def _animated() -> bytes:
    frames = [Image.new("RGB", (40, 30), (80 * i, 20, 200)) for i in range(3)]
    return _file(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=40)


def _palette() -> bytes:
    picture = Image.new("RGBA", (33, 44), (200, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 10, 10))
    return _file(picture.quantize(8))


FILES: dict[str, bytes] = {
    "rgb.png": _file(Image.new("RGB", (103, 77), (200, 100, 40))),
    "rgba.png": _file(Image.new("RGBA", (61, 52), (200, 100, 40, 128))),
    "gray.png": _file(Image.new("L", (50, 60), 77)),
    "deep.png": _file(Image.new("I;16", (48, 36), 3000)),
    "palette.png": _palette(),
    "rotated.jpg": _rotated(),
    "animated.gif": _animated(),
    "black.png": _file(Image.new("RGB", (80, 64))),
    "wide.png": _file(Image.new("RGB", (301, 203), (20, 200, 90))),
    "notes.txt": b"no picture",
}


def _show(nodes: Mapping[str, Any], *links: Any) -> Graph:
    shown = {f"show{i}": node("PreviewImage", images=link) for i, link in enumerate(links)}
    return {**nodes, **shown}


def _decoded(nodes: Mapping[str, Any], *latents: Any) -> Graph:
    """Latents made visible, by a VAE that every such graph has."""
    decoders = {
        f"decode{i}": node("VAEDecode", samples=link, vae=["vae", 0])
        for i, link in enumerate(latents)
    }
    loader = {"vae": node("VAELoader", vae_name="synthvae.safetensors")}
    return _show({**loader, **nodes, **decoders}, *([name, 0] for name in decoders))


def _empty(width: int = 128, height: int = 192, batch: int = 2) -> dict[str, Any]:
    return node("EmptyLatentImage", width=width, height=height, batch_size=batch)


def _picture(width: int = 100, height: int = 70, batch: int = 2) -> dict[str, Any]:
    return node("EmptyImage", width=width, height=height, batch_size=batch, color=255)


def _load(name: str) -> dict[str, Any]:
    return node("LoadImage", image=name)


def _sampled(**nodes: dict[str, Any]) -> Graph:
    """Nodes with a model, two prompts and a latent, ending in the latent "out"."""
    base = {
        "ck": node("CheckpointLoaderSimple", ckpt_name="synth15.safetensors"),
        "pos": node("CLIPTextEncode", clip=["ck", 1], text="a cat"),
        "neg": node("CLIPTextEncode", clip=["ck", 1], text=""),
        "latent": _empty(64, 72),
    }
    return _decoded({**base, **nodes}, ["out", 0])


def _ksampler(**changes: Any) -> Graph:
    inputs: dict[str, Any] = {"seed": 3, "steps": 4, "cfg": 5.0, "sampler_name": "euler"}
    inputs |= {"scheduler": "normal", "denoise": 1.0} | changes
    sampler = node(
        "KSampler",
        model=["ck", 0],
        positive=["pos", 0],
        negative=["neg", 0],
        latent_image=["latent", 0],
        **inputs,
    )
    return _sampled(out=sampler)


def _advanced(**changes: Any) -> Graph:
    inputs: dict[str, Any] = {"add_noise": "enable", "noise_seed": 3, "steps": 6, "cfg": 5.0}
    inputs |= {"sampler_name": "euler", "scheduler": "normal", "start_at_step": 0}
    inputs |= {"end_at_step": 10000, "return_with_leftover_noise": "disable"} | changes
    sampler = node(
        "KSamplerAdvanced",
        model=["ck", 0],
        positive=["pos", 0],
        negative=["neg", 0],
        latent_image=["latent", 0],
        **inputs,
    )
    return _sampled(out=sampler)


def _custom(sigmas: Any, **nodes: dict[str, Any]) -> Graph:
    schedule = node("BasicScheduler", model=["ck", 0], scheduler="karras", steps=6, denoise=1.0)
    guider = node("CFGGuider", model=["ck", 0], positive=["pos", 0], negative=["neg", 0], cfg=5.0)
    sampler = node(
        "SamplerCustomAdvanced",
        noise=["noise", 0],
        guider=["guider", 0],
        sampler=["sampler", 0],
        sigmas=sigmas,
        latent_image=["latent", 0],
    )
    made = {
        "noise": node("RandomNoise", noise_seed=4),
        "sampler": node("KSamplerSelect", sampler_name="euler"),
        "schedule": schedule,
        "guider": guider,
        "out": sampler,
    }
    return _sampled(**(made | nodes))


def _a1111_passes(seeds: str = "[1, 2]") -> Graph:
    """Two exact passes with a latent upscale and crop between them."""
    prompt = '{"parts": [{"weight": 1.0, "schedule": [[3, [["a cat", 1.1]]]]}]}'
    encoded: dict[str, Any] = {"clip": ["ck", 1], "prompt": prompt, "emphasis": "Original"}
    encoded |= {"comma_padding_backtrack": 20, "clip_skip": 1, "zero_empty": False}
    numbers = dict.fromkeys(("eta", "s_churn", "s_tmin", "s_tmax", "sigma_min", "sigma_max"), 0.0)

    def sampled(latent: list[Any]) -> dict[str, Any]:
        return node(
            "SamplerCustomAdvanced",
            noise=["noise", 0],
            guider=["guider", 0],
            sampler=["sampler", 0],
            sigmas=["sigmas", 0],
            latent_image=latent,
        )

    return _sampled(
        pos=node("A1111TextEncode", **encoded),
        neg=node("A1111TextEncode", **encoded),
        noise=node(
            "A1111Noise",
            seeds=seeds,
            subseeds="[]",
            subseed_strength=0.0,
            seed_resize_from_w=0,
            seed_resize_from_h=0,
            source="CPU",
            eta_noise_seed_delta=0,
            multiplier=1.0,
        ),
        sigmas=node("A1111Sigmas", sigmas="[14.6, 3.0, 0.5, 0.0]"),
        sampler=node(
            "A1111Sampler", sampler="Euler", s_noise=1.0, timesteps="", extra="", **numbers
        ),
        guider=node(
            "A1111Guider",
            model=["ck", 0],
            positive=["pos", 0],
            negative=["neg", 0],
            cfg=5.0,
            s_min_uncond=0.0,
            s_min_uncond_all=False,
            skip_early_cond=0.0,
            total_steps=3,
        ),
        first=sampled(["latent", 0]),
        bigger=node(
            "A1111LatentUpscale",
            samples=["first", 0],
            width=100,
            height=112,
            mode="bilinear",
            antialias=False,
        ),
        cut=node("A1111LatentCrop", samples=["bigger", 0], left=1, top=0, right=2, bottom=3),
        out=sampled(["cut", 0]),
    )


def _mapped(name: str, image: str = "wide.png", **inputs: Any) -> Graph:
    nodes = {"image": _load(image), "out": node(name, image=["image", 0], **inputs)}
    return _show(nodes, ["out", 0])


def _upscaled_latent(**inputs: Any) -> Graph:
    inputs = {"upscale_method": "bilinear", "crop": "disabled"} | inputs
    return _decoded(
        {"a": _empty(), "b": node("LatentUpscale", samples=["a", 0], **inputs)}, ["b", 0]
    )


def _scaled(**inputs: Any) -> Graph:
    inputs = {"upscale_method": "bilinear", "crop": "disabled"} | inputs
    return _show({"a": _picture(), "b": node("ImageScale", image=["a", 0], **inputs)}, ["b", 0])


def _with_mask(*, of: str) -> Graph:
    nodes = {"a": _load(of), "mask": node("MaskToImage", mask=["a", 1])}
    return _show(nodes, ["a", 0], ["mask", 0])


def _encoded(name: str, **inputs: Any) -> Graph:
    encoder = node(name, pixels=["a", 0], vae=["vae", 0], **inputs)
    nodes = {"a": _load("rgb.png"), "m": node("SolidMask", value=1.0, width=40, height=30)}
    return _decoded({**nodes, "b": encoder}, ["b", 0])


RUNS: dict[str, Graph] = {
    "latent of odd size": _decoded({"a": _empty(100, 70, 1)}, ["a", 0]),
    "latent upscaled": _upscaled_latent(width=150, height=213),
    "latent upscaled, width free": _upscaled_latent(width=0, height=213),
    "latent upscaled, height free": _upscaled_latent(width=150, height=0),
    "latent upscaled, both free": _upscaled_latent(width=0, height=0),
    "latent upscaled to less than 64": _upscaled_latent(width=8, height=8),
    "latent upscaled by": _decoded(
        {
            "a": _empty(),
            "b": node("LatentUpscaleBy", samples=["a", 0], upscale_method="bicubic", scale_by=1.37),
        },
        ["b", 0],
    ),
    "latent cropped": _decoded(
        {
            "a": _empty(),
            "b": node("LatentCrop", samples=["a", 0], width=72, height=64, x=40, y=150),
        },
        ["b", 0],
    ),
    "latent rotated": _decoded(
        {"a": _empty(), "b": node("LatentRotate", samples=["a", 0], rotation="90 degrees")},
        ["b", 0],
    ),
    "latents batched": _decoded(
        {
            "a": _empty(64, 72, 2),
            "b": _empty(80, 64, 1),
            "c": node("LatentBatch", samples1=["a", 0], samples2=["b", 0]),
        },
        ["c", 0],
    ),
    "latents from batch": _decoded(
        {
            "a": _empty(64, 64, 3),
            "b": node("LatentFromBatch", samples=["a", 0], batch_index=1, length=5),
            "c": node("LatentFromBatch", samples=["a", 0], batch_index=9, length=2),
        },
        ["b", 0],
        ["c", 0],
    ),
    "latents repeated": _decoded(
        {"a": _empty(64, 64, 2), "b": node("RepeatLatentBatch", samples=["a", 0], amount=2)},
        ["b", 0],
    ),
    "picture encoded": _encoded("VAEEncode"),
    "picture encoded for inpainting": _encoded(
        "VAEEncodeForInpaint", mask=["m", 0], grow_mask_by=6
    ),
    "inpaint conditioning": _sampled(
        a=_load("rgb.png"),
        m=node("SolidMask", value=1.0, width=40, height=30),
        out=node(
            "InpaintModelConditioning",
            positive=["pos", 0],
            negative=["neg", 0],
            vae=["vae", 0],
            pixels=["a", 0],
            mask=["m", 0],
            noise_mask=True,
        ),
    )
    | {"decode0": node("VAEDecode", samples=["out", 2], vae=["vae", 0])},
    "scaled": _scaled(width=37, height=91),
    "scaled, width free": _scaled(width=0, height=91),
    "scaled, height free": _scaled(width=37, height=0),
    "scaled, both free": _scaled(width=0, height=0),
    "scaled to the centre": _scaled(width=64, height=64, crop="center"),
    "scaled by": _show(
        {
            "a": _picture(101, 70),
            "b": node("ImageScaleBy", image=["a", 0], upscale_method="area", scale_by=0.5),
        },
        ["b", 0],
    ),
    "scaled to total pixels": _show(
        {
            "a": _picture(101, 70, 1),
            "b": node(
                "ImageScaleToTotalPixels", image=["a", 0], upscale_method="area", megapixels=0.05
            ),
        },
        ["b", 0],
    ),
    "cropped": _show(
        {
            "a": _picture(),
            "b": node("ImageCrop", image=["a", 0], width=60, height=60, x=70, y=500),
        },
        ["b", 0],
    ),
    "padded": _show(
        {
            "a": _picture(),
            "b": node(
                "ImagePadForOutpaint",
                image=["a", 0],
                left=8,
                top=0,
                right=16,
                bottom=24,
                feathering=4,
            ),
            "mask": node("MaskToImage", mask=["b", 1]),
        },
        ["b", 0],
        ["mask", 0],
    ),
    "batched": _show(
        {
            "a": _picture(40, 30, 2),
            "b": _picture(80, 20, 1),
            "c": node("ImageBatch", image1=["a", 0], image2=["b", 0]),
            "d": node("ImageFromBatch", image=["c", 0], batch_index=1, length=9),
            "e": node("RepeatImageBatch", image=["d", 0], amount=2),
        },
        ["c", 0],
        ["d", 0],
        ["e", 0],
    ),
    "blended": _show(
        {
            "a": _picture(40, 30, 2),
            "b": _picture(80, 20, 2),
            "c": node(
                "ImageBlend",
                image1=["a", 0],
                image2=["b", 0],
                blend_factor=0.5,
                blend_mode="normal",
            ),
            "d": node("ImageInvert", image=["c", 0]),
        },
        ["c", 0],
        ["d", 0],
    ),
    "alpha joined and split": _show(
        {
            "a": _picture(40, 30, 2),
            "m": node("SolidMask", value=1.0, width=20, height=20),
            "b": node("JoinImageWithAlpha", image=["a", 0], alpha=["m", 0]),
            "c": node("SplitImageWithAlpha", image=["b", 0]),
            "d": node("MaskToImage", mask=["c", 1]),
        },
        ["b", 0],
        ["c", 0],
        ["d", 0],
    ),
    "upscaled by a model": _show(
        {
            "m": node("UpscaleModelLoader", model_name="synthesrgan.pth"),
            "a": _picture(40, 30, 2),
            "b": node("ImageUpscaleWithModel", upscale_model=["m", 0], image=["a", 0]),
        },
        ["b", 0],
    ),
    "upscale model missing": _show(
        {
            "m": node("UpscaleModelLoader", model_name="none.pth"),
            "a": _picture(40, 30, 1),
            "b": node("ImageUpscaleWithModel", upscale_model=["m", 0], image=["a", 0]),
        },
        ["b", 0],
    ),
    **{
        f"loaded {name}": _with_mask(of=name) for name in FILES if "." in name and "txt" not in name
    },
    "loaded text file": _show({"a": _load("notes.txt")}, ["a", 0]),
    "mask loaded": _show(
        {
            "a": node("LoadImageMask", image="rgba.png", channel="alpha"),
            "b": node("CropMask", mask=["a", 0], x=20, y=10, width=100, height=20),
            "c": node("InvertMask", mask=["b", 0]),
            "d": node("MaskToImage", mask=["c", 0]),
        },
        ["d", 0],
    ),
    "sampled": _ksampler(),
    "sampled with ddim_uniform, 7 steps": _ksampler(scheduler="ddim_uniform", steps=7),
    "sampled with ddim_uniform, 30 steps": _ksampler(scheduler="ddim_uniform", steps=30),
    "sampled with dpm_2": _ksampler(sampler_name="dpm_2", scheduler="karras"),
    "sampled with denoise 0.5": _ksampler(denoise=0.5),
    "sampled with denoise 0": _ksampler(denoise=0.0),
    "sampled with denoise 0.5, ddim_uniform": _ksampler(denoise=0.5, scheduler="ddim_uniform"),
    "advanced": _advanced(start_at_step=2, end_at_step=5, return_with_leftover_noise="enable"),
    "advanced past the end": _advanced(start_at_step=6),
    "custom": _custom(["schedule", 0]),
    "custom, first part": _custom(
        ["split", 0], split=node("SplitSigmas", sigmas=["schedule", 0], step=2)
    ),
    "custom, second part": _custom(
        ["split", 1], split=node("SplitSigmas", sigmas=["schedule", 0], step=2)
    ),
    "custom, second part by denoise": _custom(
        ["split", 1], split=node("SplitSigmasDenoise", sigmas=["schedule", 0], denoise=0.34)
    ),
    "custom, Align Your Steps": _custom(
        ["schedule", 0],
        schedule=node("AlignYourStepsScheduler", model_type="SD1", steps=5, denoise=0.6),
    ),
    "custom without noise": _custom(["schedule", 0], noise=node("DisableNoise")),
    "noise added": _sampled(
        noise=node("RandomNoise", noise_seed=4),
        schedule=node("KarrasScheduler", steps=3, sigma_max=14.6, sigma_min=0.03, rho=7.0),
        out=node(
            "AddNoise",
            model=["ck", 0],
            noise=["noise", 0],
            sigmas=["schedule", 0],
            latent_image=["latent", 0],
        ),
    ),
    "equal nodes twice": _show(
        {
            "a": _picture(40, 30, 1),
            "b": node("ImageInvert", image=["a", 0]),
            "c": node("ImageInvert", image=["a", 0]),
            "d": node("ImageBatch", image1=["b", 0], image2=["c", 0]),
        },
        ["d", 0],
    ),
    "an output twice": _show({"a": _picture(40, 30, 1)}, ["a", 0], ["a", 0]),
    "images over the websocket": {
        "a": _picture(40, 30, 3),
        "show": node("SaveImageWebsocket", images=["a", 0]),
    },
    "text on a link's place": _show(
        {"b": node("ImageScaleBy", image="x", upscale_method="area", scale_by=0.5)}, ["b", 0]
    ),
    "saved outside": {
        "a": _picture(40, 30, 1),
        "save": node("SaveImage", images=["a", 0], filename_prefix="../up"),
    },
    "saved in a subfolder": {
        "a": _picture(40, 30, 2),
        "save": node("SaveImage", images=["a", 0], filename_prefix="sub/%width%x%height%"),
    },
    **{
        f"{name} at 192": _mapped(name, resolution=192)
        for name in (
            "BinaryPreprocessor",
            "CannyEdgePreprocessor",
            "ColorPreprocessor",
            "ImageIntensityDetector",
            "ImageLuminanceDetector",
            "LineartStandardPreprocessor",
            "PyraCannyPreprocessor",
            "ScribblePreprocessor",
            "Scribble_XDoG_Preprocessor",
            "ShufflePreprocessor",
        )
    },
    "TTPlanet_TileGF_Preprocessor": _mapped(
        "TTPlanet_TileGF_Preprocessor", scale_factor=2.0, blur_strength=2.0, radius=7, eps=0.01
    ),
    "TilePreprocessor": _mapped("TilePreprocessor", pyrUp_iters=2, resolution=192),
    "TilePreprocessor in a batch": _show(
        {
            "a": _picture(230, 350, 2),
            "b": node("TilePreprocessor", image=["a", 0], pyrUp_iters=3),
        },
        ["b", 0],
    ),
    "TilePreprocessor without an input it needs": _mapped("TilePreprocessor"),
    "CannyEdgePreprocessor at its default": _mapped("CannyEdgePreprocessor"),
    "TTPlanet_TileSimple_Preprocessor": _mapped(
        "TTPlanet_TileSimple_Preprocessor", scale_factor=1.5, blur_strength=2.0
    ),
    "InpaintPreprocessor": _show(
        {
            "a": _load("rgb.png"),
            "m": node("SolidMask", value=1.0, width=40, height=30),
            "b": node("InpaintPreprocessor", image=["a", 0], mask=["m", 0]),
        },
        ["b", 0],
    ),
    "A1111 passes": _a1111_passes(),
    "A1111 with too few seeds": _a1111_passes(seeds="[1]"),
    "A1111 with seeds that are no JSON": _a1111_passes(seeds="1, 2"),
    "A1111 pictures": _show(
        {
            "a": _load("wide.png"),
            "m": node("UpscaleModelLoader", model_name="synthesrgan.pth"),
            "b": node("A1111ImageScale", image=["a", 0], width=90, height=71, method="lanczos"),
            "c": node(
                "A1111UpscaleWithModel",
                upscale_model=["m", 0],
                image=["b", 0],
                width=200,
                height=131,
                tile=192,
                tile_overlap=8,
            ),
        },
        ["b", 0],
        ["c", 0],
    ),
    "A1111 control maps": _show(
        {
            "a": _load("wide.png"),
            "b": node("A1111ControlNetImage", image=["a", 0], processor_res=130, pad=True),
            "c": node("ImageCrop", image=["b", 0], width=["b", 1], height=["b", 2], x=0, y=0),
            "d": node(
                "A1111ControlNetFit",
                image=["c", 0],
                width=128,
                height=96,
                resize_mode="Resize and Fill",
            ),
        },
        ["b", 0],
        ["c", 0],
        ["d", 0],
    ),
    **{
        f"A1111 preprocessor {module}": _mapped(
            "A1111ControlNetPreprocessor", module=module, resolution=130, threshold_a=1.7, seed=1
        )
        for module in (
            "threshold",
            "blur_gaussian",
            "shuffle",
            "tile_resample",
            "recolor_luminance",
            "recolor_intensity",
        )
    },
    "A1111 drawing": _show(
        {
            "a": _load("rgb.png"),
            "m": node("LoadImageMask", image="palette.png", channel="alpha"),
            "n": node("LoadImageMask", image="black.png", channel="red"),
            "b": node("A1111ControlNetInput", image=["a", 0], mask=["m", 0]),
            "c": node("A1111ControlNetInput", image=["a", 0], mask=["n", 0]),
            "d": node("A1111ControlNetInput", image=["a", 0], mask=["a", 1]),
        },
        ["b", 0],
        ["c", 0],
        ["d", 0],
    ),
    "A1111 grids": _show(
        {
            "a": _picture(40, 30, 3),
            "b": _picture(30, 50, 2),
            "c": node(
                "A1111ImageGrid",
                images=["a", 0],
                image_1=["b", 0],
                rows=0,
                legend="",
                background="#ffffff",
            ),
            "d": node(
                "A1111ImageGrid",
                images=["a", 0],
                rows=1,
                legend='{"columns": [["one"], ["two"], ["three"]], "rows": [["x"]], "margin": 5}',
                background="#ffffff",
            ),
        },
        ["c", 0],
        ["d", 0],
    ),
    "face keypoints of faces and none": _show(
        {
            "fa": node("InstantIDFaceAnalysis", provider="CPU"),
            "a": _load("rgb.png"),
            "b": _load("black.png"),
            "c": node("ImageBatch", image1=["a", 0], image2=["b", 0]),
            "d": node("FaceKeypointsPreprocessor", faceanalysis=["fa", 0], image=["c", 0]),
            "e": node("FaceKeypointsPreprocessor", faceanalysis=["fa", 0], image=["b", 0]),
        },
        ["d", 0],
        ["e", 0],
    ),
}
"""Graphs that are accepted, whether they run through or fail."""


def _broken(change: Mapping[str, Mapping[str, Any]], **nodes: dict[str, Any]) -> Graph:
    """A good graph with some inputs changed; an input changed to None is left out."""
    graph = _ksampler() | nodes
    for name, inputs in change.items():
        merged = {**graph[name]["inputs"], **inputs}
        kept = {key: value for key, value in merged.items() if value is not None}
        graph[name] = {**graph[name], "inputs": kept}
    return graph


def _ring(*names: str) -> Graph:
    """Latents that are made from each other in a circle."""
    last = dict(zip(names, (names[-1], *names[:-1]), strict=True))
    nodes = {
        name: node(
            "LatentUpscale",
            samples=[last[name], 0],
            upscale_method="bilinear",
            width=64,
            height=64,
            crop="disabled",
        )
        for name in names
    }
    return _decoded(nodes, [names[0], 0])


REFUSALS: dict[str, Any] = {
    "value too small": _broken({"out": {"steps": 0}}),
    "value too big": _broken({"out": {"cfg": 100.5}}),
    "number as text": _broken({"out": {"steps": "4", "cfg": "5"}, "latent": {"width": "8"}}),
    "number that is none": _broken({"out": {"cfg": "lots"}}),
    "number is null": _broken({"latent": {"batch_size": []}}),
    "number is a list of three": _broken({"out": {"seed": [1, 2, 3]}}),
    "value wrapped": _broken({"out": {"steps": {"__value__": 0}}}),
    "object for a number": _broken({"out": {"steps": {"a": 1}}}),
    "negative seed": _broken({"out": {"seed": -1}}),
    "seed too big": _broken({"out": {"seed": 2**64}}),
    "unknown sampler": _broken({"out": {"sampler_name": "nope"}}),
    "unknown scheduler": _broken({"out": {"scheduler": "nope"}}),
    "number for a choice": _broken({"out": {"scheduler": 3}}),
    "link to a missing node": _broken({"out": {"model": ["nope", 0]}}),
    "output linked to a missing node": _broken({"show0": {"images": ["nope", 0]}}),
    "link to a missing output": _broken({"out": {"model": ["ck", 7]}}),
    "link by a number": _broken({"out": {"model": [1, 0]}}),
    "link of one": _broken({"show0": {"images": ["decode0"]}}),
    "link of another type": _broken({"decode0": {"samples": ["ck", 0]}}),
    "number linked to a model": _broken({"out": {"steps": ["ck", 0]}}),
    "choice linked to a model": _broken({"out": {"scheduler": ["ck", 0]}}),
    "required input missing": _broken({"out": {"denoise": None}}),
    "image name missing": _show({"a": node("LoadImage")}, ["a", 0]),
    "image name is a number": _show({"a": node("LoadImage", image=5)}, ["a", 0]),
    "image missing": _show({"a": _load("missing.png")}, ["a", 0]),
    "image linked": _show(
        {"a": _load("rgb.png"), "b": node("LoadImage", image=["a", 0])}, ["b", 0]
    ),
    "mask image missing": _show(
        {
            "a": node("LoadImageMask", image="missing.png", channel="red"),
            "b": node("MaskToImage", mask=["a", 0]),
        },
        ["b", 0],
    ),
    "mask channel unknown": _show(
        {
            "a": node("LoadImageMask", image="rgb.png", channel="cyan"),
            "b": node("MaskToImage", mask=["a", 0]),
        },
        ["b", 0],
    ),
    "ring of two": _ring("a", "b"),
    "ring of one": _ring("a"),
    "ring of three": _ring("a", "b", "c"),
    "no inputs member": {"a": {"class_type": "PreviewImage"}},
    "class is null": {"a": {"class_type": None, "inputs": {}}},
    "node is text": {"a": "PreviewImage"},
    "two outputs, one bad": _show(
        {"a": _picture(40, 30, 1), "b": _picture(0, 30, 1)}, ["a", 0], ["b", 0]
    ),
    "two outputs, both bad for one reason": _show(
        {"b": _picture(0, 30, 1), "c": node("ImageInvert", image=["b", 0])}, ["b", 0], ["c", 0]
    ),
    "output itself bad": {
        "a": _picture(40, 30, 1),
        "save": node("SaveImage", images=["a", 0]),
    },
    "unused node bad": _show({"a": _picture(40, 30, 1), "b": _picture(0, 30, 1)}, ["a", 0]),
    "unknown input given": _show(
        {"a": node("EmptyImage", width=40, height=30, batch_size=1, color=1, more=5)}, ["a", 0]
    ),
    "choice of a V3 node unknown": _show(
        {
            "a": _picture(40, 30, 1),
            "b": node(
                "ImageBlend",
                image1=["a", 0],
                image2=["a", 0],
                blend_factor=0.5,
                blend_mode="nope",
            ),
        },
        ["b", 0],
    ),
    "boolean as text": _broken(
        {},
        a=_load("rgb.png"),
        b=node("VAEEncode", pixels=["a", 0], vae=["vae", 0]),
    ),
}
"""Graphs that are refused in whole or in part, or that look as if they should be."""
