"""An exported folder in onnxruntime, numpy and OpenCV alone.

python segment.py FOLDER IMAGE X Y MASK.png
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

folder, file, x, y, target = sys.argv[1:]
side = json.loads(Path(folder, "config.json").read_text())["image_size"]


def run(name: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of a graph by name."""
    session = onnxruntime.InferenceSession(f"{folder}/{name}.onnx")  # a program keeps it
    return dict(zip((output.name for output in session.get_outputs()), session.run(None, inputs), strict=True))


# Resize: the long side to `side`, the other rounded; area averaging down, cubic up. Fill with 127 to multiples of 32.
image = cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB)
height, width = image.shape[:2]
scale = side / max(height, width)
h, w = max(1, round(height * scale)), max(1, round(width * scale))
square = np.full((-(-h // 32) * 32, -(-w // 32) * 32, 3), 127, np.uint8)
square[:h, :w] = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
maps = run("encoder", pixel_values=((square.astype(np.float32) - 127) / 128).transpose(2, 0, 1)[None])

# Any number of prompts follow on the same maps. A box is two points, its corners, with the labels 2 and 3.
prompt = {
    "point_coords": np.array([[[float(x) * w / width, float(y) * h / height]]], np.float32),
    "point_labels": np.array([[1]], np.int64),
}
mask = np.zeros((1, square.shape[0] // 4, square.shape[1] // 4), np.float32)
answer = run("decoder", **maps, **prompt, mask_input=mask, has_mask=np.zeros(1, np.float32))
# A second answer, which has the first one to go on from, is better. Of four masks the first answers a clear prompt.
mask = answer["logits"][:, 0]
answer = run("decoder", **maps, **prompt, mask_input=mask, has_mask=np.ones(1, np.float32))
logits = answer.get("fine", answer["logits"])[0, 0]
logits = cv2.resize(logits, square.shape[1::-1])[:h, :w]
cv2.imwrite(target, np.uint8(cv2.resize(logits, (width, height)) > 0) * 255)
