"""Many small images through `ray_pipeline` on a cluster of nodes simulated on this machine, of which one fails.

    python benchmarks/ray_cluster.py                  # 10,000 images of 32 x 32 pixels, two actors
    python benchmarks/ray_cluster.py --images 500

Each node is a raylet with its own object store and workers (`ray.cluster_utils`). When a third of the masks are there,
one node is killed without notice, and another joins. The model is a tiny one with random weights: what is tried is the
pipeline, not the masks. Prints what was done, how long it took, and whether all masks are those of one process.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from glesam import Predictor
from glesam.folders.ray_pipeline import PipelineJob, ray_pipeline
from glesam.models.compact.model import CompactConfig, CompactModel

SIDE = 32
BOX = [6, 6, 25, 25]
CHECKED = 20
STORE_BYTES = 200_000_000


def main() -> None:
    """Draw, start the cluster, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report(Path(folder), options.images)


def report(folder: Path, count: int) -> None:
    """The run, printed as a table."""
    import ray
    from ray.cluster_utils import Cluster

    torch.set_num_threads(1)
    os.environ.setdefault("RAY_worker_niceness", "0")  # or else Ray's 15, at which a busy machine starves them
    paths = draw(folder / "images", count)
    torch.manual_seed(0)
    config = CompactConfig("lite0", 64, attention_blocks=1, conv_blocks=1)
    CompactModel(config).save_pretrained(folder / "model")
    job = PipelineJob(str(folder / "out"), {"boxes": [BOX]}, str(folder / "model"), enhance="off")
    size = {"num_cpus": 2, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE_BYTES})
    nodes = [cluster.add_node(**size) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    failure = threading.Thread(target=fail, args=(cluster, nodes[1], Path(job.out), count, size), daemon=True)
    failure.start()
    start = time.perf_counter()
    found = ray_pipeline([str(path) for path in paths], job, actors=2)
    seconds = time.perf_counter() - start
    failure.join(5)
    again = ray_pipeline([str(path) for path in paths], job, actors=2)
    ray.shutdown()
    cluster.shutdown()
    print(f"| images | {count} of {SIDE} x {SIDE} |\n|---|---|")
    print(f"| seconds, start of the actors and the node's loss included | {seconds:.0f} |")
    print(f"| rows / failed | {len(found.rows)} / {len(found.failed)} |")
    print(f"| masks of {CHECKED} drawn images that differ from one process's | {differing(job, paths)} |")
    print(f"| skipped by the same call again | {again.skipped} |")
    if len(found.rows) != count or found.failed or again.skipped != count:
        sys.exit("expected a row for each image, and nothing left to do; see the table")


def draw(folder: Path, count: int) -> list[Path]:
    """Noise with a bright square each."""
    folder.mkdir(parents=True)
    rng, paths = np.random.default_rng(0), []
    for number in range(count):
        image = rng.integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8)
        image[8:24, 8:24] += 140
        paths.append(folder / f"{number:05}.png")
        Image.fromarray(image).save(paths[-1], compress_level=1)
    return paths


def fail(cluster: object, node: object, out: Path, count: int, size: dict[str, int]) -> None:
    """Kill a node when a third is done, and let another one join."""
    while not out.is_dir() or sum(1 for _ in out.iterdir()) < count / 3:
        time.sleep(0.5)
    cluster.remove_node(node, allow_graceful=False)  # type: ignore[attr-defined]
    print(f"killed a node after {sum(1 for _ in out.iterdir())} masks", file=sys.stderr)
    cluster.add_node(**size)  # type: ignore[attr-defined]


def differing(job: PipelineJob, paths: list[Path]) -> int:
    """How many masks of some drawn images are not what this process gives."""
    predictor, wrong = Predictor.from_pretrained(job.model, "cpu", "off"), 0
    for index in np.random.default_rng(1).choice(len(paths), CHECKED, replace=False):
        predictor.set_image(paths[index])
        expected = predictor.predict(boxes=[BOX]).to_labels()
        wrong += not np.array_equal(np.asarray(Image.open(job.targets(paths[index].name)["png"])), expected)
    return wrong


if __name__ == "__main__":
    main()
