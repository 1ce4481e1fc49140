"""Clips and cameras: frames streamed one by one, objects carried from frame to frame."""
