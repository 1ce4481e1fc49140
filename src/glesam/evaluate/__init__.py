"""Measuring models: metrics, prompts drawn from names, degraded levels, statistics, reports and figures.

The path of the numbers: `sources` gives images at a level, `protocol` draws prompts, `benchmark` asks the models and
writes one row per object, `statistics` sums the rows up, `report`, `figures` and `gallery` show them.
"""
