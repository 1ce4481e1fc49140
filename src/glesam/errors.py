"""The exception types of glesam: one root, so that `except GlesamError` catches all that is the user's to mend.

Every message says what was expected, what came, and the cure, in one line.
"""

from __future__ import annotations


class GlesamError(Exception):
    """Root of all errors that glesam raises on purpose."""


class ImageError(GlesamError):
    """An image cannot be read, decoded or written."""


class PromptError(GlesamError):
    """Points, boxes, labels or a mask input do not fit together or do not fit the image."""


class ModelError(GlesamError):
    """A model is unknown, its weights are missing, corrupt, or do not match."""


class DataError(GlesamError):
    """A data set's folders, files or masks are not as expected."""


class ConfigError(GlesamError):
    """An option or a configuration file holds an unknown or impossible value."""
