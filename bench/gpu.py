"""Everything that only a machine with a GPU can show, in one run of a few minutes.

    python3 -m bench.gpu --comfyui DIR [--quick] [--models sd15 sdxl]

prints the time of a step, synchronisations a step and peak memory in both modes for SD1.5 and SDXL
of real size; the noise of the sources GPU and NV beside each other, and one picture made on the GPU
beside the same on the CPU. DIR needs ``comfy/`` of a ComfyUI checkout only; of Python packages what
``comfy/`` imports: torch with CUDA, torchvision, torchsde, einops, scipy, psutil, transformers,
safetensors, sentencepiece, aiohttp, PyYAML, Pillow, tqdm. Without network: copy ``comfy/`` (13 MB)
and the wheels of torchsde and trampoline along.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from bench.step import Bench, measure, prepare, row

_SHAPES = ((4, 64, 64), (4, 128, 128), (4, 96, 160))
"""Latents (C, H, W) whose noise is compared."""


_SIZES = {"sd15": 512, "sdxl": 1024}
"""Model -> pixels of a side."""


def noise_rows() -> Iterator[str]:
    """Whether source NV gives the numbers of the GPU's own generator, and is made there."""
    import torch
    from comfyui_a1111.maths.brownian import BrownianNoise
    from comfyui_a1111.maths.noise import NoiseSettings, PhiloxGenerator

    worst = 0.0
    for shape in _SHAPES:
        emulated, on_cpu = PhiloxGenerator(42, "cuda"), PhiloxGenerator(42)
        own = torch.Generator("cuda").manual_seed(42)
        for _ in range(3):
            drawn = torch.randn(shape, device="cuda", generator=own)
            there, here = emulated.normal(shape), on_cpu.normal(shape)
            worst = max(worst, _distance(there, drawn), _distance(there.cpu(), here))
    yield f"noise NV on the GPU, on the CPU, and the GPU's own generator: at most {worst:.1e} apart"
    shape = (3, 4, 64, 64)
    batch = NoiseSettings((1, 2, 3), source="GPU").start(shape, "cuda")
    alone = NoiseSettings((2,), source="GPU").start((1, *shape[1:]), "cuda")
    same = all(bool(torch.equal(batch.next()[1:2], alone.next())) for _ in range(3))
    yield f"noise GPU of an image is the same alone and in a batch: {'yes' if same else 'NO'}"
    x = torch.zeros(2, 4, 64, 64, device="cuda")
    paths = [BrownianNoise(x, 0.03, 14.6, (1, 2), source) for source in ("GPU", "NV")]
    apart = 0.0
    for high, low in ((14.6, 7.0), (7.0, 2.5), (2.5, 0.03)):
        gpu, emulated_path = (path(torch.tensor(high), torch.tensor(low)) for path in paths)
        apart = max(apart, _distance(gpu, emulated_path))
    yield f"Brownian noise of GPU and NV: at most {apart:.1e} apart"
    for source in ("NV", "GPU"):
        yield f"a step's noise for 1024x1024 from {source}: {_noise_ms(source):.2f} ms"


def _distance(one: Any, other: Any) -> float:
    return float((one - other).abs().max())


def _noise_ms(source: str) -> float:
    import torch
    from comfyui_a1111.maths.noise import NoiseSettings

    stream = NoiseSettings((1,), source=source).start((1, 4, 128, 128), "cuda")
    stream.next()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(20):
        stream.next()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / 20 * 1e3


def picture_rows() -> Iterator[str]:
    """The last latent of the pass on the GPU beside the same pass on the CPU, in float32."""
    for sampler, source in (("Euler a", "NV"), ("DPM++ 2M SDE", "NV"), ("Euler a", "CPU")):
        last = [_picture(device, sampler, source) for device in ("cuda", "cpu")]
        yield (
            f"{sampler}, noise {source}, GPU beside CPU: at most {_distance(*last):.1e} apart "
            f"(spread {float(last[1].std()):.2f})"
        )


def _picture(device: str, sampler: str, source: str) -> Any:
    """The last latent of a small model's pass on a device, in float32 on the CPU."""
    import torch
    from comfy import model_management

    with mock.patch.object(model_management, "get_torch_device", lambda: torch.device(device)):
        bench = Bench.of("small", 256, 1, dtype=torch.float32)
        last = bench.exact(sampler, source, 8).float().cpu()
        model_management.unload_all_models()
    return last


def step_rows(models: Sequence[str], quick: bool) -> Iterator[str]:
    """Time, synchronisations and peak memory of both modes."""
    import torch

    for name in models:
        size = _SIZES[name]
        for batch in (1,) if quick else (1, 4):
            bench = Bench.of(name, size, batch)
            for sampler in ("Euler", "Euler a", "DPM++ 2M", "DPM++ 2M SDE"):
                for source in ("NV", "CPU") if sampler == "Euler a" else ("GPU",):
                    found = measure(bench, sampler, source, steps=10, rounds=5 if batch == 1 else 3)
                    yield row(f"{name} {size}x{size} x{batch}, {sampler}, noise {source}", found)
            del bench
            torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.gpu", description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="one image of each model only")
    parser.add_argument("--models", nargs="+", choices=_SIZES, default=list(_SIZES))
    given = parser.parse_args()
    prepare(given.comfyui, cpu=False)
    import torch

    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    for section in (noise_rows(), picture_rows(), step_rows(given.models, given.quick)):
        for line in section:
            print(line, flush=True)


if __name__ == "__main__":
    main()
