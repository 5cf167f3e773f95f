"""ComfyUI-ReActor's nodes: faces swapped by InsightFace's models."""

from __future__ import annotations

from translator.comfy.graph import Graph, Image, Ref


class FaceModel(Ref):
    """FACE_MODEL: a stored face"""

    __slots__ = ()


class ReactorOptions(Ref):
    """OPTIONS: which faces are swapped"""

    __slots__ = ()


def reactor_load_face_model(graph: Graph, name: str) -> FaceModel:
    return graph.add("ReActorLoadFaceModel", face_model=name).out(FaceModel)


def reactor_options(
    graph: Graph,
    *,
    target_faces: str,
    target_gender: str,
    source_faces: str,
    source_gender: str,
    log_level: int,
) -> ReactorOptions:
    """Faces are numbered from the left, as A1111 does, not by size as the pack does by itself."""
    node = graph.add(
        "ReActorOptions",
        input_faces_order="left-right",
        input_faces_index=target_faces,
        detect_gender_input=target_gender,
        source_faces_order="left-right",
        source_faces_index=source_faces,
        detect_gender_source=source_gender,
        console_log_level=log_level,
        restore_swapped_only=False,
    )
    return node.out(ReactorOptions)


def reactor_face_swap(
    graph: Graph,
    image: Image,
    *,
    model: str,
    source: Image | None,
    face_model: FaceModel | None,
    options: ReactorOptions,
) -> Image:
    """ReActorFaceSwapOpt without its own restoring, which blends face by face."""
    node = graph.add(
        "ReActorFaceSwapOpt",
        enabled=True,
        input_image=image,
        swap_model=model,
        facedetection="retinaface_resnet50",
        face_restore_model="none",
        face_restore_visibility=1.0,
        codeformer_weight=0.5,
        source_image=source,
        face_model=face_model,
        options=options,
    )
    return node.out(Image)
