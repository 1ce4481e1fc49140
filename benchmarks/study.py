"""The study: train and measure every variant alike, then one table with intervals.

```
python benchmarks/study.py                      # what is there, what is missing, and the commands
python benchmarks/study.py --run e-full d       # do what these variants need (all: --run all); stopped runs go on
python benchmarks/study.py --table              # only the table, from what has been measured
python benchmarks/study.py --quick --run d      # a smoke test: two steps of each training, two photos
```

Gap closed: `(variant - base on LQ) / (base on clear - base on LQ)`, on the same photos. Differences are tested by
paired bootstrap over photos; all numbers of a column are of the photos that all of its variants have. Another set-up of
the trainings (flags, base model) wants another `--out`; evaluations take what they have of theirs, and do the rest.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from gain import CLEAR, Measured, cells, gap_closed, mean, shared_means
from glesam.common.files import write_text
from glesam.common.seeds import stable_seed
from glesam.evaluate.measure.model_specs import fingerprint, parse_model
from glesam.evaluate.measure.records import from_csv
from glesam.evaluate.report.statistics import compare
from study_figure import draw
from study_plan import VARIANTS, Plan, Task, Variant

SETS = ("ecssd=data/val/ecssd", "coco_mini=data/val/coco_mini")


def table(grouped: dict[str, Measured], titles: dict[str, str], seed: int = 0) -> str:
    """All variants in Markdown: one table for each data set and prompt.

    Args:
        grouped: measurements by variant; the first is the base.
        titles: what each variant is.
        seed: of the bootstrap.
    """
    base = next(iter(grouped.values()))
    levels = list(dict.fromkeys(level for _, _, level in base))
    parts = []
    for name, prompt in dict.fromkeys((name, prompt) for name, prompt, _ in base):
        head = ["variant", "", *levels, "gap closed"]
        lines = [f"## {name}, {prompt}", "", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
        means = {level: shared_means(grouped, (name, prompt, level)) for level in levels}
        bases, *_ = each = [{level: means[level].get(key, {}) for level in levels} for key in grouped]
        for key, mine in zip(grouped, each, strict=True):
            texts = [_cell(bases[level], mine[level], seed) for level in levels]
            lines.append(f"| {key} | {titles[key]} | {' | '.join(texts)} | {_gaps(bases, mine, levels)} |")
        parts.append("\n".join(lines))
    note = (
        "IoU, mean over the photos that all variants of a column have (difference from the base, with the 95 % "
        "interval of the paired bootstrap)."
    )
    return f"# Study\n\n{note} Gap closed: by level, in the order of the columns.\n\n" + "\n\n".join(parts) + "\n"


def _cell(base: dict[str, float], mine: dict[str, float], seed: int) -> str:
    """One number with its difference from the base."""
    if not mine:
        return "–"
    if mine == base:
        return f"{mean(mine):.3f}"
    found = compare(base, mine, stable_seed("study", seed))
    return f"{mean(mine):.3f} ({found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}])"


def _gaps(base: dict[str, dict[str, float]], mine: dict[str, dict[str, float]], levels: list[str]) -> str:
    """Gap closed at each degraded level."""
    if CLEAR not in base:
        return "–"
    gaps = [gap_closed(base[level], mine[level], base[CLEAR]) for level in levels if level != CLEAR]
    return ", ".join("–" if gap is None else f"{100 * gap:.0f} %" for gap in gaps)


@lru_cache
def base_digest(model: str) -> str:
    """Digest of the base model's weights."""
    return fingerprint(parse_model(model, "off"))


def stamp(plan: Plan, task: Task) -> str:
    """What a finished task notes: digest of the base model, and the command, a line each."""
    return f"{base_digest(plan.model)}\n{shlex.join(task.command)}\n"


def is_done(plan: Plan, task: Task) -> bool:
    """Whether a task's result is there, made by this command from this base model."""
    return task.done.is_file() and task.done.read_text(encoding="utf-8") == stamp(plan, task)


def prepare(plan: Plan, variant: Variant) -> None:
    """Write the rules file that a variant's bundle names."""
    if variant.rules:
        write_text(plan.out / "rules" / f"{variant.key}.json", variant.rules + "\n")


def run(plan: Plan, chosen: Iterable[Variant]) -> None:
    """Do what is missing, in order; a command that fails ends the run, which a second call takes up again.

    Evaluations are always called: they know what they have, down to the digests of models and images.
    """
    for variant in chosen:
        prepare(plan, variant)
        for task in plan.tasks(variant):
            if not task.is_evaluation and is_done(plan, task):
                continue
            if task.is_training and task.done.is_file():
                sys.exit(
                    f"expected {task.done} of the command {shlex.join(task.command)!r} and the base model "
                    f"{base_digest(plan.model)}, got that of another; choose another --out"
                )
            print(f"== {task.name}\n{shlex.join(task.arguments)}", flush=True)
            subprocess.run(task.arguments, check=True)
            write_text(task.done, stamp(plan, task))


def report(plan: Plan, chosen: Iterable[Variant]) -> None:
    """Say what is missing and with which command it is made."""
    seen: set[str] = set()
    for variant in chosen:
        tasks = list(plan.tasks(variant))
        missing = [task for task in tasks if not is_done(plan, task)]
        print(f"{variant.key}: {'measured' if not missing else f'{len(missing)} of {len(tasks)} steps missing'}")
        for task in missing:
            if task.name not in seen:
                print(f"    {shlex.join(task.arguments)}")
            seen.add(task.name)


def write_table(plan: Plan, chosen: Iterable[Variant]) -> Path | None:
    """Write `table.md` and `table.png` from the variants that have been measured; the base must be among them.

    Left out are those that another base model was measured with.
    """
    done = [variant for variant in chosen if plan.rows(variant).is_file()]
    if not done or done[0] != VARIANTS[0]:
        return None
    done = [variant for variant in done if _noted_base(plan, variant) == _noted_base(plan, done[0])]
    grouped = {v.key: cells(from_csv(plan.rows(v))) for v in done}
    titles = {v.key: v.title for v in done}
    write_text(plan.out / "table.md", table(grouped, titles))
    worst = plan.levels.split(",")[-1]
    if len(done) > 1 and any(level == worst for _, _, level in grouped[done[0].key]):
        draw(grouped, titles, worst, plan.out / "table.png")
    return plan.out / "table.md"


def _noted_base(plan: Plan, variant: Variant) -> str:
    """Digest of the base model that a variant was measured with; empty where that was not noted."""
    note = plan.evaluation(variant).done
    return note.read_text(encoding="utf-8").split("\n")[0] if note.is_file() else ""


def parse(arguments: list[str] | None = None) -> tuple[argparse.Namespace, Plan, list[Variant]]:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs="+", metavar="VARIANT", help="train and measure these, or all")
    parser.add_argument("--table", action="store_true", help="write the table only")
    parser.add_argument("--quick", action="store_true", help="two steps of each training, two photos of each set")
    parser.add_argument("--out", type=Path, default=None, help="folder of all runs; runs/study, or runs/study-quick")
    parser.add_argument("--configs", type=Path, default=Path("configs/study"))
    parser.add_argument("--model", default="compact")
    parser.add_argument("--prior", type=Path, help="folder of a trained prior; else one is trained")
    parser.add_argument("--gate", type=Path, help="folder of a trained gate; else one is trained")
    parser.add_argument("--data", action="append", metavar="NAME=FOLDER", help=f"to measure on; default {SETS}")
    parser.add_argument("--levels", default="clear,lq1,lq2,lq3")
    parser.add_argument("--limit", type=int, help="photos of each set")
    options = parser.parse_args(arguments)
    known = {variant.key: variant for variant in VARIANTS}
    unknown = [key for key in options.run or [] if key not in {*known, "all"}]
    if unknown:
        parser.error(f"expected variants of {', '.join(known)}, or all; got {unknown[0]}")
    wanted = list(known) if not options.run or "all" in options.run else list(dict.fromkeys(["a", *options.run]))
    plan = Plan(
        out=options.out or Path("runs/study-quick" if options.quick else "runs/study"),
        configs=options.configs,
        model=options.model,
        prior=options.prior,
        gate=options.gate,
        data=tuple(options.data or SETS),
        levels=options.levels,
        limit=2 if options.quick and options.limit is None else options.limit,
        quick=options.quick,
    )
    return options, plan, [known[key] for key in known if key in wanted]


def main() -> None:
    """Report, run, or write the table."""
    options, plan, chosen = parse()
    if options.run:
        run(plan, chosen)
    elif not options.table:
        report(plan, chosen)
    path = write_table(plan, list(VARIANTS))
    print(f"table: {path}" if path else "no table yet: measure the base first (--run a)", file=sys.stderr)


if __name__ == "__main__":
    main()
