"""What the degradations share of physics: light, point spread, warping, textures, depth."""
