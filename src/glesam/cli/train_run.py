"""What the sub-commands of `glesam train` share: options from flags and files, data, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from glesam.cli.common import progress, warn
from glesam.cli.flags import parsed
from glesam.cli.verb_options import VerbOptions, read_pair
from glesam.common.extras import require_training
from glesam.train.config import FINE_TUNING, LORA_TUNING, BaseConfig, StageConfig

if TYPE_CHECKING:
    from glesam.train.feed.pack import ImagePack

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
    config = options_file(config, run)
    if kind is BaseConfig and config is None and "init" in flags:
        flags = {**FINE_TUNING, **(LORA_TUNING if flags.get("lora") else {}), **flags}
    return read_pair(Run, kind, config, {**run, **flags}, "training option")


def options_file(config: Path | None, run: Mapping[str, Any]) -> Path | None:
    """The file of `--config`, or of what a resumed run was started with; None where there is neither.

    Args:
        config: that was given.
        run: flags of the run.
    """
    if config is None and run.get("resume") and "out" in run and (run["out"] / "config.json").is_file():
        return Path(run["out"]) / "config.json"
    return config


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
    from glesam.data.readers.registry import open_dataset, open_for_training
    from glesam.errors import ConfigError
    from glesam.train.feed.pack import pack

    if not options.data:
        raise ConfigError("expected data to train on, got none; pass --data FOLDER or a config with 'data'")
    packs = []
    datasets = [open_for_training(folder) for folder in options.data]
    names = [dataset.name for dataset in datasets]
    unknown = next((name for name in options.offsets if name not in names), None)
    if unknown is not None:
        raise ConfigError(f"expected offsets of data sets that are trained on, got {unknown!r}; {hint(unknown, names)}")
    parted = _kept_aside(options.kept_aside, list(options.data), names)
    for dataset, is_parted in zip(datasets, parted, strict=True):
        warn(f"{dataset.name}: {len(dataset)} images")
        whole = pack(dataset, run.cache, offset=options.offsets.get(dataset.name, (0.0, 0.0)))
        packs.append(_not_kept_aside(whole) if is_parted else whole)
    return packs, open_dataset(options.val) if options.val else None


def _not_kept_aside(whole: ImagePack) -> ImagePack:
    """The images of a pack that are trained on where a fifth is kept aside.

    Raises:
        DataError: there is none.
    """
    from glesam.data.base import is_kept_aside
    from glesam.errors import DataError
    from glesam.train.feed.pack import PartOfPack

    part = PartOfPack(whole, lambda name: not is_kept_aside(name))
    if not part.names:
        raise DataError(
            f"expected images of {whole.name} to train on, got {len(whole)}, all of them kept aside by their names; "
            "take more images, or leave the set out of kept_aside"
        )
    return part


def _kept_aside(given: Sequence[str], folders: Sequence[str], names: Sequence[str]) -> list[bool]:
    """Whether a fifth is kept aside, of each data set that is trained on.

    Args:
        given: names or folders of sets; those that are not trained on are told, as a configuration may list more.
        folders: of the data sets that are trained on.
        names: of the same.

    Raises:
        ConfigError: none of them is trained on, so that nothing at all would be kept aside.
    """
    from glesam.common.messages import hint
    from glesam.errors import ConfigError

    meant = {one: [_is_meant(one, *each) for each in zip(folders, names, strict=True)] for one in given}
    absent = [one for one in given if not any(meant[one])]
    if absent and len(absent) == len(given):
        cure = hint(Path(absent[0]).name, names)
        raise ConfigError(f"expected data sets that are trained on in kept_aside, got {', '.join(given)}; {cure}")
    if absent:
        warn(f"glesam: warning: kept_aside names sets that are not trained on: {', '.join(absent)}")
    return [any(found[number] for found in meant.values()) for number in range(len(names))]


def _is_meant(given: str, folder: str, name: str) -> bool:
    """Whether a word of kept_aside gives a data set: by its name, or by its folder, with its split or without."""
    from glesam.data.readers.registry import place

    (path, split), (own, part) = place(given), place(folder)
    return Path(given).name == name or (path.resolve() == own.resolve() and split in (None, part))


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
