"""The generative latent enhancer of GleSAM (CVPR 2025, arXiv 2503.12507): one denoising step in SAM's latent space."""
