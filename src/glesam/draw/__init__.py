"""Masks painted over images, and contact sheets."""
