"""Words: which objects a noun means, where they are in an image, and prompts for the mask decoder from that."""
