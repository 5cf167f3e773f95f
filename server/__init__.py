"""A1111's own HTTP API in front of ComfyUI, or of a RunPod endpoint."""
