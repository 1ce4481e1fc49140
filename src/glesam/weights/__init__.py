"""Saved folders, digests, strict keys, and weights of 8 bits."""
