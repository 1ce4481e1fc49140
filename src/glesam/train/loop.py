"""The training loop that all stages share: schedule, moving average, checkpoints, validation, logs."""

from __future__ import annotations

import copy
import json
import math
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from glesam.common import jsonl
from glesam.common.documents import expect_object, read_json
from glesam.common.extras import require_training
from glesam.common.files import atomic_path, sweep
from glesam.common.interrupts import deferred_interrupt
from glesam.common.locks import sole
from glesam.common.messages import one_line
from glesam.errors import ConfigError, DataError
from glesam.train.config import StageConfig, write_config
from glesam.train.feed.batch import Batch
from glesam.train.origins import check_origins, origins
from glesam.weights.folders import write_torch


class DivergenceError(ConfigError):
    """A loss or a gradient is NaN or infinite."""


CHECKPOINT = "last.pt"
"""File of a run folder with all that resuming needs."""
LOG = "log.jsonl"
TENSORBOARD = "tensorboard"


class Stage(Protocol):
    """What a stage brings to the loop."""

    name: str
    config: StageConfig
    objective: nn.Module
    """Maps a batch to a dict of scalars, `loss` among them; holds the model as `objective.model`."""

    def batches(self, rank: int) -> Dataset[Batch]:
        """Item `step` is the batch of that step."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """AdamW groups; `lr` of a group is relative to the schedule's."""
        ...

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Measure a model; empty when there is nothing to measure on."""
        ...

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the model for use."""
        ...


class _Steps(Sampler[int]):
    """The steps from `start` on, in order."""

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.stop))

    def __len__(self) -> int:
        return self.stop - self.start


class Trainer:
    """Runs a stage; a run folder holds `config.json`, `last.pt`, `log.jsonl`, TensorBoard files and `model/`.

    Args:
        stage: what to train.
        out: run folder. A folder with another configuration is refused.
        resume: continue from `last.pt`, to the same losses as an uninterrupted run.
        on_step: called with (step, total, losses) after each step.
        on_validate: called before each validation.

    Raises:
        ConfigError: the folder holds a run and `resume` is not set; its configuration, frozen weights or data differ;
            or another process trains in it.
    """

    def __init__(
        self,
        stage: Stage,
        out: str | Path,
        resume: bool = False,
        on_step: Callable[[int, int, dict[str, float]], None] | None = None,
        on_validate: Callable[[], None] | None = None,
    ) -> None:
        require_training()
        from accelerate import Accelerator, DistributedDataParallelKwargs

        self.stage, self.out, self.on_step, self.on_validate = stage, Path(out), on_step, on_validate
        # Not every step uses every parameter: the mask prompt's layers see corrective clicks only.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(
            cpu=not torch.cuda.is_available(), kwargs_handlers=[unused], log_with="tensorboard", project_dir=self.out
        )
        self.data = stage.batches(self.accelerator.process_index)
        self.total, self.step = len(self.data), 0  # type: ignore[arg-type]
        self.optimizer = torch.optim.AdamW(stage.parameter_groups(), lr=stage.config.lr, betas=(0.9, 0.999), fused=True)
        self.factors = [group["lr"] / stage.config.lr for group in self.optimizer.param_groups]
        model: nn.Module = stage.objective.model  # type: ignore[assignment]
        frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
        self.frozen = frozenset(frozen)
        self.origins = origins(stage, stage.objective, self.frozen)
        # The average shares what never changes: a full-size prior is held once, and checkpoints leave it out.
        self.ema = copy.deepcopy(model, {id(p): p for p in frozen.values()}).eval().requires_grad_(False)
        self._between_steps = True
        self._held = ExitStack()  # until the run ends, or the trainer is let go
        with ExitStack() as held:
            if self.accelerator.is_main_process:
                held.enter_context(sole(self.out))
            self._open(resume)
            self._held = held.pop_all()
        self.objective, self.optimizer = self.accelerator.prepare(stage.objective, self.optimizer)
        self.ema.to(self.accelerator.device)
        # Listed once: going through thousands of modules at each step takes longer than a small model's step.
        self._parameters = list(self.objective.parameters())
        pairs = zip(self.ema.parameters(), model.parameters(), strict=True)
        self._averaged = [(mean, weight) for mean, weight in pairs if weight.requires_grad]

    def _open(self, resume: bool) -> None:
        """Start a run folder, or read the checkpoint of the one that is there."""
        checkpoint = self.out / CHECKPOINT
        if checkpoint.is_file() and not resume:
            raise ConfigError(f"expected an empty run folder, got a run in {self.out}; pass --resume or another --out")
        if checkpoint.is_file():
            self._load(checkpoint)
        elif self.accelerator.is_main_process:
            write_config(self.stage.config, self.out / "config.json")
        if self.accelerator.is_main_process:
            sweep(self.out)
            _cut_log(self.out / LOG, self.step, self.total)

    def _load(self, checkpoint: Path) -> None:
        """Restore weights, moving average, optimiser and step."""
        stored = expect_object(read_json(self.out / "config.json", ConfigError), f"{self.out}/config.json", ConfigError)
        current = self.stage.config.model_dump(mode="json")
        # A run of a time before an option was there had its default.
        stored = {**type(self.stage.config).model_construct().model_dump(mode="json"), **stored}
        changed = sorted(k for k in current if stored.get(k) != current[k])
        if changed:
            raise ConfigError(
                f"expected the configuration of the run in {self.out}, got other values for {', '.join(changed)}; "
                "resume with the run's config.json or choose another --out"
            )
        state = read_state(checkpoint)
        check_origins(state, self.origins, self.out)
        fill(self.stage.objective.model, state["model"], self.frozen, self.out)  # type: ignore[arg-type]
        fill(self.ema, state["ema"], self.frozen, self.out)
        try:
            self.optimizer.load_state_dict(state["optimizer"])
            _check_moments(self.optimizer)
        except Exception as error:  # torch's loading raises many types on foreign content
            raise ConfigError(
                f"expected the optimiser's state in {checkpoint}, got another ({one_line(error)}); start over"
            ) from error
        self.step = state["step"]

    def run(self) -> dict[str, float]:
        """Train to the end; Ctrl-C saves between two steps, and ends. Returns the last validation."""
        with self._held, deferred_interrupt() as stop:
            return self._run(stop)

    def _run(self, stop: threading.Event) -> dict[str, float]:
        """All steps from here on, the last validation, and the model."""
        config, losses = self.stage.config, {}
        self._open_board()
        loader = DataLoader(
            self.data, batch_size=None, sampler=_Steps(self.step, self.total), num_workers=config.workers,
            prefetch_factor=4 if config.workers else None, persistent_workers=False,
        )  # fmt: skip
        saved = validated = time.monotonic()
        self.objective.train()
        try:
            for batch in _batches(loader):
                losses = self._train_step(batch)
                if stop.is_set():
                    raise KeyboardInterrupt
                if time.monotonic() - saved > 60 * config.save_minutes:
                    self.save()
                    saved = time.monotonic()
                if time.monotonic() - validated > 60 * config.val_minutes:
                    self._log({f"val/{k}": v for k, v in self._validate().items()})
                    validated = time.monotonic()
        except DivergenceError:
            raise  # the last checkpoint is from before it
        except BaseException:
            if self._between_steps:  # else weights and averages may be of different steps
                self.save()
            raise
        self.save()
        measured = self._validate()
        self._log({f"val/{k}": v for k, v in measured.items()})
        if self.accelerator.is_main_process:
            self.stage.save(self.ema, self.out / "model")
        return measured or losses

    def _open_board(self) -> None:
        """Go on with TensorBoard's curves: what is shown from this step on is what the log keeps of it."""
        if self.accelerator.is_main_process:
            _await_next_name(self.out / TENSORBOARD)
        self.accelerator.init_trackers(TENSORBOARD, init_kwargs={"tensorboard": {"purge_step": self.step}})
        if not self.accelerator.is_main_process or not (self.out / LOG).is_file():
            return
        for record in jsonl.records(self.out / LOG, skip_broken=True):
            if record["step"] == self.step:
                self.accelerator.log({key: value for key, value in record.items() if key != "step"}, self.step)

    def _train_step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step; torch is seeded from the step, so that a resumed run drops the same paths."""
        config = self.stage.config
        self._between_steps = False
        # Knuth's multiplicative hash keeps neighbouring (seed, step, rank) apart within 32 bits.
        torch.manual_seed((config.seed * 2654435761 + self.step * 1_000_003 + self.accelerator.process_index) % 2**32)
        rate = config.lr * learning_rate(self.step, self.total, config.warmup, config.hold)
        for group, factor in zip(self.optimizer.param_groups, self.factors, strict=True):
            group["lr"] = rate * factor
        batch = {k: v.to(self.accelerator.device) for k, v in batch.items()}
        losses: dict[str, Tensor] = self.objective(batch)
        self.accelerator.backward(losses["loss"])
        norm = self.accelerator.clip_grad_norm_(self._parameters, config.clip)
        self._check_finite(float(losses["loss"].detach()), float(norm))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._update_ema()
        values = {k: float(v.detach()) for k, v in losses.items()} | {"grad_norm": float(norm), "lr": rate}
        self.step += 1
        self._between_steps = True
        self._log(values)
        if self.on_step is not None:
            self.on_step(self.step, self.total, values)
        return values

    def _check_finite(self, loss: float, norm: float) -> None:
        """Stop before a step that would make the weights NaN; the norm is that of all processes' gradients.

        Raises:
            DivergenceError: the loss or the gradient is not finite.
        """
        if math.isfinite(loss) and math.isfinite(norm):
            return
        kept = f"{CHECKPOINT} keeps the last good step" if (self.out / CHECKPOINT).is_file() else "nothing was saved"
        raise DivergenceError(
            f"expected a finite loss and gradient, got {loss:g} and {norm:g} at step {self.step}; {kept}: lower lr or "
            "clip, and check the data"
        )

    @torch.no_grad()
    def _update_ema(self) -> None:
        """Moving average with a warm-up, so that the first steps do not weigh forever."""
        decay = min(self.stage.config.ema, (1 + self.step) / (10 + self.step))
        pairs = self._averaged
        torch._foreach_lerp_([mean for mean, _ in pairs], [weight.detach() for _, weight in pairs], 1 - decay)

    def _validate(self) -> dict[str, float]:
        """Measure the moving average on the main process."""
        config = self.stage.config
        if not self.accelerator.is_main_process or (config.packs_images and not config.val):
            return {}
        if self.on_validate is not None:
            self.on_validate()
        return self.stage.validate(self.ema)

    def save(self) -> None:
        """Write the checkpoint in one step, so that an interruption leaves the last whole one."""
        if not self.accelerator.is_main_process:
            return
        model = self.accelerator.unwrap_model(self.objective).model
        state = {
            "step": self.step,
            "model": {k: v for k, v in model.state_dict().items() if k not in self.frozen},
            "ema": {k: v for k, v in self.ema.state_dict().items() if k not in self.frozen},
            "optimizer": self.optimizer.state_dict(),
            **self.origins,
        }
        write_torch(self.out / CHECKPOINT, state)

    def _log(self, values: dict[str, float]) -> None:
        """Append to `log.jsonl`, and to TensorBoard."""
        if not values or not self.accelerator.is_main_process:
            return
        rounded = {key: float(f"{value:.6g}") for key, value in values.items()}
        with (self.out / LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": self.step, **rounded}) + "\n")
        self.accelerator.log(rounded, self.step)


def _batches(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """Batches of a loader; what is wrong with the data comes in one line, without the traceback of a worker."""
    try:
        yield from loader
    except DataError as error:
        raise DataError(str(error).strip().rpartition("DataError: ")[2]) from error


def _await_next_name(board: Path) -> None:
    """Wait until TensorBoard names a new file after those that are there: by the second, in whose order it reads."""
    names = [path.name.split(".") for path in board.glob("events.out.tfevents.*")]
    newest = max((int(parts[3]) for parts in names if parts[3].isdecimal()), default=0)
    while newest <= time.time() < newest + 1:
        time.sleep(0.02)


def _cut_log(log: Path, step: int, total: int) -> None:
    """Drop what a killed run logged after its last checkpoint, and the last validation, which comes again."""
    if not log.is_file():
        return
    with atomic_path(log) as temporary, temporary.open("wb") as stream:
        for record in jsonl.records(log, skip_broken=True):
            logged = record.get("step") if isinstance(record, dict) else None
            comes_again = step == total and any(key.startswith("val/") for key in record)
            if isinstance(logged, int) and logged <= step and not (logged == step and comes_again):
                stream.write(json.dumps(record).encode() + b"\n")


def is_run(folder: str | Path) -> bool:
    """Whether a folder holds a run, stopped or ended, and not a saved model."""
    return (Path(folder) / CHECKPOINT).is_file()


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        ConfigError: it is damaged.
    """
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        kinds = {"step": int, "model": dict, "ema": dict, "optimizer": dict}
        younger = {"frozen": str, "packs": list, "images": list, "models": str}  # not in all checkpoints
        if (
            isinstance(state, dict)
            and all(isinstance(state[part], kind) for part, kind in kinds.items())
            and all(isinstance(state.get(part, kind()), kind) for part, kind in younger.items())
            and state["step"] >= 0
            and all(isinstance(value, Tensor) for part in ("model", "ema") for value in state[part].values())
        ):
            return state
        raise ValueError("another content")
    except Exception as error:  # torch's reader raises many types on foreign bytes
        raise ConfigError(
            f"expected a checkpoint in {checkpoint}, it is damaged ({one_line(error)}); delete it to start over"
        ) from error


def _check_moments(optimizer: torch.optim.Optimizer) -> None:
    """See that what an optimiser keeps of a parameter has the parameter's shape, as nothing else looks at it.

    Raises:
        ValueError: it has not.
    """
    for parameter, kept in optimizer.state.items():
        for name in ("exp_avg", "exp_avg_sq"):
            if kept[name].shape != parameter.shape:
                raise ValueError(f"{name} of shape {tuple(kept[name].shape)} for {tuple(parameter.shape)}")


def fill(model: nn.Module, state: dict[str, Tensor], frozen: Collection[str], run: Path) -> None:
    """Load a checkpoint's weights; only frozen ones may be missing, as the stage makes them again.

    Args:
        model: changed in place.
        state: "model" or "ema" of a checkpoint.
        frozen: names of the weights that checkpoints leave out.
        run: folder of the run, for the error.

    Raises:
        ConfigError: keys are missing, unknown, or of another shape.
    """
    own = model.state_dict()
    wrong = {key for key in (own.keys() | state.keys()) - set(frozen) if key not in own or key not in state}
    wrong |= {key for key in own.keys() & state.keys() if own[key].shape != state[key].shape}
    if wrong:
        raise ConfigError(
            f"expected a checkpoint of this model in {run}, got {len(wrong)} keys that do not fit, first "
            f"{min(wrong)}; resume with the model that the run was started with"
        )
    model.load_state_dict(state, strict=False)


def learning_rate(step: int, total: int, warmup: int, hold: float = 0.0) -> float:
    """Factor on the peak rate: linear warm-up, the peak for a share of the rest, then a cosine down to a hundredth."""
    if step < warmup:
        return (step + 1) / warmup
    progress = max(0.0, (step - warmup) / max(1, total - warmup) - hold) / max(1e-9, 1 - hold)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
