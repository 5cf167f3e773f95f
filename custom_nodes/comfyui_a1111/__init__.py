"""A1111's sampling, prompts and image handling as ComfyUI nodes (see docs/architecture.md)."""

from .control_nodes import NODES as CONTROL_NODES
from .image_nodes import (
    A1111ControlNetFit,
    A1111ControlNetImage,
    A1111FaceRestore,
    A1111ImageGrid,
    A1111ImageScale,
    A1111LatentCrop,
    A1111LatentUpscale,
    A1111Tiling,
    A1111UpscaleWithModel,
    A1111VAEEncode,
)
from .sampling_nodes import A1111Guider, A1111ModelSampling, A1111Noise, A1111Sampler, A1111Sigmas

NODE_CLASS_MAPPINGS = {
    "A1111ControlNetFit": A1111ControlNetFit,
    "A1111ControlNetImage": A1111ControlNetImage,
    "A1111FaceRestore": A1111FaceRestore,
    "A1111Guider": A1111Guider,
    "A1111ImageGrid": A1111ImageGrid,
    "A1111ImageScale": A1111ImageScale,
    "A1111LatentCrop": A1111LatentCrop,
    "A1111LatentUpscale": A1111LatentUpscale,
    "A1111ModelSampling": A1111ModelSampling,
    "A1111Noise": A1111Noise,
    "A1111Sampler": A1111Sampler,
    "A1111Sigmas": A1111Sigmas,
    "A1111Tiling": A1111Tiling,
    "A1111UpscaleWithModel": A1111UpscaleWithModel,
    "A1111VAEEncode": A1111VAEEncode,
    **{node.__name__: node for node in CONTROL_NODES},
}

__all__ = ["NODE_CLASS_MAPPINGS"]
