"""Data sets, one file per layout; `registry` finds the one for a folder."""
