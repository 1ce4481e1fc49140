"""What the study measures: the variants, and the commands that train and measure each.

A task is one command and the file that it leaves; a variant is the tasks that lead to one enhancer folder or model.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GLESAM = (sys.executable, "-m", "glesam")
Flags = tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """One command.

    Attributes:
        name: what it makes, such as `enhancer/default`.
        command: arguments after `glesam`.
        done: file that says with what it was done, when it has ended.
    """

    name: str
    command: tuple[str, ...]
    done: Path

    @property
    def is_evaluation(self) -> bool:
        """Whether it measures."""
        return self.command[0] == "evaluate"

    @property
    def is_training(self) -> bool:
        """Whether it learns: neither measures nor puts a bundle together."""
        return not self.is_evaluation and self.command[1] != "bundle"

    @property
    def arguments(self) -> list[str]:
        """The whole command."""
        return [*GLESAM, *self.command]


SMALL = '[{"above": 0, "image_size": 256}]'
"""Every degraded photo is encoded at 256 pixels, the size of the views in training, unless a variant says otherwise."""


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        key: letter of the question and a word, such as `e-full`.
        title: what it is, in the table.
        enhancer: name in `ENHANCERS`, or None.
        decoder: flags of `train decoder` for a decoder of its own, or None.
        gate: the gate decides (`enhance=auto`); else every photo is enhanced.
        rules: rules by level, as JSON.
        ships: the enhancer that comes with the model, behind its gate, as it is.
        head: kind of a mask head trained on the base, in place of an enhancer.
        restorer: images are restored by a residual U-Net before the base sees them, in place of an enhancer.
        stage2: name of the configuration of `train decoder`.
    """

    key: str
    title: str
    enhancer: str | None = None
    decoder: Flags | None = None
    gate: bool = False
    rules: str = SMALL
    ships: bool = False
    head: str | None = None
    restorer: bool = False
    stage2: str = "decoder"

    @property
    def bundled(self) -> bool:
        """Whether what it needs is put together in an enhancer folder."""
        return not (self.ships or self.head or self.restorer or self == VARIANTS[0])


ENHANCERS: dict[str, Flags] = {
    "default": (),
    "random-prior": ("--prior", "random"),
    "gamma-1": ("--alignment-scale", "1"),
    "gamma-3": ("--alignment-scale", "3"),
    "gamma-5": ("--alignment-scale", "5"),
    "gamma-10": ("--alignment-scale", "10"),
    "gamma-measured": ("--alignment-scale", "measured"),
    "new-ends": ("--head", "new"),
    "step-999": ("--timestep", "999"),
    "rank-4": ("--rank", "4"),
    "rank-16": ("--rank", "16"),
    "attention-only": ("--targets", "attention"),
    "full": ("--adapt", "full"),
    "by-level": ("--level-timesteps", "1,100,200,300"),
    "residual": ("--kind", "residual-cnn"),
    "paper": ("--timestep", "999", "--alignment-scale", "5", "--targets", "attention"),
}
"""Flags of `train enhancer` over the study's configuration; the default is schedule index 1, rank 8, all layers."""

_OWN_SIZE = '[{"above": 0}]'
_BY_LEVEL = '[{"above": 0}, {"above": 0.5, "image_size": 384}, {"above": 1.5, "image_size": 256}]'
_STRENGTH = '[{"above": 0, "image_size": 256, "strength": 0.5}, {"above": 1.5, "image_size": 256, "strength": 1.0}]'
_TIMESTEPS = (
    '[{"above": 0, "image_size": 256, "timestep": 1}, {"above": 0.5, "image_size": 256, "timestep": 100}, '
    '{"above": 1.5, "image_size": 256, "timestep": 200}, {"above": 2.5, "image_size": 256, "timestep": 300}]'
)
TOKENS, FULL = ("--train", "tokens"), ("--train", "decoder")
_BOTH = ("--train", "encoder", *FULL)
_NORMS = _BOTH
"""With the configuration `norms`: one encoder whose norms get an affine map of their own for what is degraded."""

LEFT_OUT = ("haze", "low_light", "defocus", "recompression")
"""Kinds of `real` of which each is kept away from one variant, to see what the others teach about it."""

VARIANTS = (
    Variant("a", "base"),
    Variant("b-tokens", "base, decoder tokens tuned on LQ", decoder=TOKENS),
    Variant("b-full", "base, whole decoder tuned on LQ", decoder=FULL),
    Variant("c", "base, encoder tuned on LQ", decoder=("--train", "encoder")),
    Variant("c-both", "base, encoder and decoder tuned on LQ", decoder=_BOTH),
    Variant("c-norms", "base, the neck's norms and the decoder tuned on LQ", decoder=_NORMS, stage2="norms"),
    Variant("d", "enhancer only", "default"),
    Variant("d-own-size", "enhancer only, at the model's own input size", "default", rules=_OWN_SIZE),
    Variant("e-tokens", "enhancer, decoder tokens tuned", "default", TOKENS),
    Variant("e-full", "enhancer, whole decoder tuned", "default", FULL),
    Variant("e-joint", "enhancer and whole decoder tuned together", "default", ("--train", "enhancer", *FULL)),
    Variant("e-encoder", "as e-joint, encoder too", "default", ("--train", "enhancer", "--train", "encoder", *FULL)),
    Variant("f", "as e-full, random prior", "random-prior", FULL),
    Variant(
        "f-encoder", "as e-encoder, random prior", "random-prior", ("--train", "enhancer", "--train", "encoder", *FULL)
    ),
    Variant(
        "f-norms",
        "as f-encoder, of the encoder the neck's norms alone",
        "random-prior",
        ("--train", "enhancer", *_NORMS),
        stage2="norms",
    ),
    *(Variant(f"g-{n}", f"enhancer only, scale {n}", f"gamma-{n}") for n in ("1", "3", "5", "10", "measured")),
    Variant("h", "enhancer only, new head and tail", "new-ends"),
    Variant("i", "enhancer only, schedule index 999", "step-999"),
    Variant("j-4", "enhancer only, rank 4", "rank-4"),
    Variant("j-16", "enhancer only, rank 16", "rank-16"),
    Variant("j-attention", "enhancer only, adapters on attention alone", "attention-only"),
    Variant("j-all-weights", "enhancer only, all weights trained", "full"),
    Variant("k", "residual CNN of the same cost, only", "residual"),
    Variant("k-full", "residual CNN, whole decoder tuned", "residual", FULL),
    Variant("l", "no enhancer, 256-pixel input for every photo"),
    Variant("l-gate", "no enhancer, gate chooses the input size", gate=True, rules=_BY_LEVEL),
    Variant("l-both", "e-full, gate chooses the input size too", "default", FULL, gate=True, rules=_BY_LEVEL),
    Variant("m-gate", "e-full behind the gate", "default", FULL, gate=True),
    Variant("m-strength", "e-full, strength by the gate's level", "default", FULL, gate=True, rules=_STRENGTH),
    Variant("m-timestep", "enhancer only, timestep by the gate's level", "by-level", gate=True, rules=_TIMESTEPS),
    Variant("n-branch", "e-full, skips restored by a branch", "default", (*FULL, "--skips", "branch")),
    Variant("n-attenuate", "e-full, skips attenuated by level", "default", (*FULL, "--skips", "attenuate"), gate=True),
    Variant("paper", "the paper: index 999, scale 5, attention only, whole decoder", "paper", FULL),
    *(
        Variant(f"q-{kind}", f"as c-both, {kind} left out of training", decoder=(*_BOTH, "--leave-out", f"real:{kind}"))
        for kind in LEFT_OUT
    ),
    Variant("o-restorer", "images restored by a U-Net, then the base", restorer=True),
    Variant("o-robust", "RobustSAM's head on the base", head="robust"),
    Variant("o-hq", "HQ-SAM's head on the base, trained on clear images", head="hq"),
    Variant("ships", "what ships with the model, behind its gate", ships=True),
)


@dataclass(frozen=True)
class Plan:
    """Where things are and how much is measured.

    Attributes:
        out: folder of all runs, reports and the table.
        configs: folder with a JSON file for each stage of training, and for each kind of head.
        model: base model.
        prior: folder of a trained prior; without it one is trained.
        gate: folder of a trained gate; without it one is trained.
        data: data sets to measure on, `NAME=FOLDER`.
        levels: levels of quality.
        limit: photos of each set; None for all.
        quick: two steps of each training, on a random prior and nothing cached.
    """

    out: Path
    configs: Path
    model: str = "compact"
    prior: Path | None = None
    gate: Path | None = None
    data: tuple[str, ...] = ()
    levels: str = "clear,lq1,lq2,lq3"
    limit: int | None = None
    quick: bool = False

    def tasks(self, variant: Variant) -> Iterator[Task]:
        """Everything that a variant needs, in order."""
        if variant.enhancer is not None:
            yield from self._enhancer(variant.enhancer)
        if self.gate is None and (variant.gate or "attenuate" in (variant.decoder or ())):
            yield self._train("gate", "gate", ())
        if variant.decoder is not None:
            yield self._decoder(variant)
        if variant.head is not None:
            yield self._train("head", f"head/{variant.head}", (), config=variant.head)
        if variant.restorer:
            yield self._train("restorer", "restorer", (), model=False)
        if variant.bundled:
            yield self._bundle(variant)
        yield self.evaluation(variant)

    def spec(self, variant: Variant) -> str:
        """The variant as `glesam evaluate` takes it."""
        if variant == VARIANTS[0]:
            return f"{self.model}@enhance=off"
        if variant.ships:
            return f"{self.model}@enhance=auto"
        if variant.head is not None:
            return f"{self.model}@enhance=off@head={self.out / 'head' / variant.head / 'model'}"
        if variant.restorer:
            return f"{self.model}@enhance=off@restore=unet:{self.out / 'restorer' / 'model'}"
        return f"{self.model}+{self.out / 'bundles' / variant.key}@enhance={'auto' if variant.gate else 'on'}"

    def rows(self, variant: Variant) -> Path:
        """CSV of a variant's objects."""
        return self.out / "evaluation" / variant.key / "per_object.csv"

    @property
    def _gate(self) -> Path:
        """Folder of the gate that all variants share."""
        return self.gate or self.out / "gate" / "model"

    def _run(self, variant: Variant, stage: str) -> Path:
        """Run folder of a variant's stage 2; equal flags on equal enhancers are trained once."""
        words = [variant.enhancer or "raw", *(word.removeprefix("--") for word in variant.decoder or ())]
        words += [] if variant.stage2 == "decoder" else [variant.stage2]
        return self.out / stage / "-".join(words).replace(":", "-")

    def _enhancer(self, name: str) -> Iterator[Task]:
        flags = ENHANCERS[name]
        if "--prior" not in flags and "residual-cnn" not in flags and not self.quick:
            if self.prior is None:
                first = ("--autoencoder-config", str(self.configs / "autoencoder.json"))
                yield self._train("prior", "prior", first, model=False)
            flags = (*flags, "--prior", str(self.prior or self.out / "prior" / "model"))
        yield self._train("enhancer", f"enhancer/{name}", flags)

    def _decoder(self, variant: Variant) -> Task:
        flags = variant.decoder or ()
        if variant.enhancer is not None:
            flags = (*flags, "--enhancer", str(self.out / "enhancer" / variant.enhancer / "model"))
        if "attenuate" in flags:
            flags = (*flags, "--gate", str(self._gate))
        return self._train(
            "decoder", str(self._run(variant, "decoder").relative_to(self.out)), flags, config=variant.stage2
        )

    def _train(self, stage: str, run: str, flags: Flags, model: bool = True, config: str | None = None) -> Task:
        out = self.out / run
        named = ("--model", self.model) if model else ()
        command = ("train", stage, "--config", str(self.configs / f"{config or stage}.json"), "--out", str(out))
        # A run that was stopped goes on; one that was never begun begins.
        quick: Flags = ()
        if self.quick:
            quick = ("--steps", "2", *(("--cached-pairs", "0") if stage in ("enhancer", "gate") else ()))
        return Task(run, (*command, "--resume", *named, *flags, *quick), out / "done")

    def _bundle(self, variant: Variant) -> Task:
        folder = self.out / "bundles" / variant.key
        flags: list[str] = ["train", "bundle", "--out", str(folder), "--model", self.model]
        stage2 = self._run(variant, "decoder") / "model"
        learnt = variant.decoder or ()
        if variant.enhancer is not None:
            joint = "enhancer" in learnt
            stage1 = self.out / "enhancer" / variant.enhancer / "model"
            flags += ["--enhancer", str(stage2 / "enhancer" if joint else stage1)]
        flags += [
            word for part in ("decoder", "encoder") if part in learnt for word in (f"--{part}", str(stage2 / part))
        ]
        if "tokens" in learnt:
            flags += ["--decoder", str(stage2 / "decoder")]
        if "--skips" in learnt:
            flags += ["--skips", str(stage2 / "skips")]
        if variant.gate:
            flags += ["--gate", str(self._gate)]
        if variant.rules:
            flags += ["--rules", str(self.out / "rules" / f"{variant.key}.json")]
        return Task(f"bundles/{variant.key}", tuple(flags), folder.with_name(f"{folder.name}.done"))

    def evaluation(self, variant: Variant) -> Task:
        """What measures a variant."""
        out = self.rows(variant).parent
        limit = () if self.limit is None else ("--limit", str(self.limit))
        data = tuple(word for entry in self.data for word in ("--data", entry))
        command = ("evaluate", *data, "--levels", self.levels, "--prompts", "points:3,box", "--models")
        flags = ("--out", str(out), "--no-figures", "--overwrite", *limit)
        return Task(f"evaluation/{variant.key}", (*command, self.spec(variant), *flags), out / "done")
