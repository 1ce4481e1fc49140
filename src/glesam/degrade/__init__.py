"""Degradations: clean image in, low-quality image of the same size out; seeded, recorded, one file per family."""
