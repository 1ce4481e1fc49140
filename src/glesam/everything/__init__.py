"""Everything mode and big pictures: no prompt at all, or a picture that is too large for one look.

`generator` is the door for `Predictor.generate`, `windows` for prompted segmentation of big pictures. Masks are kept as
runs along columns (`runs`), so that hundreds of them on a picture of 100 million pixels fit in memory.
"""
