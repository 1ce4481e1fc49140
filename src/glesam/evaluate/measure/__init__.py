"""Measuring a model: sources, protocol, benchmark, and one record per object."""
