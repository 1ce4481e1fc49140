"""Crops, tiles and windows: looking at a part of an image."""
