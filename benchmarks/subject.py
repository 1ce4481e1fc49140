"""`segment --subject` on folders with one main thing an image: mean and median IoU, and that of the saliency map alone.

Run: `python benchmarks/subject.py DATA... [--images 40] [--model compact] [--aside duts_tr]`.
DATA holds `images/` and `masks/`; all that is not 0 is the main thing. Images are spread evenly over the sorted
names; of sets named by `--aside` only the fifth that the head was not trained on is taken.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--aside", nargs="*", default=["duts_tr"])
    options = parser.parse_args()

    import cv2
    import numpy as np

    from glesam import Predictor
    from glesam.data.base import is_kept_aside
    from glesam.data.readers.folder import FolderDataset
    from glesam.fewshot.backbone import bundled_backbone
    from glesam.fewshot.features import image_features
    from glesam.fewshot.search import mask_iou
    from glesam.subject.head import SubjectHead

    predictor, head, backbone = (
        Predictor.from_pretrained(options.model),
        SubjectHead.from_pretrained(),
        bundled_backbone(),
    )
    print("| set | images | IoU | median | of the map alone |\n|---|---|---|---|---|")
    for folder in options.data:
        data = FolderDataset(folder)
        indices = [i for i, n in enumerate(data.names) if data.name not in options.aside or is_kept_aside(n)]
        rows = []
        for place in np.linspace(0, len(indices) - 1, min(options.images, len(indices))).astype(int):
            sample = data[indices[place]]
            truth = sample.mask > 0
            predictor.set_image(sample.image)
            saliency = head.map(image_features(backbone, sample.image, head.side))
            alone = np.asarray(cv2.resize(saliency, truth.shape[::-1])) > 0.5
            rows.append((mask_iou(predictor.predict_subject().masks[0], truth), mask_iou(alone, truth)))
        values = np.array(rows)
        final, alone_mean = values.mean(axis=0)
        print(
            f"| {data.name} | {len(rows)} | {final:.3f} | {np.median(values[:, 0]):.3f} | {alone_mean:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
