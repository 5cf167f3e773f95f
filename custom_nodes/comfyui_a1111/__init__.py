"""A1111's sampling, prompts and image handling as ComfyUI nodes (see docs/architecture.md)."""

from .nodes.adapters import (
    A1111AdapterFeatures,
    A1111ControlLLLite,
    A1111ControlNetRegion,
    A1111PooledControlNet,
)
from .nodes.control import (
    A1111ControlNetAnyline,
    A1111ControlNetColorFix,
    A1111ControlNetInpaintOnly,
    A1111ControlNetInput,
    A1111ControlNetOnWhite,
    A1111ControlNetPaste,
    A1111ControlNetPreprocessor,
    A1111ControlNetRecolor,
)
from .nodes.couple import A1111AttentionCouple
from .nodes.detailer import (
    A1111DetailEachRegion,
    A1111DetailRegions,
    A1111RegionPicture,
)
from .nodes.detectors import A1111DetectRegions
from .nodes.faces import (
    A1111FaceFound,
    A1111FaceTensor,
    A1111FaceTokens,
    A1111InstantIDControlNet,
    A1111LargestFace,
    A1111StrictFaceAnalysis,
)
from .nodes.faceswap import A1111FaceSwapResult
from .nodes.guidance import A1111FreeU, A1111PerturbedAttention, A1111TokenMerging
from .nodes.image import (
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
from .nodes.image_conditioning import A1111ImageConditioning
from .nodes.image_prompts import (
    A1111AverageImagePrompts,
    A1111ClipTensor,
    A1111ControlNetAttention,
    A1111ControlNetClipImage,
    A1111LayerWeights,
    A1111Revision,
)
from .nodes.img2img import (
    A1111ColorCorrection,
    A1111ControlNetCrop,
    A1111Flatten,
    A1111Inpaint,
    A1111InpaintLatent,
    A1111InpaintMask,
    A1111Overlay,
    A1111ResizeImage,
    A1111SoftInpaint,
    A1111Upscaler,
)
from .nodes.interrupt import add_route
from .nodes.lora import A1111Hypernetwork, A1111LoraBlocks, A1111LoraBlocksHook
from .nodes.output import A1111ImageFrames
from .nodes.reference import A1111ControlNetReference
from .nodes.regional import A1111JoinParts, A1111RegionalPrompter
from .nodes.reversal import (
    A1111InvertedNoise,
    A1111InvertingSampler,
    A1111ReversedNoise,
    A1111ReversingSampler,
)
from .nodes.sampling import (
    A1111Guider,
    A1111ModelSampling,
    A1111Noise,
    A1111NoiseOverLatent,
    A1111Sampler,
    A1111Sigmas,
)
from .nodes.text import A1111TextEncode
from .nodes.tiled import A1111TiledDiffusion
from .nodes.tiles import A1111EnlargeBy, A1111JoinTiles, A1111OutpaintNoise
from .nodes.weights import (
    A1111ControlNetFacexlib,
    A1111ControlNetLama,
    A1111ControlNetOneFormer,
)
from .nodes.written import A1111Prompt, A1111Schedule

NODE_CLASS_MAPPINGS = {
    "A1111AdapterFeatures": A1111AdapterFeatures,
    "A1111AttentionCouple": A1111AttentionCouple,
    "A1111AverageImagePrompts": A1111AverageImagePrompts,
    "A1111ClipTensor": A1111ClipTensor,
    "A1111ColorCorrection": A1111ColorCorrection,
    "A1111ControlLLLite": A1111ControlLLLite,
    "A1111ControlNetAnyline": A1111ControlNetAnyline,
    "A1111ControlNetAttention": A1111ControlNetAttention,
    "A1111ControlNetClipImage": A1111ControlNetClipImage,
    "A1111ControlNetColorFix": A1111ControlNetColorFix,
    "A1111ControlNetCrop": A1111ControlNetCrop,
    "A1111ControlNetFacexlib": A1111ControlNetFacexlib,
    "A1111ControlNetFit": A1111ControlNetFit,
    "A1111ControlNetImage": A1111ControlNetImage,
    "A1111ControlNetInpaintOnly": A1111ControlNetInpaintOnly,
    "A1111ControlNetInput": A1111ControlNetInput,
    "A1111ControlNetLama": A1111ControlNetLama,
    "A1111ControlNetOnWhite": A1111ControlNetOnWhite,
    "A1111ControlNetOneFormer": A1111ControlNetOneFormer,
    "A1111ControlNetPaste": A1111ControlNetPaste,
    "A1111ControlNetPreprocessor": A1111ControlNetPreprocessor,
    "A1111ControlNetRecolor": A1111ControlNetRecolor,
    "A1111ControlNetReference": A1111ControlNetReference,
    "A1111ControlNetRegion": A1111ControlNetRegion,
    "A1111DetailEachRegion": A1111DetailEachRegion,
    "A1111DetailRegions": A1111DetailRegions,
    "A1111DetectRegions": A1111DetectRegions,
    "A1111EnlargeBy": A1111EnlargeBy,
    "A1111FaceFound": A1111FaceFound,
    "A1111FaceRestore": A1111FaceRestore,
    "A1111FaceSwapResult": A1111FaceSwapResult,
    "A1111FaceTensor": A1111FaceTensor,
    "A1111FaceTokens": A1111FaceTokens,
    "A1111Flatten": A1111Flatten,
    "A1111FreeU": A1111FreeU,
    "A1111Guider": A1111Guider,
    "A1111Hypernetwork": A1111Hypernetwork,
    "A1111ImageConditioning": A1111ImageConditioning,
    "A1111ImageFrames": A1111ImageFrames,
    "A1111ImageGrid": A1111ImageGrid,
    "A1111ImageScale": A1111ImageScale,
    "A1111Inpaint": A1111Inpaint,
    "A1111InpaintLatent": A1111InpaintLatent,
    "A1111InpaintMask": A1111InpaintMask,
    "A1111InstantIDControlNet": A1111InstantIDControlNet,
    "A1111InvertedNoise": A1111InvertedNoise,
    "A1111InvertingSampler": A1111InvertingSampler,
    "A1111JoinParts": A1111JoinParts,
    "A1111JoinTiles": A1111JoinTiles,
    "A1111LargestFace": A1111LargestFace,
    "A1111LatentCrop": A1111LatentCrop,
    "A1111LatentUpscale": A1111LatentUpscale,
    "A1111LayerWeights": A1111LayerWeights,
    "A1111LoraBlocks": A1111LoraBlocks,
    "A1111LoraBlocksHook": A1111LoraBlocksHook,
    "A1111ModelSampling": A1111ModelSampling,
    "A1111Noise": A1111Noise,
    "A1111NoiseOverLatent": A1111NoiseOverLatent,
    "A1111OutpaintNoise": A1111OutpaintNoise,
    "A1111Overlay": A1111Overlay,
    "A1111PerturbedAttention": A1111PerturbedAttention,
    "A1111PooledControlNet": A1111PooledControlNet,
    "A1111Prompt": A1111Prompt,
    "A1111RegionPicture": A1111RegionPicture,
    "A1111RegionalPrompter": A1111RegionalPrompter,
    "A1111ResizeImage": A1111ResizeImage,
    "A1111ReversedNoise": A1111ReversedNoise,
    "A1111ReversingSampler": A1111ReversingSampler,
    "A1111Revision": A1111Revision,
    "A1111Sampler": A1111Sampler,
    "A1111Schedule": A1111Schedule,
    "A1111Sigmas": A1111Sigmas,
    "A1111SoftInpaint": A1111SoftInpaint,
    "A1111StrictFaceAnalysis": A1111StrictFaceAnalysis,
    "A1111TextEncode": A1111TextEncode,
    "A1111TiledDiffusion": A1111TiledDiffusion,
    "A1111Tiling": A1111Tiling,
    "A1111TokenMerging": A1111TokenMerging,
    "A1111UpscaleWithModel": A1111UpscaleWithModel,
    "A1111Upscaler": A1111Upscaler,
    "A1111VAEEncode": A1111VAEEncode,
}

add_route()

__all__ = ["NODE_CLASS_MAPPINGS"]
