"""Many images at once: the table of results, several processes, several machines, and a Ray Data pipeline."""
