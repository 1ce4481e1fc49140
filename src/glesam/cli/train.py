"""`glesam train`: one sub-command for each stage."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from glesam.cli.common import handle_errors, warn

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train a model on your own data.")

Data = Annotated[
    list[str] | None,
    typer.Option(help="Data-set folder (images/ + masks/, or a known layout), FOLDER or FOLDER:SHARE. Repeatable."),
]

Out = Annotated[Path, typer.Option(help="Run folder: checkpoints, logs and, at the end, what was trained.")]
Config = Annotated[Path | None, typer.Option(help="JSON file of options; flags lie over it.")]
Val = Annotated[str | None, typer.Option(help="Data-set folder to validate on, clear and at LQ-1 to LQ-3.")]
Model = Annotated[str | None, typer.Option(help="Segmentation model: preset, folder or hub id.")]
Cache = Annotated[Path, typer.Option(help="Folder for packed photos and latents; may be deleted at any time.")]
Seed = Annotated[int | None, typer.Option(help="The only source of randomness.")]
Rate = Annotated[float | None, typer.Option(help="Peak learning rate.")]
Steps = Annotated[int | None, typer.Option(help="Optimiser steps.")]
Pairs = Annotated[int | None, typer.Option(help="Encode this many pairs once and train on them; 0 encodes always.")]
Workers = Annotated[int | None, typer.Option(help="Background processes that prepare batches.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, exactly.")]
CACHE = Path("cache/packs")


@app.callback()
def main() -> None:
    """Train a model on your own data."""


@app.command()
@handle_errors
def base(
    out: Out,
    data: Data = None,
    config: Config = None,
    val: Annotated[str | None, typer.Option(help="Data-set folder to validate on during training.")] = None,
    init: Annotated[
        str | None, typer.Option(help="Folder of a saved compact model, or of a run, to start from.")
    ] = None,
    cache: Cache = CACHE,
    seed: Seed = None,
    lr: Rate = None,
    workers: Workers = None,
    resume: Resume = False,
) -> None:
    """Train the compact model on clean photos with masks.

    Several processes: `torchrun --nproc-per-node N -m glesam train base ...`.
    """
    from glesam.train.config import BaseConfig, read_config
    from glesam.train.stages.base import BaseStage

    given: dict[str, Any] = {"val": val, "init": init, "seed": seed, "lr": lr, "workers": workers}
    if data:
        given["data"] = dict(_share(item) for item in data)
    options = read_config(BaseConfig, _stored(config, out, resume), given)
    packs, validation = _open_data(options.data, options.val, cache, options.kept_aside)
    _run(BaseStage(options, packs, validation), out, resume)


@app.command()
@handle_errors
def prior(
    out: Out,
    data: Data = None,
    config: Config = None,
    autoencoder_config: Annotated[Path | None, typer.Option(help="JSON file of options of the autoencoder.")] = None,
    autoencoder: Annotated[
        str | None, typer.Option(help="Folder of a trained autoencoder; else one is trained.")
    ] = None,
    cache: Cache = CACHE,
    seed: Seed = None,
    lr: Rate = None,
    steps: Steps = None,
    workers: Workers = None,
    resume: Resume = False,
) -> None:
    """Train a small latent-diffusion prior on photos, from scratch: first its autoencoder, then its U-Net.

    Look at OUT/autoencoder/reconstructions.png and OUT/samples.png. Masks are not used.
    """
    from glesam.train.config import read_config
    from glesam.train.stages.autoencoder import AutoencoderConfig, AutoencoderStage
    from glesam.train.stages.prior import PriorConfig, PriorStage

    given: dict[str, Any] = {"seed": seed, "workers": workers, **_shares(data)}
    options = read_config(PriorConfig, _stored(config, out, resume), {**given, "lr": lr, "steps": steps})
    packs, _ = _open_data(options.data, None, cache, options.kept_aside)
    if autoencoder is None:
        first = out / "autoencoder"
        stored = _stored(autoencoder_config, first, resume)
        shared = {"data": options.data, "seed": options.seed, "workers": options.workers}
        _run(AutoencoderStage(read_config(AutoencoderConfig, stored, shared), packs), first, resume)
        autoencoder = str(first / "model")
    _run(PriorStage(options, packs, autoencoder), out, resume)


@app.command()
@handle_errors
def enhancer(
    out: Out,
    data: Data = None,
    config: Config = None,
    val: Val = None,
    model: Model = None,
    prior: Annotated[str | None, typer.Option(help='Folder or hub id of a diffusion prior, or "random".')] = None,
    kind: Annotated[str | None, typer.Option(help='"unet" or, as a baseline, "residual-cnn".')] = None,
    head: Annotated[
        str | None, typer.Option(help='"cre": repeat the prior\'s head and tail; "new": draw new ones.')
    ] = None,
    adapt: Annotated[str | None, typer.Option(help='"lora": train adapters; "full": all weights.')] = None,
    rank: Annotated[int | None, typer.Option(help="Rank of the adapters.")] = None,
    targets: Annotated[str | None, typer.Option(help='Layers with adapters: "all" or "attention".')] = None,
    timestep: Annotated[int | None, typer.Option(help="Schedule index of the one step.")] = None,
    level_timesteps: Annotated[
        str | None, typer.Option(help="Schedule index for clear, LQ-1, LQ-2, LQ-3 photos instead: 1,100,200,300.")
    ] = None,
    alignment_scale: Annotated[
        str | None, typer.Option(help='Factor on the latent: a number, "measured" or "measured-sum".')
    ] = None,
    cache: Cache = CACHE,
    cached_pairs: Pairs = None,
    seed: Seed = None,
    lr: Rate = None,
    steps: Steps = None,
    workers: Workers = None,
    resume: Resume = False,
) -> None:
    """Stage 1: train the enhancer to turn latents of degraded photos into those of clean ones."""
    from glesam.train.config import read_config
    from glesam.train.stages.enhancer import EnhancerConfig, EnhancerStage

    given = {
        **_pair_options(data, val, model, cached_pairs, seed, lr, steps, workers),
        "prior": prior,
        "kind": kind,
        "head": head,
        "adapt": adapt,
        "rank": rank,
        "targets": targets,
        "timestep": timestep,
        "level_timesteps": None if level_timesteps is None else level_timesteps.split(","),
        "alignment_scale": alignment_scale,
    }
    options = read_config(EnhancerConfig, _stored(config, out, resume), given)
    packs, validation = _open_data(options.data, options.val, cache, options.kept_aside)
    with _encoding() as show:
        stage = EnhancerStage(options, packs, validation, cache, show)
        stage.batches(0)
    _run(stage, out, resume)


@app.command()
@handle_errors
def decoder(
    out: Out,
    data: Data = None,
    config: Config = None,
    val: Val = None,
    model: Model = None,
    enhancer: Annotated[
        str | None, typer.Option(help="Folder of a trained enhancer; else the latents stay raw.")
    ] = None,
    init: Annotated[
        str | None, typer.Option(help="Folder `model` of an earlier run of this stage, whose parts go on from there.")
    ] = None,
    train: Annotated[
        list[str] | None, typer.Option(help="Part that learns: tokens, decoder, encoder, enhancer, skips. Repeatable.")
    ] = None,
    skips: Annotated[
        str | None, typer.Option(help='"raw", or to learn: "attenuate" (with a gate) or "branch".')
    ] = None,
    gate: Annotated[str | None, typer.Option(help="Folder of a trained gate.")] = None,
    loss: Annotated[str | None, typer.Option(help='"dice-focal" or "base".')] = None,
    cache: Cache = CACHE,
    seed: Seed = None,
    lr: Rate = None,
    steps: Steps = None,
    workers: Workers = None,
    resume: Resume = False,
) -> None:
    """Stage 2: train the mask decoder on enhanced latents; or, as baselines, on raw ones, or the encoder."""
    from glesam.train.config import read_config
    from glesam.train.stages.decoder import DecoderConfig, DecoderStage

    given = _pair_options(data, val, model, None, seed, lr, steps, workers)
    given |= {"enhancer": enhancer, "init": init, "train": train or None, "loss": loss, "skips": skips, "gate": gate}
    options = read_config(DecoderConfig, _stored(config, out, resume), given)
    packs, validation = _open_data(options.data, options.val, cache, options.kept_aside)
    _run(DecoderStage(options, packs, validation), out, resume)


@app.command()
@handle_errors
def head(
    out: Out,
    kind: Annotated[str | None, typer.Option(help='"hq" (sharper masks) or "robust" (degraded photos).')] = None,
    data: Data = None,
    config: Config = None,
    val: Val = None,
    model: Model = None,
    cache: Cache = CACHE,
    seed: Seed = None,
    lr: Rate = None,
    steps: Steps = None,
    workers: Workers = None,
    resume: Resume = False,
) -> None:
    """Train a mask head on a frozen model of any family; use it with --head OUT/model."""
    from glesam.train.config import read_config
    from glesam.train.feed.head_views import HeadConfig
    from glesam.train.stages.head import HeadStage

    given = {**_pair_options(data, val, model, None, seed, lr, steps, workers), "kind": kind}
    options = read_config(HeadConfig, _stored(config, out, resume), given)
    packs, validation = _open_data(options.data, options.val, cache)
    _run(HeadStage(options, packs, validation), out, resume)


@app.command()
@handle_errors
def gate(
    out: Out,
    data: Data = None,
    config: Config = None,
    val: Val = None,
    model: Model = None,
    cache: Cache = CACHE,
    cached_pairs: Pairs = None,
    seed: Seed = None,
    lr: Rate = None,
    steps: Steps = None,
    workers: Workers = None,
    resume: Resume = False,
) -> None:
    """Train the gate, which tells degraded photos from clean ones, so that clean ones skip the enhancer."""
    from glesam.train.config import read_config
    from glesam.train.stages.gate import GateConfig, GateStage

    given = _pair_options(data, val, model, cached_pairs, seed, lr, steps, workers)
    options = read_config(GateConfig, _stored(config, out, resume), given)
    packs, validation = _open_data(options.data, options.val, cache, options.kept_aside)
    with _encoding() as show:
        stage = GateStage(options, packs, validation, cache, show)
    _run(stage, out, resume)


@app.command()
@handle_errors
def restorer(
    out: Out,
    data: Data = None,
    config: Config = None,
    val: Val = None,
    cache: Cache = CACHE,
    seed: Seed = None,
    lr: Rate = None,
    steps: Steps = None,
    workers: Workers = None,
    resume: Resume = False,
) -> None:
    """Train a small U-Net that restores degraded images before any model sees them, for --restore unet:OUT/model.

    Masks are not used. With --val the PSNR of restored (psnr) and of degraded images (plain) is measured.
    """
    from glesam.train.config import read_config
    from glesam.train.stages.restorer import RestorerConfig, RestorerStage

    given = {"val": val, "seed": seed, "lr": lr, "steps": steps, "workers": workers, **_shares(data)}
    options = read_config(RestorerConfig, _stored(config, out, resume), given)
    packs, validation = _open_data(options.data, options.val, cache)
    _run(RestorerStage(options, packs, validation), out, resume)


@app.command()
@handle_errors
def subject(
    out: Out, data: Data = None, config: Config = None, seed: Seed = None, steps: Steps = None, resume: Resume = False
) -> None:
    """Train the head that finds the main thing of an image, for `segment --subject`: minutes on a CPU."""
    from glesam.fewshot.backbone import bundled_backbone
    from glesam.train.config import read_config
    from glesam.train.stages.subject import SubjectConfig, SubjectStage, open_sets

    given = {"seed": seed, "steps": steps, **_shares(data)}
    options = read_config(SubjectConfig, _stored(config, out, resume), given)
    with _encoding() as show:
        _run(SubjectStage(options, open_sets(options), bundled_backbone(), show), out, resume)


@app.command()
@handle_errors
def average(
    runs: Annotated[list[str], typer.Argument(help="Folders `model` of runs of `train decoder`, two or more.")],
    out: Annotated[Path, typer.Option(help="Folder of the mean; use its parts in `train bundle`, or as --init.")],
    model: Annotated[str, typer.Option(help="Segmentation model that the runs were trained on.")] = "compact",
) -> None:
    """Average what several runs of `train decoder` saved, part by part."""
    from glesam.models.registry import load_model
    from glesam.train.averaging import average_parts

    warn(f"mean of {len(runs)} runs in {average_parts(runs, out, load_model(model))}")


@app.command()
@handle_errors
def bundle(
    out: Annotated[Path, typer.Option(help="Folder of the new enhancer.")],
    model: Annotated[str, typer.Option(help="Segmentation model that the parts were trained on.")] = "compact",
    enhancer: Annotated[Path | None, typer.Option(help="Folder that `train enhancer` saved.")] = None,
    decoder: Annotated[
        Path | None, typer.Option(help="Folder that `train decoder` saved, or an official .pth file.")
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="Folder of a tuned image encoder that `train decoder` saved.")
    ] = None,
    fork: Annotated[
        str | None,
        typer.Option(help="Whole model that was trained on from --model on degraded images: its encoder and decoder."),
    ] = None,
    gate: Annotated[Path | None, typer.Option(help="Folder that `train gate` saved.")] = None,
    skips: Annotated[Path | None, typer.Option(help="Folder of a skip adapter that `train decoder` saved.")] = None,
    rules: Annotated[
        Path | None,
        typer.Option(help='JSON list of rules by level, such as [{"above": 0}, {"above": 1.5, "image_size": 256}].'),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Merge adapters and store float16: small files.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Like --half, large weights in 8 bits: half as large.")] = False,
) -> None:
    """Put trained parts together into one enhancer folder for one model, to be used with --enhancer."""
    from glesam.enhance.bundle import Parts, read_rules, write_bundle
    from glesam.models.registry import load_model

    table, base = () if rules is None else read_rules(rules), load_model(model)
    with tempfile.TemporaryDirectory() as folder:
        if fork is not None:
            decoder, encoder = _forked(base, fork, decoder, encoder, Path(folder))
        write_bundle(out, base, Parts(enhancer, decoder, gate, skips, encoder), table, half, int8)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    warn(f"enhancer in {out}: {size / 1e6:.1f} MB")


@app.command()
@handle_errors
def words(
    out: Annotated[Path, typer.Option(help="Folder of the vocabulary that is written.")],
    data: Annotated[Path, typer.Option(help="Folder with the sets that the configuration names.")],
    sets: Annotated[Path, typer.Option(help="JSON file of words and the labels that show them.")] = Path(
        "configs/words.json"
    ),
    config: Config = None,
    seed: Seed = None,
) -> None:
    """Train the dense heads of the offline vocabulary, and calibrate when a word counts as there. Minutes on a CPU.

    Images whose name has a SHA-256 divisible by 5 are kept aside for measuring.
    """
    from glesam.text.offline import WORDS_FOLDER
    from glesam.train.config import read_config
    from glesam.train.feed.named import NamedSets
    from glesam.train.stages.words import WordsConfig, train_words

    options = read_config(WordsConfig, config, {"seed": seed})
    source = train_words(data, NamedSets.read(sets), options, WORDS_FOLDER / "words.json", out)
    warn(f"vocabulary in {out}: {len(source.known)} words")


def _forked(base: Any, fork: str, decoder: Path | None, encoder: Path | None, folder: Path) -> tuple[Path, Path]:
    """Write decoder and encoder of a fork into a folder, as tuned parts of its base model."""
    from glesam.errors import ConfigError
    from glesam.models.registry import load_model
    from glesam.models.tuned import save_fork

    if decoder is not None or encoder is not None:
        raise ConfigError("expected --fork or --decoder and --encoder, got both; a fork brings its own of each")
    save_fork(base, load_model(fork), folder)
    return folder / "decoder", folder / "encoder"


def _pair_options(
    data: list[str] | None,
    val: str | None,
    model: str | None,
    cached_pairs: int | None,
    seed: int | None,
    lr: float | None,
    steps: int | None,
    workers: int | None,
) -> dict[str, Any]:
    """The flags that all stages on pairs share."""
    return {
        "val": val,
        "model": model,
        "cached_pairs": cached_pairs,
        "seed": seed,
        "lr": lr,
        "steps": steps,
        "workers": workers,
        **_shares(data),
    }


def _shares(data: list[str] | None) -> dict[str, Any]:
    return {"data": dict(_share(item) for item in data)} if data else {}


@contextmanager
def _encoding() -> Iterator[Callable[[int, int], None]]:
    """A progress bar for the one-off encoding of pairs; gives the function to call with (done, total)."""
    from glesam.cli.common import progress

    with progress(None, "encode pairs") as advance:
        yield lambda done, total: advance(1, f"encode pairs {done}/{total}")


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


def _open_data(
    data: dict[str, float], val: str | None, cache: Path, aside: Sequence[str] = ()
) -> tuple[list[Any], Any]:
    """Pack the training sets, less what is kept aside of some, and open the validation set."""
    from glesam.data.base import is_kept_aside
    from glesam.data.readers.registry import open_dataset
    from glesam.errors import ConfigError
    from glesam.train.feed.pack import PartOfPack, pack

    if not data:
        raise ConfigError("expected data to train on, got none; pass --data FOLDER or a config with 'data'")
    packs = []
    for folder in data:
        dataset = open_dataset(folder)
        warn(f"{dataset.name}: {len(dataset)} photos")
        whole = pack(dataset, cache)
        packs.append(PartOfPack(whole, lambda name: not is_kept_aside(name)) if dataset.name in aside else whole)
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
