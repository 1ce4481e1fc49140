"""Data sets: readers (one file per layout), the LQSeg builder, and the check of a set."""
