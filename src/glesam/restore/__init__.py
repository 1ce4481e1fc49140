"""Restore, then segment: an image in, a better image of the same size out, before any model sees it."""
