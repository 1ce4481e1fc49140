"""Amodal masks: what of an object lies behind others. A small network completes any mask, whatever model made it."""
