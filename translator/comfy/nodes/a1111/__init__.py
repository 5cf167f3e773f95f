"""The nodes of our own pack, ``custom_nodes/comfyui_a1111``."""
