"""Loaders, and nodes that patch a model, a CLIP or a VAE."""

from __future__ import annotations

from devserver.nodes.table import NodeFunction, Nodes, makes, passes
from devserver.settings import Work

_LOADERS = (
    "CheckpointLoader",
    "CheckpointLoaderSimple",
    "A1111LoraBlocksHook",
    "CLIPLoader",
    "BLIP Model Loader",
    "CreateHookLoraModelOnly",
    "CLIPVisionLoader",
    "ControlNetLoader",
    "DualCLIPLoader",
    "IPAdapterInsightFaceLoader",
    "IPAdapterModelLoader",
    "InstantIDFaceAnalysis",
    "InstantIDModelLoader",
    "StyleModelLoader",
    "UNETLoader",
    "UpscaleModelLoader",
    "VAELoader",
    "unCLIPCheckpointLoader",
)
_MODEL_PATCHES = (
    "A1111AttentionCouple",
    "A1111ControlLLLite",
    "A1111ControlNetAttention",
    "A1111ControlNetColorFix",
    "A1111ControlNetInpaintOnly",
    "A1111ControlNetReference",
    "A1111FreeU",
    "A1111LayerWeights",
    "A1111ModelSampling",
    "A1111PerturbedAttention",
    "A1111TokenMerging",
    "A1111RegionalPrompter",
    "A1111TiledDiffusion",
    "DifferentialDiffusion",
    "FreeU",
    "FreeU_V2",
    "HyperTile",
    "ModelSamplingContinuousEDM",
    "ModelSamplingContinuousV",
    "ModelSamplingDiscrete",
    "PatchModelAddDownscale",
    "PerturbedAttentionGuidance",
    "RescaleCFG",
    "SelfAttentionGuidance",
    "TomePatchModel",
)
_MODEL_LOADING_PATCHES = ("A1111Hypernetwork", "HypernetworkLoader", "LoraLoaderModelOnly")

_ROWS: dict[str, NodeFunction] = {
    "A1111Tiling": passes("model", "vae"),
    "CLIPSetLastLayer": passes("clip"),
    "CLIPVisionEncode": makes(Work.DETECT),
    "DiffControlNetLoader": makes(Work.LOAD),
    "A1111LoraBlocks": passes("model", "clip", work=Work.LOAD),
    "CombineHooks2": makes(),
    "CreateHookKeyframe": makes(),
    "LoraLoader": passes("model", "clip", work=Work.LOAD),
    "SetHookKeyframes": makes(),
}

NODES = Nodes(
    _ROWS
    | dict.fromkeys(_LOADERS, makes(Work.LOAD))
    | dict.fromkeys(_MODEL_PATCHES, passes("model"))
    | dict.fromkeys(_MODEL_LOADING_PATCHES, passes("model", work=Work.LOAD))
)
