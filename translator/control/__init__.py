"""ControlNet: the units of a request, and the plan that A1111's extension would make of them.

Rules: sd-webui-controlnet v1.1.455; where Forge or older releases write a unit otherwise, both
spellings are taken.
"""
