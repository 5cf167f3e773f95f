"""ReActor: arguments -> plan. `script` reads the script's arguments, `planner` applies its rules.

Source: sd-webui-reactor v0.7.1, restated in the project's facts; `stages.faceswap` spells the plan
in nodes of ComfyUI-ReActor and of our pack.
"""
