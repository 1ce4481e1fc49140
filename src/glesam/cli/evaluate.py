"""`glesam evaluate`: measure models on data sets, at levels of quality, with prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glesam.cli.common import FAILED, console, handle_errors, progress, warn
from glesam.cli.verb_options import VerbOptions, takes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glesam.evaluate.measure.benchmark import BenchmarkConfig, Results
    from glesam.evaluate.measure.model_specs import LoadPredictor
    from glesam.evaluate.measure.sources import Source
    from glesam.evaluate.report.presets import EvaluationPreset
    from glesam.evaluate.report.report import Report

_MOST_NAMED = 20


class EvaluateOptions(VerbOptions):
    """Options of `glesam evaluate`."""

    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data", help="Data set: DIR, DIR@SPLIT for a part of it, NAME=DIR to name it as a table does. Repeatable."
        ),
    ] = None
    levels: Annotated[
        str | None,
        typer.Option(help="clear, lq1, lq2, lq3, robustseg:KIND:1-5, real:KIND:1-5; KIND may be all. Default: clear."),
    ] = None
    models: Annotated[
        str,
        typer.Option(
            help="Names, folders or hub ids; NAME+FOLDER gives one an enhancer, @enhance=on|off|auto a mode, "
            "@refine=off, @quality=high and @head=NAME as in segment, @restore=NAME[:ARGUMENT] a restorer."
        ),
    ] = "compact"
    prompts: Annotated[
        str | None,
        typer.Option(
            help="points:K, points:1..10, box, noisy-box:0.2; clicks:K corrects the answer. Default: points:3,box."
        ),
    ] = None
    preset: Annotated[
        str | None,
        typer.Option(
            help="Set-up of the paper: table1, table2, table3, table5, table13 or clicks; or real: folders of degraded "
            "images, enhancer off, on and auto."
        ),
    ] = None
    partial: Annotated[bool, typer.Option("--partial", help="Run a preset without the sets that are missing.")] = False
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report; a stopped run is resumed there.")] = (
        Path("evaluation")
    )
    seed: Annotated[int, typer.Option(min=0, help="With the names of image and object, the source of all chance.")] = 0
    limit: Annotated[int | None, typer.Option(min=1, help="Images per set, chosen by hash of their names.")] = None
    min_share: Annotated[
        list[str] | None,
        typer.Option(help="Smallest object as a share of the image, 0.005, or SET=0.005; may be repeated. Default: 0."),
    ] = None
    average: Annotated[
        str, typer.Option(help="What tables, and differences between models, count alike: images or objects.")
    ] = "images"
    kept_aside: Annotated[
        bool,
        typer.Option("--kept-aside", help="Of each set only the images that training leaves out (one in five)."),
    ] = False
    recipe: Annotated[
        str | None,
        typer.Option(help="LQSeg recipe for lq1 to lq3: test (the default) or train. Built sets keep their own."),
    ] = None
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto.")] = "auto"
    enhance: Annotated[str, typer.Option(help="on, off or auto, for models that do not say it themselves.")] = "auto"
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw figures and a gallery.")] = True
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Measure parts of another set-up again.")] = False

    def benchmark(self, preset: EvaluationPreset | None) -> BenchmarkConfig:
        """What to measure: options that were given win over the preset, the preset over the defaults.

        Raises:
            ConfigError: an option that cannot be read.
        """
        from glesam.degrade.levels import parse_levels
        from glesam.evaluate.measure.benchmark import BenchmarkConfig
        from glesam.evaluate.measure.model_specs import parse_models
        from glesam.evaluate.measure.protocol import parse_prompts

        self._check_words()
        levels = preset.levels if preset and self.levels is None else parse_levels([_or(self.levels, "clear")])
        prompts = (
            preset.prompts if preset and self.prompts is None else parse_prompts([_or(self.prompts, "points:3,box")])
        )
        models = _in_modes(self.models, preset.modes) if preset else [self.models]
        return BenchmarkConfig(
            parse_models(models, self.enhance),
            levels,
            prompts,
            self.seed,
            _or(self.recipe, "test"),
            _shares(self.min_share or []),
            self.limit,
            self.average,
        )

    def _check_words(self) -> None:
        from glesam.common.messages import hint
        from glesam.degrade.levels import RECIPES
        from glesam.errors import ConfigError

        if self.recipe is not None and self.recipe not in RECIPES:
            raise ConfigError(f"expected --recipe test or train, got {self.recipe!r}; {hint(self.recipe, RECIPES)}")
        if self.average not in ("images", "objects"):
            raise ConfigError(f"expected --average images or objects, got {self.average!r}; images is the paper's")


@handle_errors
@takes(EvaluateOptions)
def evaluate(options: EvaluateOptions) -> None:
    """Measure models: IoU, Dice, pixel accuracy and boundary IoU per object, with 95 % intervals.

    Writes report.md, per_object.csv, summary.csv, summary.json and figures. Masks are measured at the image's size.
    """
    from glesam.common.locks import sole
    from glesam.draw.figures import require_matplotlib
    from glesam.evaluate.measure.model_specs import predictor_loader
    from glesam.evaluate.measure.sources import check_recipe, stored_levels
    from glesam.evaluate.report.report import make_report

    if options.figures:
        require_matplotlib()
    chosen, out = _preset(options.preset), options.out
    config = options.benchmark(chosen)
    sources = _sources(options.data or [], chosen, options.partial, options.kept_aside)
    _check_share_names(config, sources)
    if options.recipe is not None:
        check_recipe(options.recipe, config.levels, sources)
    _check_writable(out)
    load = predictor_loader(options.device)
    with sole(out):
        results = _run(config, sources, out, load, options.overwrite)
        notes = [f"Set-up of {chosen.name}: {chosen.title}. {chosen.note}".strip()] if chosen else []
        report = make_report(config, results, notes, stored_levels(sources))
        _finish(report, sources, out, load if options.figures else None)
    if results.failed:
        raise typer.Exit(FAILED)


def _or(given: str | None, default: str) -> str:
    return default if given is None else given


def _preset(name: str | None) -> EvaluationPreset | None:
    """The preset that was asked for."""
    from glesam.evaluate.report.presets import find_preset

    return None if name is None else find_preset(name)


def _in_modes(models: str, modes: Sequence[str]) -> list[str]:
    """Models that say no mode of the enhancer, once for each mode."""
    words = [word.strip() for word in models.split(",")]
    plain = {word: not modes or "@enhance=" in word for word in words}
    return [text for word in words for text in ([word] if plain[word] else [f"{word}@enhance={m}" for m in modes])]


def _shares(texts: Sequence[str]) -> dict[str, float]:
    """Read `--min-share 0.005` (key `""`) and `--min-share SET=0.005`."""
    from glesam.errors import ConfigError

    shares: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0.0 <= value < 1.0:
            raise ConfigError(
                f"expected --min-share SHARE or SET=SHARE with 0 <= SHARE < 1, got {text!r}; such as 0.005"
            )
        shares[name] = value
    return shares


def _sources(data: Sequence[str], preset: EvaluationPreset | None, partial: bool, kept_aside: bool) -> list[Source]:
    """Open the data sets, and see that a preset has what it needs."""
    from glesam.evaluate.measure.sources import open_sources
    from glesam.evaluate.report.presets import require_sets

    if not data and preset:
        require_sets(preset, [])
    sources = open_sources(data, kept_aside)
    if preset:
        require_sets(preset, [source.name for source in sources], partial)
    return sources


def _check_share_names(config: BenchmarkConfig, sources: Sequence[Source]) -> None:
    """Refuse a share for a set that is not measured."""
    from glesam.common.messages import hint
    from glesam.errors import ConfigError

    names = [source.name for source in sources]
    for name in config.min_share:
        if name and name not in names:
            raise ConfigError(
                f"expected --min-share SET=SHARE for a set of this run, got {name!r}; {hint(name, names)}"
            )


def _check_writable(out: Path) -> None:
    """Find out before measuring, not after, that the report cannot be written."""
    from glesam.common.files import atomic_path
    from glesam.errors import ConfigError

    try:
        with atomic_path(out / ".writable") as temporary:
            temporary.touch()
        (out / ".writable").unlink()
    except OSError as error:
        raise ConfigError(
            f"expected a folder that can be written for --out, got {out} ({error.strerror}); give another"
        ) from error


def _run(
    config: BenchmarkConfig, sources: Sequence[Source], out: Path, load: LoadPredictor, overwrite: bool
) -> Results:
    """Run the benchmark behind a progress bar."""
    from glesam.evaluate.measure.benchmark import run_benchmark
    from glesam.evaluate.measure.sources import choose

    images = sum(len(choose(source.names, config.limit, config.seed)) for source in sources)
    with progress(images * len(config.models) * len(config.levels), "evaluate") as advance:
        return run_benchmark(
            config, sources, out, load, lambda part, count: advance(count, description=part), overwrite=overwrite
        )


def _finish(report: Report, sources: Sequence[Source], out: Path, load: LoadPredictor | None) -> None:
    """Write the report, draw the figures (without a loader: none), show the table and what was left out."""
    from glesam.evaluate.report.figures import draw_figures
    from glesam.evaluate.report.gallery import draw_gallery
    from glesam.evaluate.report.report import screen_table, write_report
    from glesam.evaluate.report.wins import draw_wins

    write_report(report, out)  # drawing asks the models again, and may end early
    if load is not None:
        drawn = draw_figures(report.results.rows, report.summaries, out)
        drawn += draw_gallery(report.config, sources, report.results.rows, out, load)
        drawn += draw_wins(report.config, sources, report.results.rows, out, load)
        write_report(report, out, drawn)
    for note in report.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    console.print(screen_table(report))
    console.print(f"report: {out / 'report.md'}", markup=False, highlight=False, soft_wrap=True)
    failed = report.results.failed
    for name, reason in list(failed.items())[:_MOST_NAMED]:
        warn(f"glesam: left out {name}: {reason}")
    if len(failed) > _MOST_NAMED:
        warn(f"glesam: left out {len(failed) - _MOST_NAMED} more, all named in {out / 'report.md'}")
