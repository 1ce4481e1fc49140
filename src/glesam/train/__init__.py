"""Training: configuration, losses, the loop, and one file per stage."""
