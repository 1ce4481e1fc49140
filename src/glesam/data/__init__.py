"""Data sets: readers (one file per layout), the LQSeg builder, prompt sampling, training pairs."""
