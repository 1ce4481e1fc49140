"""Degradations: clean picture in, low-quality picture of the same size out; seeded, recorded, one file per family."""
