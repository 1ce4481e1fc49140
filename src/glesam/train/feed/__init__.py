"""What training reads: packed images, crops, prompts, degraded pairs, latents."""
