"""What a sampling step costs in exact mode beside core ComfyUI's, in one process with ComfyUI.

    COMFYUI_PYTHON -m bench.step --comfyui DIR [--model small|sd15|sdxl] [--size 512] [--device cpu]

The model has the architecture of its name and random weights; nothing is read from disk but
ComfyUI's code. Both modes sample the same latents by the same schedule, in turns. On the CPU the
time of a step is the processor time between two of a pass's callbacks, which other work of the
machine changes little, and the ratio is the median of the turns' ratios. A GPU works on its own:
there it is the time of the steps by which a long pass is longer than a short one.

Needs torch and what ``comfy/`` imports (einops, torchsde, scipy, transformers ...).
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKS = Path(__file__).parents[1] / "custom_nodes"

_SD15 = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
    "channel_mult": [1, 2, 4, 4],
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "use_temporal_attention": False,
    "use_temporal_resblock": False,
    "legacy": False,
    "adm_in_channels": None,
    "context_dim": 768,
    "num_heads": 8,
}
_SDXL = {
    **_SD15,
    "num_res_blocks": [2, 2, 2],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "transformer_depth_middle": 10,
    "channel_mult": [1, 2, 4],
    "use_linear_in_transformer": True,
    "num_classes": "sequential",
    "adm_in_channels": 2816,
    "context_dim": 2048,
    "num_heads": -1,
    "num_head_channels": 64,
}
_SMALL = {
    **_SD15,
    "model_channels": 32,
    "transformer_depth": [0, 0, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0],
}
ARCHITECTURES = {"small": _SMALL, "sd15": _SD15, "sdxl": _SDXL}
"""UNets by name, as ComfyUI's unet_config.

small is SD1.5's at a tenth of its width and, as SDXL's, without attention at the latent's own size,
which takes a CPU seconds a step however narrow the model is.
"""

SAMPLERS = {
    "Euler": "euler",
    "Euler a": "euler_ancestral",
    "DPM++ 2M": "dpmpp_2m",
    "DPM++ 2M SDE": "dpmpp_2m_sde",
}
"""A1111's name -> core ComfyUI's."""

_CFG = 7.0


@dataclass(frozen=True)
class Bench:
    """A model in ComfyUI, and what is sampled with it.

    Attributes:
        model: ComfyUI's ModelPatcher.
        latent: (B, 4, H / 8, W / 8) zeros.
        positive, negative: CONDITIONING.
    """

    model: Any
    latent: Any
    positive: Any
    negative: Any

    @classmethod
    def of(cls, architecture: str, size: int, batch: int, dtype: Any = None) -> Bench:
        """Build a model with random weights and load it nowhere yet.

        Args:
            dtype: of the weights; None for float16 on a GPU, float32 on the CPU.
        """
        import torch
        from comfy import model_management, model_patcher, supported_models

        torch.manual_seed(1)
        config = dict(ARCHITECTURES[architecture])
        family = supported_models.SDXL if architecture == "sdxl" else supported_models.SD15
        settings = family(config)
        device = model_management.get_torch_device()
        if dtype is None:
            dtype = torch.float16 if device.type == "cuda" else torch.float32
        settings.unet_config["dtype"] = dtype
        settings.set_inference_dtype(dtype, None)
        built = settings.get_model({}, "")
        _fill(built)
        built.eval()
        width = config["context_dim"]
        pooled = {"pooled_output": torch.randn(1, 1280)} if architecture == "sdxl" else {}
        texts = [[[torch.randn(1, 77, width), dict(pooled)]] for _ in range(2)]
        return cls(
            model_patcher.ModelPatcher(built, device, torch.device("cpu")),
            torch.zeros(batch, 4, size // 8, size // 8),
            *texts,
        )

    def sigmas(self, steps: int) -> Any:
        """Karras' schedule, descending to 0."""
        from comfy import samplers

        return samplers.calculate_sigmas(
            self.model.get_model_object("model_sampling"), "karras", steps
        )

    def core(self, sampler: str, source: str, steps: int, callback: Any = None) -> Any:
        """A pass with core nodes' means; the last latent."""
        import comfy.sample
        from comfy import samplers

        guider = samplers.CFGGuider(self.model)
        guider.set_conds(self.positive, self.negative)
        guider.set_cfg(_CFG)
        noise = comfy.sample.prepare_noise(self.latent, 7, None)
        return guider.sample(
            noise,
            self.latent,
            samplers.ksampler(SAMPLERS[sampler]),
            self.sigmas(steps),
            callback=callback,
            disable_pbar=True,
            seed=7,
        )

    def exact(self, sampler: str, source: str, steps: int, callback: Any = None) -> Any:
        """A pass with our node pack, as the translator's graphs have it; the last latent."""
        from comfyui_a1111.nodes import sampling

        (noise,) = sampling.A1111Noise().make(
            seeds=json.dumps([7 + index for index in range(len(self.latent))]),
            subseeds="[]",
            subseed_strength=0.0,
            seed_resize_from_w=0,
            seed_resize_from_h=0,
            source=source,
            eta_noise_seed_delta=0,
            multiplier=1.0,
        )
        (patched,) = sampling.A1111ModelSampling().patch(self.model, False, "model", False, False)
        (guider,) = sampling.A1111Guider().make(
            patched, self.positive, self.negative, _CFG, 0.0, False, 0.0, steps
        )
        (chosen,) = sampling.A1111Sampler().make(
            sampler, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0292, 14.6146, "", ""
        )
        return guider.sample(
            noise.generate_noise({"samples": self.latent}),
            self.latent,
            chosen,
            self.sigmas(steps),
            callback=callback,
            disable_pbar=True,
            seed=noise.seed,
        )


def _fill(model: Any) -> None:
    """Random weights; one drawn block again and again, since drawing SDXL's takes minutes."""
    import torch

    block = torch.randn(1 << 22) * 0.02
    with torch.no_grad():
        for weights in model.parameters():
            for part in weights.view(-1).split(len(block)):
                part.copy_(block[: len(part)])


Run = Callable[..., Any]


@dataclass(frozen=True)
class Found:
    """What a mode costs: seconds a step, GPU synchronisations a step, peak bytes of GPU memory."""

    seconds: float
    synchronisations: float
    peak: int


@dataclass(frozen=True)
class Comparison:
    """Both modes, and exact's seconds over core's: the median of the turns' ratios."""

    core: Found
    exact: Found
    ratio: float


def measure(
    bench: Bench,
    sampler: str,
    source: str,
    *,
    steps: int,
    rounds: int,
    report: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Both modes in turns, so that the machine's other work hits both alike.

    Args:
        report: gets a line after every turn.
    """
    modes: dict[str, Run] = {"core": bench.core, "exact": bench.exact}
    for run in modes.values():
        run(sampler, source, 2)
    times: dict[str, list[float]] = {name: [] for name in modes}
    a_step = _beyond_a_short_pass if _on_gpu() else _between_callbacks
    for turn in range(rounds):
        for name in list(modes)[:: 1 if turn % 2 else -1]:
            times[name].append(a_step(modes[name], sampler, source, steps))
        report(f"{sampler}, turn {turn + 1} of {rounds}: {_turn(times)}")
    ratios = [exact / core for core, exact in zip(times["core"], times["exact"], strict=True)]
    found = {
        name: Found(
            statistics.median(times[name]),
            (
                _synchronisations(run, sampler, source, 12)
                - _synchronisations(run, sampler, source, 4)
            )
            / 8,
            _peak(run, sampler, source),
        )
        for name, run in modes.items()
    }
    return Comparison(found["core"], found["exact"], statistics.median(ratios))


def _turn(times: Mapping[str, Sequence[float]]) -> str:
    """What the last turn found."""
    return ", ".join(f"{name} {found[-1] * 1e3:.0f} ms" for name, found in times.items())


def _between_callbacks(run: Run, sampler: str, source: str, steps: int) -> float:
    """Processor seconds of a step, the median of a pass."""
    called: list[float] = []
    run(sampler, source, 2 * steps, lambda *seen: called.append(time.process_time()))
    return statistics.median(after - before for before, after in itertools.pairwise(called))


def _beyond_a_short_pass(run: Run, sampler: str, source: str, steps: int) -> float:
    """Seconds of a step: of those by which one pass is longer than another."""
    short = _seconds(run, sampler, source, steps)
    return (_seconds(run, sampler, source, 2 * steps) - short) / steps


def _seconds(run: Run, sampler: str, source: str, steps: int) -> float:
    start = time.perf_counter()
    run(sampler, source, steps)
    _wait()
    return time.perf_counter() - start


def _synchronisations(run: Run, sampler: str, source: str, steps: int) -> int:
    """How often a pass waits for the GPU; 0 without one."""
    import torch

    if not _on_gpu():
        return 0
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run(sampler, source, steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(item.message) for item in caught)


def _peak(run: Run, sampler: str, source: str) -> int:
    import torch

    if not _on_gpu():
        return 0
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    run(sampler, source, 4)
    return int(torch.cuda.max_memory_allocated())


def _on_gpu() -> bool:
    from comfy import model_management

    return bool(model_management.get_torch_device().type == "cuda")


def _wait() -> None:
    import torch

    if _on_gpu():
        torch.cuda.synchronize()


def prepare(comfyui: Path, *, cpu: bool) -> None:
    """Let ComfyUI and our pack be imported.

    Args:
        comfyui: its checkout.
        cpu: keep it off the GPU.
    """
    sys.path[:0] = [str(comfyui), str(PACKS)]
    import comfy.cli_args

    comfy.cli_args.args.cpu = cpu
    comfy.cli_args.args.use_pytorch_cross_attention = True
    import torch

    torch.set_grad_enabled(False)


def row(name: str, found: Comparison) -> str:
    """Both modes of a measurement as a line."""
    core, exact = found.core, found.exact
    line = (
        f"{name}: core {core.seconds * 1e3:.1f} ms a step, exact {exact.seconds * 1e3:.1f} ms, "
        f"ratio {found.ratio:.3f}"
    )
    if core.peak:
        line += (
            f"; synchronisations a step {core.synchronisations:.1f} and "
            f"{exact.synchronisations:.1f}; peak {core.peak / 2**20:.0f} and "
            f"{exact.peak / 2**20:.0f} MiB"
        )
    return line


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.step", description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True)
    parser.add_argument("--model", choices=ARCHITECTURES, default="small")
    parser.add_argument("--size", type=int, default=512, help="pixels of a side")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument(
        "--samplers", nargs="+", choices=SAMPLERS, default=["Euler a", "DPM++ 2M SDE"]
    )
    parser.add_argument("--source", choices=("CPU", "GPU", "NV"), default="CPU")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--steps", type=int, default=3, help="half of those of a timed pass")
    parser.add_argument("--rounds", type=int, default=6)
    given = parser.parse_args()
    prepare(given.comfyui, cpu=given.device == "cpu")
    bench = Bench.of(given.model, given.size, given.batch)
    for sampler in given.samplers:
        found = measure(
            bench,
            sampler,
            given.source,
            steps=given.steps,
            rounds=given.rounds,
            report=lambda line: print(line, file=sys.stderr, flush=True),
        )
        print(row(f"{given.model} {given.size}x{given.size}, {sampler}", found), flush=True)


if __name__ == "__main__":
    main()
