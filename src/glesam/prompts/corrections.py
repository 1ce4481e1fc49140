"""The corrections file of a clip: JSON that says, frame by frame, how objects look from there on.

    {
      "30": [{"object": 1, "box": [10, 20, 300, 400]}],
      "75": [{"object": 1, "points": [[320, 240], [10, 10]], "labels": [1, 0]}, {"object": 2, "points": [[5, 5]]}]
    }

Keys are numbers of frames, from 0. `object` is the number that the clip's results have for it, from 1; the other keys
are those of the prompts file (`glesam.prompts.file`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from glesam.common.messages import shown
from glesam.errors import PromptError
from glesam.prompts.file import ObjectPrompt, joined, read_objects
from glesam.prompts.prompts import Prompts


@dataclass(frozen=True, eq=False)
class Correction:
    """What is said of some objects on one frame.

    Attributes:
        objects: their places among the clip's objects, from 0, each once.
        prompts: one for each of them, in their order.
    """

    objects: tuple[int, ...]
    prompts: Prompts

    def check(self, count: int) -> None:
        """Compare with a clip of so many objects.

        Raises:
            PromptError: an object that there is not, one that is named twice, or another number of prompts.
        """
        if len(self.objects) != len(self.prompts) or len(set(self.objects)) < len(self.objects):
            got = [number + 1 for number in self.objects]
            raise PromptError(f"expected each corrected object once, with its prompt, got objects {got}; join them")
        if not all(0 <= number < count for number in self.objects):
            got = [number + 1 for number in self.objects]
            raise PromptError(f"expected corrections of objects 1 to {count}, got {got}; see the numbers in the masks")


class CorrectedObject(ObjectPrompt):
    """One object on one frame."""

    object: Annotated[int, Field(ge=1)]


def read_corrections_file(path: str | os.PathLike[str]) -> Mapping[int, Correction]:
    """Read corrections of a clip from JSON; the format is described at the top of this file.

    Returns:
        Corrections by the frame's number.

    Raises:
        PromptError: unreadable, no JSON, an unknown key or a bad value; names file, frame, object and key.
    """
    frames = read_objects(path, CorrectedObject, "corrections", "a file of corrections")
    found: dict[int, Correction] = {}
    for name, objects in frames.items():
        if not (name.isascii() and name.isdigit()):
            raise PromptError(f"expected numbers of frames as keys of {shown(path)}, got {name[:40]!r}; count from 0")
        if int(name) in found:
            raise PromptError(f"expected each frame once in {shown(path)}, got frame {int(name)} twice; join the two")
        prompts = joined(objects, f"{path}: frame {name}")
        found[int(name)] = Correction(tuple(each.object - 1 for each in objects), prompts)
    return found
