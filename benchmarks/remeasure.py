"""All that is measured of the bundled base model and its enhancer on the development sets, for new weights.

Run: `python benchmarks/remeasure.py DATA --out DIR [--only tight clicks] [--model compact] [--jobs 2]`.
DATA holds `val/` and `train/` with the sets that the model cards name. Each step is a `glesam evaluate` into a folder
of its own, which measures what is missing there and refuses parts of other data or options; such a step fails, and is
not in the table. At the end one Markdown table says what came out: IoU and boundary IoU, averaged as reported, of each
set, prompt, model and level. Steps run `--jobs` at a time, one thread each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from glesam.evaluate.measure.model_specs import fingerprint, parse_model

ROOT = Path(__file__).parent.parent
LEVELS = "clear,lq1,lq2,lq3"
SHARE = ["--min-share", "coco_mini=0.005"]
"""Of COCO, objects of at least half a percent of the image."""
WHOLE = ["--prompts", "points:3,box"]
MOST_SETS = 4
"""With more sets, rows are means over them."""


def steps(data: Path, model: str) -> dict[str, list[str]]:
    """Arguments of `glesam evaluate` by the name of the step, the longest first."""
    ecssd, coco = ["--data", str(data / "val" / "ecssd")], ["--data", str(data / "val" / "coco_mini")]
    real = [f"--data={data / 'val' / name}" for name in ("real_smoke", "real_dusk")]
    names = (ROOT / "configs" / "kept-aside.txt").read_text(encoding="utf-8").split()
    aside = [f"--data={data / 'train' / name}" for name in names]
    off, auto, on, high = (f"{model}@{mode}" for mode in ("enhance=off", "enhance=auto", "enhance=on", "quality=high"))
    both, gle = ["--models", f"{off},{auto}"], f"{model}+gle@enhance=on"
    qualities = ",".join([f"{off}@quality=fast", off, auto, f"{off}@quality=high"])
    two = [*ecssd, *coco, *SHARE]
    return {
        "domains": [*aside, "--kept-aside", "--limit", "6", *both, *WHOLE],
        "ecssd": [*ecssd, "--limit", "200", "--levels", LEVELS, *both, *WHOLE],
        "coco": [*coco, *SHARE, "--levels", LEVELS, *both, *WHOLE],
        "gle": [*two, "--limit", "200", "--levels", LEVELS, "--models", gle, *WHOLE],
        "kinds": [*ecssd, "--limit", "40", "--levels", "clear,robustseg:all:4", *both, *WHOLE],
        "high": [*two, "--limit", "200", "--models", high, *WHOLE],
        "qualities": [*two, "--limit", "100", "--models", qualities, *WHOLE],
        "tight": [*coco, "--average", "objects", "--models", f"{off},{auto},{high}", "--prompts", "box"],
        "clicks": [*two, "--limit", "200", "--models", off, "--prompts", "clicks:5"],
        "small-clicks": [*coco, "--min-share", "0.001", "--limit", "40", *both, "--prompts", "clicks:5"],
        "real": [*real, "--models", f"{off},{on},{auto}", *WHOLE],
    }  # fmt: skip


def claim(note: Path, weights: str) -> None:
    """Note whose numbers a folder holds, or end where it holds those of other weights."""
    if not note.is_file():
        note.write_text(weights + "\n", encoding="utf-8")
    elif (known := note.read_text(encoding="utf-8").strip()) != weights:
        sys.exit(f"expected measurements of {weights} in {note.parent}, got those of {known}; choose another --out")


class Outcome(NamedTuple):
    """What became of a step.

    Attributes:
        step: its folder.
        text: in words.
        reported: whether the report there is of this call.
    """

    step: Path
    text: str
    reported: bool


def measure(name: str, arguments: list[str], out: Path) -> Outcome:
    """Run a step, which does what is missing of it; its output goes into a log beside its folder."""
    before, summary = _written(out / name / "parts"), out / name / "summary.json"
    reported = summary.stat().st_mtime_ns if summary.is_file() else None
    command = [sys.executable, "-m", "glesam", "evaluate", *arguments, "--no-figures", "--out", str(out / name)]
    with (out / f"{name}.log").open("w", encoding="utf-8") as log:
        code = subprocess.run(
            command, stdout=log, stderr=log, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
        ).returncode
    text = f"{name}: done before" if before == _written(out / name / "parts") else f"{name}: done"
    anew = summary.is_file() and summary.stat().st_mtime_ns != reported
    return Outcome(out / name, text if code == 0 else f"{name}: failed with {code}, see {out / name}.log", anew)


def _written(parts: Path) -> dict[Path, int]:
    """When each finished part of a step was written, in nanoseconds."""
    return {path: path.stat().st_mtime_ns for path in parts.rglob("*.json")}


def rows(step: Path) -> list[str]:
    """Markdown rows of a finished step: set, prompt, model, and the levels one after the other."""
    report = json.loads((step / "summary.json").read_text(encoding="utf-8"))
    ending = "_objects" if report["config"]["average"] == "objects" else ""
    lines: dict[tuple[str, str, str], list[str]] = {}
    for record in _by_set(report["summary"], ending):
        cell = f"{record['iou' + ending]:.3f} / {record['boundary_iou' + ending]:.3f}"
        lines.setdefault((record["set"], record["prompt"], record["model"]), []).append(f"{record['level']} {cell}")
    return [f"| {step.name} | {' | '.join(key)} | {', '.join(cells)} |" for key, cells in lines.items()]


def _by_set(records: list[dict[str, Any]], ending: str) -> list[dict[str, Any]]:
    """The records as they are, or, of more sets than a table wants, their mean over the sets."""
    if len({record["set"] for record in records}) <= MOST_SETS:
        return records
    measures = ("iou" + ending, "boundary_iou" + ending)
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for record in records:
        alike.setdefault(tuple(record[key] for key in ("prompt", "model", "level")), []).append(record)
    means = []
    for (prompt, model, level), members in alike.items():
        mean = {measure: statistics.fmean(member[measure] for member in members) for measure in measures}
        means.append({"set": f"mean of {len(members)} sets", "prompt": prompt, "model": model, "level": level, **mean})
    return means


def main(arguments: list[str] | None = None) -> int:
    """Measure what is missing, and print all of it; 1 if a step failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="compact", help="name or folder; steps with an enhancer need one that fits")
    parser.add_argument("--only", nargs="+", choices=sorted(steps(Path(), "")), help="these steps alone")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    claim(options.out / "weights.txt", fingerprint(parse_model(options.model)))
    chosen = {k: v for k, v in steps(options.data, options.model).items() if not options.only or k in options.only}
    with ThreadPoolExecutor(options.jobs) as pool:
        running = [pool.submit(measure, name, step, options.out) for name, step in chosen.items()]
        for done in as_completed(running):
            print(done.result().text, file=sys.stderr, flush=True)
    finished = [outcome.step for outcome in (done.result() for done in running) if outcome.reported]
    print("| step | set | prompt | model | IoU / boundary IoU |", "| :-- | :-- | :-- | :-- | :-- |", sep="\n")
    print(*itertools.chain.from_iterable(map(rows, finished)), sep="\n")
    return int(len(finished) < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
