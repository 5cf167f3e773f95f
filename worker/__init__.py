"""The worker: everything with a side effect between a RunPod job and a ComfyUI server."""
