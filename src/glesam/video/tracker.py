"""The one interface of everything that carries objects through a clip."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from glesam.images.pixels import RGB
from glesam.masks.masks import Masks
from glesam.prompts.prompts import Prompts


class Tracker(ABC):
    """Takes prompts on one frame, then gives masks on each next frame; the order of objects stays."""

    kind: ClassVar[str]
    """What results call it."""

    @abstractmethod
    def start(self, frame: RGB, prompts: Prompts) -> Masks:
        """Segment the N objects that prompts point at; forgets earlier objects.

        Args:
            frame: `(H, W, 3)` uint8 RGB.
            prompts: points and boxes for N objects.

        Raises:
            PromptError: prompts that do not fit the frame.
        """

    @abstractmethod
    def step(self, frame: RGB) -> Masks:
        """Find the same N objects in the next frame, `(H, W, 3)` uint8 RGB; an object that is not there is empty.

        Raises:
            PromptError: `start` was not called.
        """

    @abstractmethod
    def correct(self, frame: RGB, prompts: Prompts, objects: Sequence[int]) -> Masks:
        """As `step`, with new prompts for some of the objects: what these give takes their place from here on.

        Args:
            frame: `(H, W, 3)` uint8 RGB.
            prompts: points and boxes, one for each corrected object.
            objects: which of the N objects these are, from 0, each once.

        Raises:
            PromptError: `start` was not called, or prompts that do not fit the frame.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that `step` depends on besides the model: tensors, numbers, texts, lists and dicts of them."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Go on as if `state` had just been taken: later steps give the same masks."""
