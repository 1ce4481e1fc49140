"""Segment-Anything families behind one interface: see `glesam.models.base`."""
