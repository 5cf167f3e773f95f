"""Output nodes: they save, show or send their images."""

from __future__ import annotations

import json

from devserver.nodes.table import Nodes
from devserver.settings import Work
from devserver.values import Encoding, Inputs, Result, Save

NODES = Nodes()


@NODES.add("SaveImage")
def save_image(x: Inputs) -> Result:
    save = Save(x.image("images"), "output", x.text("filename_prefix"), compress_level=4)
    return Result(work=Work.SAVE, save=save)


@NODES.add("PreviewImage")
def preview_image(x: Inputs) -> Result:
    save = Save(x.image("images"), "temp", "ComfyUI" + x.files.temp_prefix)
    return Result(work=Work.SAVE, save=save)


@NODES.add("SaveImageWebsocket")
def save_image_websocket(x: Inputs) -> Result:
    return Result(work=Work.SAVE, save=Save(x.image("images"), "socket"))


@NODES.add("PreviewAny")
def preview_any(x: Inputs) -> Result:
    shown = str(x.value("source"))
    return Result(outputs=(shown,) if x.spec.outputs else (), ui={"text": (shown,)})


@NODES.add("WD14Tagger|pysssss")
def wd14_tagger(x: Inputs) -> Result:
    """Tags as the pack's node tells them: most likely first, brackets escaped."""
    tags = [f"{x.image().width}px", "rating:safe", r"saber_\(fate\)", "1girl", "long_hair"]
    told = ", ".join(tags)
    return Result(outputs=(told,), work=Work.DETECT, ui={"tags": [told]})


@NODES.add("BLIP Analyze Image")
def blip_analyze_image(x: Inputs) -> Result:
    x.need("blip_model")
    words = f"a picture {x.image('images').width} pixels wide"
    return Result(outputs=(words, words), work=Work.DETECT)


@NODES.add("A1111ImageFrames")
def image_frames(x: Inputs) -> Result:
    texts = tuple(json.loads(x.text("texts") or "[]"))
    encoding = Encoding(x.text("format"), int(x.get("quality", int)), texts)
    return Result(work=Work.SAVE, save=Save(x.image("images"), "socket", encoding=encoding))
