"""No prompt at all: the main thing of an image, found by a small head on the frozen ImageNet backbone."""
