"""Output nodes: they save, show or send their images."""

from __future__ import annotations

from devserver.nodes.table import Nodes
from devserver.settings import Work
from devserver.values import Inputs, Result, Save

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
