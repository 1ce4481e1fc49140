"""What the sub-commands of `glesam train` share: options from flags and files, data, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from glesam.cli.common import progress, warn
from glesam.cli.flags import parsed
from glesam.cli.verb_options import VerbOptions, read_pair
from glesam.common.extras import require_training
from glesam.train.config import FINE_TUNING, LORA_TUNING, BaseConfig, StageConfig

StageOptions = TypeVar("StageOptions", bound=StageConfig)


class Run(VerbOptions):
    """What all stages' commands take beside the stage's own options."""

    out: Annotated[Path, typer.Option(help="Run folder: checkpoints, logs and, at the end, what was trained.")]
    cache: Annotated[Path, typer.Option(help="Folder for packed images and latents; may be deleted at any time.")] = (
        Path("cache/packs")
    )
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, exactly.")] = False


def read_run(
    kind: type[StageOptions], config: Path | None, given: dict[str, Any], data: list[str] | None
) -> tuple[Run, StageOptions]:
    """A run and its stage's options: flags over the file of `--config`, or over what a resumed run was started with.

    Args:
        kind: the stage's configuration.
        config: JSON file of keys of both, or None.
        given: flags of run and stage.
        data: data sets, each with its share after a colon.

    Raises:
        ConfigError: an extra is missing, or options that cannot be read.
    """
    require_training()
    run = {name: given[name] for name in Run.model_fields if name in given}
    flags = parsed(kind, {name: value for name, value in given.items() if name not in run})
    if data:
        flags["data"] = dict(_share(item) for item in data)
    if config is None and run.get("resume") and "out" in run and (run["out"] / "config.json").is_file():
        config = run["out"] / "config.json"
    if kind is BaseConfig and config is None and "init" in flags:
        flags = {**FINE_TUNING, **(LORA_TUNING if flags.get("lora") else {}), **flags}
    return read_pair(Run, kind, config, {**run, **flags}, "training option")


@contextmanager
def encoding() -> Iterator[Callable[[int, int], None]]:
    """A progress bar for the one-off encoding of pairs; gives the function to call with (done, total)."""
    with progress(None, "encode pairs") as advance:
        yield lambda done, total: advance(1, f"encode pairs {done}/{total}")


def _share(item: str) -> tuple[str, float]:
    """Split `FOLDER:SHARE`; the share is 1 when not given."""
    folder, colon, share = item.rpartition(":")
    try:
        return (folder, float(share)) if colon else (item, 1.0)
    except ValueError:
        return item, 1.0


def open_data(options: StageConfig, run: Run) -> tuple[list[Any], Any]:
    """Pack the training sets, less what is kept aside of some, and open the validation set."""
    from glesam.common.messages import hint
    from glesam.data.base import is_kept_aside
    from glesam.data.readers.registry import open_dataset
    from glesam.errors import ConfigError
    from glesam.train.feed.pack import PartOfPack, pack

    if not options.data:
        raise ConfigError("expected data to train on, got none; pass --data FOLDER or a config with 'data'")
    packs = []
    datasets = [open_dataset(folder) for folder in options.data]
    names = [dataset.name for dataset in datasets]
    unknown = next((name for name in options.offsets if name not in names), None)
    if unknown is not None:
        raise ConfigError(f"expected offsets of data sets that are trained on, got {unknown!r}; {hint(unknown, names)}")
    parted = _kept_aside(options.kept_aside, names)
    for dataset in datasets:
        warn(f"{dataset.name}: {len(dataset)} images")
        whole = pack(dataset, run.cache, offset=options.offsets.get(dataset.name, (0.0, 0.0)))
        packs.append(PartOfPack(whole, lambda name: not is_kept_aside(name)) if dataset.name in parted else whole)
    return packs, open_dataset(options.val) if options.val else None


def _kept_aside(given: Sequence[str], names: Sequence[str]) -> set[str]:
    """The data sets of which a fifth is kept aside.

    Args:
        given: their names, or their folders; those that are not trained on are told, as a configuration may list more.
        names: of the data sets that are trained on.

    Raises:
        ConfigError: none of them is trained on, so that nothing at all would be kept aside.
    """
    from glesam.common.messages import hint
    from glesam.errors import ConfigError

    absent = [name for name in given if Path(name).name not in names]
    if absent and len(absent) == len(given):
        cure = hint(Path(absent[0]).name, names)
        raise ConfigError(f"expected data sets that are trained on in kept_aside, got {', '.join(given)}; {cure}")
    if absent:
        warn(f"glesam: warning: kept_aside names sets that are not trained on: {', '.join(absent)}")
    return {Path(name).name for name in given}


def train_stage(made: Any, run: Run) -> None:
    """Run a stage with a progress bar that shows rate, time left and the losses."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from glesam.cli.common import messages
    from glesam.train.loop import Trainer

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[losses]}"), console=messages) as bar:
        task = bar.add_task(f"train {made.name}", total=None, losses="")

        def show(step: int, total: int, losses: dict[str, float]) -> None:
            text = "  ".join(f"{k} {losses[k]:.3f}" for k in ("loss", "iou") if k in losses)
            rate = f"  {bar.tasks[task].speed:.2f} steps/s" if bar.tasks[task].speed else ""
            bar.update(task, completed=step, total=total, losses=text + rate, description=f"train {made.name}")

        trainer = Trainer(made, run.out, run.resume, show, lambda: bar.update(task, description="validating ..."))
        try:
            measured = trainer.run()
        except KeyboardInterrupt:
            warn(f"glesam: at step {trainer.step} of {trainer.total}; the same command with --resume continues")
            raise
    warn(f"model in {run.out / 'model'}: " + ", ".join(f"{k} {v:.4f}" for k, v in measured.items()))
