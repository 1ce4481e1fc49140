"""Examples instead of words: things that look like the ones marked in reference images, found in others."""
