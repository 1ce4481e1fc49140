"""Mask heads: other ways from a frozen model's embedding and prompts to masks."""
