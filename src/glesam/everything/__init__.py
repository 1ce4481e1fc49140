"""Everything mode and big images: no prompt at all, or an image that is too large for one look.

`generator` is the door for `Predictor.generate`, `windows` for prompted segmentation of big images. Masks are kept as
runs along columns (`runs`), so that hundreds of them on an image of 100 million pixels fit in memory.
"""
