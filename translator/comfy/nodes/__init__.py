"""Every node that a stage may add, one typed function each, a file (or a folder) a node pack.

Names follow ComfyUI's; what a node does stands in its pack's documentation, and what ours do in
``custom_nodes/comfyui_a1111``. Only these files call ``Graph.add``. A function takes the graph and
the node's inputs and answers the node's outputs, typed; inputs that never change stand in it.
"""

from translator.comfy.nodes.a1111.control import *
from translator.comfy.nodes.a1111.detailer import *
from translator.comfy.nodes.a1111.image import *
from translator.comfy.nodes.a1111.sampling import *
from translator.comfy.nodes.advanced_controlnet import *
from translator.comfy.nodes.captions import *
from translator.comfy.nodes.controlnet_aux import *
from translator.comfy.nodes.core import *
from translator.comfy.nodes.dynamic_thresholding import *
from translator.comfy.nodes.impact import *
from translator.comfy.nodes.instantid import *
from translator.comfy.nodes.ipadapter import *
from translator.comfy.nodes.pulid import *
from translator.comfy.nodes.reactor import *
