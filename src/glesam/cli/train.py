"""`glesam train`: one sub-command for each stage; the fields of a stage's configuration are its flags."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from glesam.cli.common import handle_errors, progress, warn
from glesam.cli.flags import field_flags, parsed, with_flags
from glesam.cli.train_run import Run, StageOptions, encoding, open_data, options_file, read_run, train_stage
from glesam.cli.verb_options import ConfigFile, VerbOptions, parameters, read_pair, takes
from glesam.common.settings import read_values
from glesam.train.config import (
    AmodalConfig,
    AutoencoderConfig,
    BaseConfig,
    DecoderConfig,
    EnhancerConfig,
    GainConfig,
    GateConfig,
    HeadConfig,
    PriorConfig,
    RestorerConfig,
    SubjectConfig,
    TextConfig,
    WordsConfig,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train a model on your own data.")

Data = Annotated[
    list[str] | None,
    typer.Option(
        help="Data-set folder (images/ + masks/, or a known layout): FOLDER, FOLDER:SHARE, or FOLDER@SPLIT[:SHARE] for "
        "a part of it. Repeatable."
    ),
]
COMMON = ("val", "model", "cached_pairs", "seed", "lr", "steps", "workers")
"""Fields that the help of each stage lists first."""


@app.callback()
def main() -> None:
    """Train a model on your own data."""


def stage(kind: type[StageOptions]) -> Callable[[Callable[[StageOptions, Run], None]], Callable[..., None]]:
    """Make a command of a function that trains a stage: flags for the fields of its configuration, and for the run."""

    def decorate(function: Callable[[StageOptions, Run], None]) -> Callable[..., None]:
        def command(given: dict[str, Any], data: Data = None, config: ConfigFile = None) -> None:
            run, options = read_run(kind, config, given, data)
            function(options, run)

        command.__name__, command.__doc__ = function.__name__, function.__doc__
        flags = [*parameters(Run, unset=True), *field_flags(kind, COMMON, kind.unused)]
        app.command(function.__name__)(handle_errors(with_flags(flags)(command)))
        return command

    return decorate


@stage(BaseConfig)
def base(options: BaseConfig, run: Run) -> None:
    """Train the compact model on clean images with masks; or tune one on your own, as --init compact --steps 300.

    With --init and without --config the options are those of docs/finetune.md. Several processes:
    `torchrun --nproc-per-node N -m glesam train base ...`.
    """
    from glesam.train.stages.base import BaseStage

    train_stage(BaseStage(options, *open_data(options, run)), run)


@app.command()
@handle_errors
@with_flags([*parameters(Run, unset=True), *field_flags(PriorConfig, COMMON, PriorConfig.unused)])
def prior(
    given: dict[str, Any],
    data: Data = None,
    config: ConfigFile = None,
    autoencoder_config: Annotated[
        Path | None, typer.Option(help="JSON file of options of the autoencoder; its data are the prior's.")
    ] = None,
    autoencoder: Annotated[
        str | None, typer.Option(help="Folder of a trained autoencoder; else one is trained.")
    ] = None,
) -> None:
    """Train a small latent-diffusion prior on images, from scratch: first its autoencoder, then its U-Net.

    Look at OUT/autoencoder/reconstructions.png and OUT/samples.png. Masks are not used.
    """
    from glesam.train.stages.autoencoder import AutoencoderStage
    from glesam.train.stages.prior import PriorStage

    run, options = read_run(PriorConfig, config, given, data)
    packs, _ = open_data(options, run)
    if autoencoder is None:
        first, chosen = _autoencoder_run(run, options, autoencoder_config, given)
        train_stage(AutoencoderStage(chosen, packs), first)
        autoencoder = str(first.out / "model")
    train_stage(PriorStage(options, packs, autoencoder), run)


@stage(EnhancerConfig)
def enhancer(options: EnhancerConfig, run: Run) -> None:
    """Stage 1: train the enhancer to turn latents of degraded images into those of clean ones."""
    from glesam.train.stages.enhancer import EnhancerStage

    packs, validation = open_data(options, run)
    with encoding() as show:
        made = EnhancerStage(options, packs, validation, run.cache, show)
        made.batches(0)
    train_stage(made, run)


@stage(DecoderConfig)
def decoder(options: DecoderConfig, run: Run) -> None:
    """Stage 2: train the mask decoder on enhanced latents; or, as baselines, on raw ones, or the encoder."""
    from glesam.train.stages.decoder import DecoderStage

    train_stage(DecoderStage(options, *open_data(options, run)), run)


@stage(HeadConfig)
def head(options: HeadConfig, run: Run) -> None:
    """Train a mask head on a frozen model of any family; use it with --head OUT/model."""
    from glesam.train.stages.head import HeadStage

    train_stage(HeadStage(options, *open_data(options, run)), run)


@stage(GateConfig)
def gate(options: GateConfig, run: Run) -> None:
    """Train the gate, which tells degraded images from clean ones, so that clean ones skip the enhancer."""
    from glesam.train.stages.gate import GateStage

    packs, validation = open_data(options, run)
    with encoding() as show:
        made = GateStage(options, packs, validation, run.cache, show)
    train_stage(made, run)


@stage(GainConfig)
def gain(options: GainConfig, run: Run) -> None:
    """Train the gate that judges by gain: where the bundle of --enhancer is worth it, for clicks and boxes apart.

    IoU with and without it is measured on versions of the images; a stopped run continues from what it measured.
    """
    from glesam.train.gains.run import train_gain_gate

    packs, _ = open_data(options, run)
    with progress(options.versions, "measure the gain") as advance:
        reached = 0

        def show(done: int, total: int) -> None:
            nonlocal reached
            advance(done - reached)
            reached = done

        found = train_gain_gate(options, packs, run.out, show)
    warn(f"gate in {run.out / 'model'}: " + ", ".join(f"{k} {v:.4f}" for k, v in found.items()))


@stage(RestorerConfig)
def restorer(options: RestorerConfig, run: Run) -> None:
    """Train a small U-Net that restores degraded images before any model sees them, for --restore unet:OUT/model.

    Masks are not used. With --val the PSNR of restored (psnr) and of degraded images (plain) is measured.
    """
    from glesam.train.stages.restorer import RestorerStage

    train_stage(RestorerStage(options, *open_data(options, run)), run)


@stage(SubjectConfig)
def subject(options: SubjectConfig, run: Run) -> None:
    """Train the head that finds the main thing of an image, for `segment --subject`: minutes on a CPU."""
    from glesam.fewshot.backbone import bundled_backbone
    from glesam.train.stages.subject import SubjectStage, open_sets

    with encoding() as show:
        train_stage(SubjectStage(options, open_sets(options), bundled_backbone(), show), run)


@stage(AmodalConfig)
def amodal(options: AmodalConfig, run: Run) -> None:
    """Train the network that completes masks behind what hides them, for `segment --amodal`: an hour on a CPU."""
    from glesam.fewshot.backbone import bundled_backbone
    from glesam.train.stages.amodal import AmodalStage

    train_stage(AmodalStage(options, open_data(options, run)[0], bundled_backbone()), run)


@stage(TextConfig)
def text(options: TextConfig, run: Run) -> None:
    """Train an ESC-Net, which makes masks of a text model's maps, on sets with labels.json; use it as --text-model."""
    from glesam.models.registry import load_model
    from glesam.text.clip import load_text_model
    from glesam.train.stages.text import TextStage

    start = None if options.sam in ("none", "random") else load_model(options.sam)
    with encoding() as show:
        train_stage(TextStage(options, load_text_model(options.text_model), start, show), run)


class AverageOptions(VerbOptions):
    """Runs and options of `glesam train average`."""

    runs: Annotated[
        list[str], typer.Argument(help="Folders `model` of runs of `train base` or of `train decoder`, two or more.")
    ]
    out: Annotated[Path, typer.Option(help="Folder of the mean; use its parts in `train bundle`, or as --init.")]
    model: Annotated[str, typer.Option(help="Segmentation model that the runs were trained on.")] = "compact"


@app.command()
@handle_errors
@takes(AverageOptions)
def average(options: AverageOptions) -> None:
    """Average the weights that runs which go on from one another saved: whole models, or parts of `train decoder`."""
    from glesam.models.registry import load_model
    from glesam.train.averaging import are_models, average_models, average_parts

    runs, out = options.runs, options.out
    if are_models(runs):
        warn(f"mean of {len(runs)} models in {average_models(runs, out)}")
        return
    warn(f"mean of {len(runs)} runs in {average_parts(runs, out, load_model(options.model))}")


class BundleOptions(VerbOptions):
    """Options of `glesam train bundle`."""

    out: Annotated[Path, typer.Option(help="Folder of the new enhancer.")]
    model: Annotated[str, typer.Option(help="Segmentation model that the parts were trained on.")] = "compact"
    enhancer: Annotated[Path | None, typer.Option(help="Folder that `train enhancer` saved.")] = None
    decoder: Annotated[
        Path | None, typer.Option(help="Folder that `train decoder` saved, or an official .pth file.")
    ] = None
    encoder: Annotated[
        Path | None, typer.Option(help="Folder of a tuned image encoder that `train decoder` saved.")
    ] = None
    fork: Annotated[
        str | None,
        typer.Option(
            help="Model, or stopped run, that went on from --model on degraded images: its encoder and decoder."
        ),
    ] = None
    gate: Annotated[Path | None, typer.Option(help="Folder that `train gate` or `train gain` saved.")] = None
    skips: Annotated[Path | None, typer.Option(help="Folder of a skip adapter that `train decoder` saved.")] = None
    rules: Annotated[
        Path | None,
        typer.Option(help='JSON list of rules by level, such as [{"above": 0}, {"above": 1.5, "image_size": 256}].'),
    ] = None
    half: Annotated[bool, typer.Option("--half", help="Merge adapters and store float16: small files.")] = False
    int8: Annotated[bool, typer.Option("--int8", help="Like --half, large weights in 8 bits: half as large.")] = False


@app.command()
@handle_errors
@takes(BundleOptions)
def bundle(options: BundleOptions) -> None:
    """Put trained parts together into one enhancer folder for one model, to be used with --enhancer."""
    from glesam.enhance.bundle import Parts, read_rules, write_bundle
    from glesam.models.registry import load_model

    table, base = () if options.rules is None else read_rules(options.rules), load_model(options.model)
    with tempfile.TemporaryDirectory() as folder:
        decoder, encoder = options.decoder, options.encoder
        if options.fork is not None:
            decoder, encoder = _forked(base, options.fork, decoder, encoder, Path(folder))
        parts = Parts(options.enhancer, decoder, options.gate, options.skips, encoder)
        write_bundle(options.out, base, parts, table, options.half, options.int8)
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    warn(f"enhancer in {options.out}: {size / 1e6:.1f} MB")


class RebaseOptions(VerbOptions):
    """Options of `glesam train rebase`."""

    out: Annotated[Path, typer.Option(help="Folder of the moved enhancer.")]
    model: Annotated[str, typer.Option(help="Segmentation model to move it to, one that was trained on from --base.")]
    enhancer: Annotated[str, typer.Option(help="Enhancer to move: its folder, or the name of one that ships.")] = (
        "compact"
    )
    base: Annotated[str, typer.Option(help="Segmentation model that the enhancer was made for.")] = "compact"
    gate: Annotated[Path | None, typer.Option(help="Folder that `train gate` saved, for the enhancer's own.")] = None
    rules: Annotated[Path | None, typer.Option(help="JSON list of rules by level, for the enhancer's own.")] = None
    half: Annotated[bool, typer.Option("--half", help="As in `train bundle`.")] = False
    int8: Annotated[bool, typer.Option("--int8", help="As in `train bundle`.")] = False


@app.command()
@handle_errors
@takes(RebaseOptions)
def rebase(options: RebaseOptions) -> None:
    """Move an enhancer to a model that was trained on from its base model: no training, seconds."""
    from glesam.enhance.bundle import read_rules
    from glesam.models.registry import enhancer_folder, load_model
    from glesam.train.rebasing import rebase_bundle

    rules = () if options.rules is None else read_rules(options.rules)
    old, new = load_model(options.base), load_model(options.model)
    folder = enhancer_folder(options.enhancer)
    rebase_bundle(folder, old, new, options.out, options.gate, rules, options.half, options.int8)
    warn(f"enhancer for {options.model} in {options.out}")


class WordsRun(VerbOptions):
    """What `glesam train words` takes beside the options of the training itself."""

    out: Annotated[Path, typer.Option(help="Folder of the vocabulary that is written.")]
    data: Annotated[Path, typer.Option(help="Folder with the sets that the configuration names.")]
    sets: Annotated[Path, typer.Option(help="JSON file of words and the labels that show them.")] = Path(
        "configs/words.json"
    )


@app.command()
@handle_errors
@with_flags([*parameters(WordsRun, unset=True), *field_flags(WordsConfig)])
def words(given: dict[str, Any], config: ConfigFile = None) -> None:
    """Train the dense heads of the offline vocabulary, and calibrate when a word counts as there. Minutes on a CPU.

    Images whose name has a SHA-256 divisible by 5 are kept aside for measuring.
    """
    from glesam.text.offline import WORDS_FOLDER
    from glesam.train.feed.named import NamedSets
    from glesam.train.stages.words import train_words

    own = {name: given.pop(name) for name in WordsRun.model_fields if name in given}
    run, options = read_pair(WordsRun, WordsConfig, config, {**own, **parsed(WordsConfig, given)}, "training option")
    source = train_words(run.data, NamedSets.read(run.sets), options, WORDS_FOLDER / "words.json", run.out)
    warn(f"vocabulary in {run.out}: {len(source.known)} words")


def _autoencoder_run(
    run: Run, options: PriorConfig, config: Path | None, given: Mapping[str, Any]
) -> tuple[Run, AutoencoderConfig]:
    """Run and options of the autoencoder of a prior, on the same images.

    Args:
        run: of the prior.
        options: of the prior; its seed and workers hold where they are flags, or the file names none.
        config: the file of the autoencoder's options, or None.
        given: flags of the prior.
    """
    own = {**run.model_dump(), "out": run.out / "autoencoder"}
    named = read_values(options_file(config, own), "training option")
    shared = {name: getattr(options, name) for name in ("data", "kept_aside", "offsets")}
    shared |= {name: getattr(options, name) for name in ("seed", "workers") if name in given or name not in named}
    return read_run(AutoencoderConfig, config, {**own, **shared}, None)


def _forked(base: Any, fork: str, decoder: Path | None, encoder: Path | None, folder: Path) -> tuple[Path, Path]:
    """Write decoder and encoder of a fork into a folder, as tuned parts of its base model."""
    from glesam.errors import ConfigError
    from glesam.models.registry import load_model
    from glesam.models.tuned import save_fork
    from glesam.train.loop import is_run
    from glesam.train.stages.base import trained_so_far

    if decoder is not None or encoder is not None:
        raise ConfigError("expected --fork or --decoder and --encoder, got both; a fork brings its own of each")
    save_fork(base, trained_so_far(fork, averaged=True) if is_run(fork) else load_model(fork), folder)
    return folder / "decoder", folder / "encoder"
