"""What this ComfyUI, its packs and this volume can serve, and what is missing where it cannot."""
