"""Everything mode: every object of an image, without any prompt.

`generator` is the door for `Predictor.generate`. Masks are kept as runs along columns (`glesam.masks.runs`), so that
hundreds of them on an image of 100 million pixels fit in memory.
"""
