"""Peak of resident memory of the largest inputs within the limits, each read by a process of its own.

Run: `python benchmarks/memory_peaks.py [--only NAME ...]`. Makes the inputs (flat images, whose files are small), and
prints a Markdown table: GiB at most, and how the process ended. The bar is 3 GiB. Linux; takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import tifffile

from server import start

SIDE = 16384
READ = "import sys; from glesam.images import read; print(read(sys.argv[1]).shape)"


class Peak(NamedTuple):
    """What a process took.

    Attributes:
        gib: peak of its resident memory.
        end: its status and last line, or what a server answered.
    """

    gib: float
    end: str


def png(path: Path, side: int, channels: int, bits: int = 8, width: int | None = None) -> Path:
    """Write a flat PNG, row by row; 1, 3 or 4 channels. Of more rows than any limit allows only some are there."""
    width = width or side
    row = b"\0" + bytes([0, 90]) * (width * channels * bits // 16)
    packer = zlib.compressobj(1)
    pixels = b"".join([packer.compress(row) for _ in range(side if side <= SIDE else 8)] + [packer.flush()])
    colour = {1: 0, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, side, bits, colour, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


def six_bands(path: Path, side: int) -> Path:
    """Write a TIFF of six bands of 16 bits, strip by strip."""

    def strips() -> Iterator[bytes]:
        for first in range(0, side, 64):
            rows = min(64, side - first)
            yield zlib.compress(np.broadcast_to(np.arange(6, dtype="<u2") * 900, (rows, side, 6)).tobytes(), 1)

    tifffile.imwrite(
        path, strips(), shape=(side, side, 6), dtype="<u2", rowsperstrip=64, compression="zlib",
        photometric="minisblack", planarconfig="contig", predictor=False,
    )  # fmt: skip
    return path


def polygons(folder: Path, side: int, count: int = 12) -> Path:
    """Write a COCO set of one image with stars that reach over most of it."""
    png(folder / "a.png", side, 3)
    angles = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    entries = []
    for number in range(count):
        radius = side * (0.30 + 0.15 * np.cos((5 + number) * angles))
        star = np.stack([side / 2 + radius * np.cos(angles), side / 2 + radius * np.sin(angles)], axis=1)
        entries.append({"id": number + 1, "image_id": 1, "category_id": 1, "segmentation": [star.ravel().tolist()]})
    images = [{"id": 1, "file_name": "a.png", "width": side, "height": side}]
    document = {"images": images, "annotations": entries, "categories": [{"id": 1, "name": "x"}]}
    (folder / "instances.json").write_text(json.dumps(document))
    return folder


def run(*words: object) -> Peak:
    """Run Python and wait.

    What this process has held at most counts for the other too, as it shares it at first: so inputs are made in pieces.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([sys.executable, *map(str, words)], stdout=subprocess.DEVNULL, stderr=errors)
        _, status, used = os.wait4(process.pid, 0)
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip().splitlines()
    return Peak(used.ru_maxrss / 2**20, f"status {os.waitstatus_to_exitcode(status)} {said[-1][:90] if said else ''}")


def read_png(work: Path, side: int, channels: int, bits: int) -> Peak:
    """Read a PNG."""
    return run("-c", READ, png(work / "a.png", side, channels, bits))


def check_masks(work: Path, channels: int, bits: int, side: int) -> Peak:
    """`data check` of a set with one large mask."""
    png(work / "images" / "a.png", side, 1)
    png(work / "masks" / "a.png", side, channels, bits)
    return run("-m", "glesam", "data", "check", work)


def segment(work: Path) -> Peak:
    """`segment` of the largest RGB image, with an overlay."""
    image = png(work / "a.png", SIDE, 3)
    return run("-m", "glesam", "segment", image, "--point", "8000,8000", "--overlay", "-o", work / "out")


def serve(ask: Callable[[str], str]) -> Peak:
    """Ask a server, and take the peak of its process."""
    process, address = start(argparse.Namespace(threads=1, model="compact"))
    threading.Thread(target=lambda: list(process.stderr or ()), daemon=True).start()
    try:
        answer = ask(address)
        status = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        process.terminate()
        process.wait(60)
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return Peak(int(found[1]) / 2**20 if found else float("nan"), answer)


def rain(work: Path) -> Peak:
    """40 megapixels are embedded, and made worse by rain."""

    def ask(address: str) -> str:
        content = png(work / "a.png", 5000, 3, width=8000).read_bytes()
        with httpx.Client(base_url=address, timeout=900) as client:
            key = client.post("/v1/embed", content=content).raise_for_status().json()["id"]
            answer = client.post("/v1/degrade", json={"id": key, "kind": "rain", "severity": 5})
        return f"answer {answer.status_code}"

    return serve(ask)


def bombs(work: Path, side: int) -> Peak:
    """16 RGBA images at once."""

    def ask(address: str) -> str:
        content = png(work / "a.png", side, 4).read_bytes()
        with ThreadPoolExecutor(16) as pool, httpx.Client(base_url=address, timeout=900) as client:
            statuses = pool.map(lambda _: client.post("/v1/embed", content=content).status_code, range(16))
            return f"answers {sorted(statuses)}"

    return serve(ask)


CASES: dict[str, Callable[[Path], Peak]] = {
    "RGBA PNG, 16384 x 16384": lambda work: read_png(work, SIDE, 4, 8),
    "RGB PNG of 16 bits, 14950 x 14950": lambda work: read_png(work, 14950, 3, 16),
    "TIFF of 6 bands of 16 bits, 11584 x 11584": lambda work: run("-c", READ, six_bands(work / "a.tif", 11584)),
    "segment, RGB of 16384 x 16384": segment,
    "data check, masks of 8 bits, 16384 x 16384": lambda work: check_masks(work, 1, 8, SIDE),
    "data check, masks of 16 bits, 16384 x 16384": lambda work: check_masks(work, 1, 16, SIDE),
    "data check, masks in colour, 8192 x 8192": lambda work: check_masks(work, 3, 8, 8192),
    "data check, mask that claims 60000 x 60000": lambda work: check_masks(work, 1, 8, 60000),
    "data check, COCO polygons on 16384 x 16384": lambda work: run(
        "-m", "glesam", "data", "check", polygons(work, SIDE)
    ),
    "server, rain on 8000 x 5000": rain,
    "server, 16 RGBA of 6300 x 6300 at once": lambda work: bombs(work, 6300),
    "server, 16 RGBA of 16384 x 16384 at once": lambda work: bombs(work, SIDE),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(CASES), help="cases; all")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    print("| input | GiB at most | end |\n|---|---|---|")
    for name in options.only:
        with tempfile.TemporaryDirectory(prefix="glesam-peaks-") as folder:
            peak = CASES[name](Path(folder))
        print(f"| {name} | {peak.gib:.2f} | {peak.end} |", flush=True)


if __name__ == "__main__":
    main()
