"""Cleaning masks: connected regions of a run mask, small islands taken away and small holes filled."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from glesam.common.arrays import Int
from glesam.masks.runs import RunMask, union


def label(mask: RunMask) -> tuple[int, Int]:
    """Number the connected regions of a mask, 8-connected as in segment-anything.

    Returns:
        Number of regions, and `(M,)` the region of each run.
    """
    count = len(mask.x)
    if not count:
        return 0, np.zeros(0, np.int64)
    # Two free keys between columns: runs that touch at a corner share an end, those of other columns never do.
    stride = mask.size[0] + 2
    starts, ends = mask.x * stride + mask.top, mask.x * stride + mask.bottom
    first = np.searchsorted(ends, starts + stride, side="left")
    last = np.searchsorted(starts, ends + stride, side="right")
    links = np.maximum(last - first, 0)
    left = np.repeat(np.arange(count), links)
    right = np.arange(links.sum()) - np.repeat(np.cumsum(links) - links, links) + np.repeat(first, links)
    graph = coo_array((np.ones(len(left), bool), (left, right)), shape=(count, count))
    regions, labels = connected_components(graph, directed=False)
    return int(regions), labels.astype(np.int64)


def remove_islands(mask: RunMask, min_area: int) -> RunMask:
    """Take regions of fewer than `min_area` pixels away; if all are small, the largest stays."""
    count, labels = label(mask)
    if count <= 1:
        return mask
    areas = np.bincount(labels, mask.bottom - mask.top, count)
    kept = areas >= min_area
    kept[np.argmax(areas)] = True
    return mask if kept.all() else mask.select(kept[labels])


def fill_holes(mask: RunMask, min_area: int) -> RunMask:
    """Fill gaps of fewer than `min_area` pixels that do not lead out of the mask's box.

    A gap that ends at the image's edge is a hole too, where the mask reaches this edge around it.
    """
    gaps = mask.gaps()
    count, labels = label(gaps)
    if not count:
        return mask
    (x0, y0, x1, y1), (height, width) = mask.box, mask.size
    leaves = (gaps.x == x0) & (x0 > 0) | (gaps.x == x1 - 1) & (x1 < width)
    leaves |= (gaps.top == y0) & (y0 > 0) | (gaps.bottom == y1) & (y1 < height)
    small = np.bincount(labels, gaps.bottom - gaps.top, count) < min_area
    small[labels[leaves]] = False
    return union([mask, gaps.select(small[labels])]) if small.any() else mask


def clean(mask: RunMask, min_area: int) -> RunMask:
    """Fill small holes, then take small islands away; see `Options.min_mask_region_area`."""
    return remove_islands(fill_holes(mask, min_area), min_area) if min_area > 0 else mask
