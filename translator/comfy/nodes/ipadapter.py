"""The nodes of ComfyUI_IPAdapter_plus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from translator.comfy.graph import ClipVision, Graph, Image, Mask, Model, Ref


class IpAdapter(Ref):
    """IPADAPTER"""

    __slots__ = ()


class InsightFace(Ref):
    """INSIGHTFACE"""

    __slots__ = ()


IpAdapterNode = Literal["IPAdapterAdvanced", "IPAdapterFaceID", "IPAdapterMS"]


def load_ip_adapter(graph: Graph, name: str) -> IpAdapter:
    return graph.add("IPAdapterModelLoader", ipadapter_file=name).out(IpAdapter)


def ip_adapter_insight_face(graph: Graph, provider: str, model_name: str) -> InsightFace:
    """InsightFace's models; `provider` is onnxruntime's."""
    node = graph.add("IPAdapterInsightFaceLoader", provider=provider, model_name=model_name)
    return node.out(InsightFace)


def ip_adapter(
    graph: Graph,
    node: IpAdapterNode,
    *,
    title: str,
    model: Model,
    ip_adapter: IpAdapter,
    image: Image,
    start: float,
    end: float,
    attn_mask: Mask | None,
    clip_vision: ClipVision,
    strength: Mapping[str, Any],
) -> Model:
    """An image prompt in the model's cross-attention; `start`, `end` are shares of the schedule.

    Args:
        strength: the node's inputs that say how strong it is, and for faces what finds them.
    """
    return graph.add(
        node,
        title=title,
        model=model,
        ipadapter=ip_adapter,
        image=image,
        start_at=start,
        end_at=end,
        attn_mask=attn_mask,
        clip_vision=clip_vision,
        weight_type="linear",
        combine_embeds="average",
        embeds_scaling="V only",
        **strength,
    ).out(Model)
