"""Label Studio ML backend: clicks and boxes in, brush masks out. Needs the package label-studio-ml."""

from __future__ import annotations

from typing import Any

from convert import to_prompts, to_result
from label_studio_ml.model import LabelStudioMLBase

from glesam import Predictor


class GlesamBackend(LabelStudioMLBase):  # type: ignore[misc]
    """Answers each interaction on a task with one mask."""

    predictor = Predictor.from_pretrained("compact")

    def predict(self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **_: Any) -> list[Any]:
        """Segment what the annotator pointed at; nothing without an interaction."""
        if not context or not context.get("result"):
            return []
        brush, image, value = self.get_first_tag_occurence("BrushLabels", "Image")
        path = self.get_local_path(tasks[0]["data"][value], task_id=tasks[0].get("id"))
        self.predictor.set_image(path)
        masks = self.predictor.predict(to_prompts(context["result"]))
        drawn = context["result"][-1]["value"]
        label = next(drawn[key][0] for key in drawn if key.endswith("labels"))
        return [to_result(masks, label, brush, image)]
