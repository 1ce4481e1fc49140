"""`glesam train`: one sub-command for each stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from glesam.cli.common import handle_errors, warn

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train a model on your own data.")

Data = Annotated[
    list[str] | None,
    typer.Option(help="Data-set folder (images/ + masks/, or a known layout), FOLDER or FOLDER:SHARE. Repeatable."),
]


@app.callback()
def main() -> None:
    """Train a model on your own data."""


@app.command()
@handle_errors
def base(
    out: Annotated[Path, typer.Option(help="Run folder: checkpoints, logs and, at the end, the model.")],
    data: Data = None,
    config: Annotated[Path | None, typer.Option(help="JSON file of options; flags lie over it.")] = None,
    val: Annotated[str | None, typer.Option(help="Data-set folder to validate on during training.")] = None,
    init: Annotated[str | None, typer.Option(help="Folder of a saved compact model to start from.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder for the packed photos; may be deleted at any time.")] = Path(
        "cache/packs"
    ),
    seed: Annotated[int | None, typer.Option(help="The only source of randomness.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    workers: Annotated[int | None, typer.Option(help="Background processes that prepare batches.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, exactly.")] = False,
) -> None:
    """Train the compact model on clean photos with masks.

    Several processes: `torchrun --nproc-per-node N -m glesam train base ...`.
    """
    from glesam.train.base import BaseStage
    from glesam.train.config import BaseConfig, read_config

    given: dict[str, Any] = {"val": val, "init": init, "seed": seed, "lr": lr, "workers": workers}
    if data:
        given["data"] = dict(_share(item) for item in data)
    options = read_config(BaseConfig, _stored(config, out, resume), given)
    packs, validation = _open_data(options.data, options.val, cache)
    _run(BaseStage(options, packs, validation), out, resume)


def _stored(config: Path | None, out: Path, resume: bool) -> Path | None:
    """A resumed run goes on with the configuration that it was started with."""
    return out / "config.json" if config is None and resume and (out / "config.json").is_file() else config


def _share(item: str) -> tuple[str, float]:
    """Split `FOLDER:SHARE`; the share is 1 when not given."""
    folder, colon, share = item.rpartition(":")
    try:
        return (folder, float(share)) if colon else (item, 1.0)
    except ValueError:
        return item, 1.0


def _open_data(data: dict[str, float], val: str | None, cache: Path) -> tuple[list[Any], Any]:
    """Pack the training sets and open the validation set."""
    from glesam.data.pack import pack
    from glesam.data.registry import open_dataset
    from glesam.errors import ConfigError

    if not data:
        raise ConfigError("expected data to train on, got none; pass --data FOLDER or a config with 'data'")
    packs = []
    for folder in data:
        dataset = open_dataset(folder)
        warn(f"{dataset.name}: {len(dataset)} photos")
        packs.append(pack(dataset, cache))
    return packs, open_dataset(val) if val else None


def _run(stage: Any, out: Path, resume: bool) -> None:
    """Run a stage with a progress bar that shows rate, time left and the losses."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from glesam.cli.common import messages
    from glesam.train.loop import Trainer

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[losses]}"), console=messages) as bar:
        task = bar.add_task(f"train {stage.name}", total=None, losses="")

        def show(step: int, total: int, losses: dict[str, float]) -> None:
            text = "  ".join(f"{k} {losses[k]:.3f}" for k in ("loss", "iou") if k in losses)
            rate = f"  {bar.tasks[task].speed:.2f} steps/s" if bar.tasks[task].speed else ""
            bar.update(task, completed=step, total=total, losses=text + rate)

        measured = Trainer(stage, out, resume, show).run()
    warn(f"model in {out / 'model'}: " + ", ".join(f"{k} {v:.4f}" for k, v in measured.items()))
