"""A development ComfyUI: its protocol and validation, with symbolic execution.

It answers as ComfyUI 0.3.64 does, checks a submitted graph by the same rules, and works out what
every node would give - sizes, counts, order - without running a model. Each image that comes out is
a drawing that says what it stands for.
"""

from devserver.app import Submission
from devserver.draw import read_mark
from devserver.faults import Faults, HttpFault, NodeFault, SocketFault, disk_full, out_of_memory
from devserver.server import DevServer
from devserver.settings import Durations, Settings, default_models

__all__ = [
    "DevServer",
    "Durations",
    "Faults",
    "HttpFault",
    "NodeFault",
    "Settings",
    "SocketFault",
    "Submission",
    "default_models",
    "disk_full",
    "out_of_memory",
    "read_mark",
]
