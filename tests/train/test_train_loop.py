"""The learning-rate schedule against its formula; a loss that is no number."""

import json
import math
import os
import signal

import pytest
import torch

from glesam.errors import ConfigError, DataError
from glesam.train.config import StageConfig
from glesam.train.loop import Trainer, learning_rate


def test_warm_up_is_linear_and_the_cosine_ends_at_a_hundredth():
    assert [learning_rate(s, 100, 10) for s in range(10)] == pytest.approx([0.1 * (s + 1) for s in range(10)])
    assert learning_rate(10, 100, 10) == pytest.approx(1.0)
    assert learning_rate(55, 100, 10) == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi / 2)) / 2)
    assert learning_rate(100, 100, 10) == pytest.approx(0.01)
    rates = [learning_rate(s, 100, 10) for s in range(10, 101)]
    assert rates == sorted(rates, reverse=True)


class _Line(torch.nn.Module):
    """A model of one weight, whose loss is NaN, or whose gradient is infinite, at a chosen step."""

    def __init__(self, bad_step, bad):
        super().__init__()
        self.model = torch.nn.Linear(1, 1)
        self.bad_step, self.bad, self.calls = bad_step, bad, 0

    def forward(self, batch):
        loss = self.model(batch["x"]).square().mean()
        self.calls += 1
        if self.calls == self.bad_step:
            loss = (
                loss * float("nan")
                if self.bad == "loss"
                else loss + (self.model.weight - self.model.weight).sqrt().sum()
            )
        return {"loss": loss}


class _Batches(torch.utils.data.Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, step):
        return {"x": torch.full((2, 1), 1.0 + step)}


class _Stage:
    name = "line"

    def __init__(self, bad_step, bad="loss", save_minutes=0.0):
        self.config = StageConfig(workers=0, warmup=1, save_minutes=save_minutes)
        self.objective = _Line(bad_step, bad)

    def batches(self, rank):
        return _Batches()

    def parameter_groups(self):
        return [{"params": list(self.objective.model.parameters()), "lr": self.config.lr}]

    def validate(self, model):
        return {}

    def save(self, model, folder):
        pass


@pytest.mark.parametrize("bad", ["loss", "gradient"])
def test_a_loss_or_gradient_that_is_no_number_is_not_stepped_nor_saved(tmp_path, bad):
    stage = _Stage(4, bad)
    trainer = Trainer(stage, tmp_path)
    with pytest.raises(ConfigError, match=r"at step 3; last\.pt keeps the last good step") as caught:
        trainer.run()
    assert "\n" not in str(caught.value)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert state["step"] == 3
    for part in ("model", "ema"):
        assert all(torch.isfinite(value).all() for value in state[part].values())
    assert all(torch.isfinite(p).all() for p in trainer.ema.parameters())


def test_without_a_checkpoint_the_message_says_so(tmp_path):
    with pytest.raises(ConfigError, match="nothing was saved"):
        Trainer(_Stage(2, save_minutes=60.0), tmp_path).run()
    assert not (tmp_path / "last.pt").exists()


def logged(folder):
    return [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_killed_run_logs_no_step_twice_and_leaves_nothing_behind(tmp_path):
    Trainer(_Stage(99), tmp_path).run()
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    torch.save(state | {"step": 4}, tmp_path / "last.pt")  # as if the kill came two steps after the checkpoint
    left = tmp_path / ".last.glesam-abcdefgh.pt"
    left.write_bytes(b"half")
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('{"step": 7, "lo')
    Trainer(_Stage(99), tmp_path, resume=True).run()
    assert logged(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert not left.exists()
    (tmp_path / "last.pt").unlink()  # as if it came before the first checkpoint
    Trainer(_Stage(99), tmp_path).run()
    assert logged(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert not list(tmp_path.glob(".*"))


def test_two_trainers_do_not_share_a_folder(tmp_path):
    first = Trainer(_Stage(99), tmp_path)
    kept = (tmp_path / "config.json").read_bytes()
    with pytest.raises(ConfigError, match=rf"process {os.getpid()} on .* works there"):
        Trainer(_Stage(99, save_minutes=3.0), tmp_path)
    assert (tmp_path / "config.json").read_bytes() == kept
    first.run()
    Trainer(_Stage(99), tmp_path, resume=True).run()


def test_an_interrupt_saves_between_two_steps(tmp_path):
    stage = _Stage(99, save_minutes=60.0)
    stage.objective.register_forward_hook(
        lambda *_: signal.raise_signal(signal.SIGINT) if stage.objective.calls == 3 else None
    )
    with pytest.raises(KeyboardInterrupt):
        Trainer(stage, tmp_path).run()
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 3
    assert logged(tmp_path) == [1, 2, 3]


def test_a_full_disk_is_one_line_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    Trainer(_Stage(99), tmp_path).run()
    torch.save(torch.load(tmp_path / "last.pt", weights_only=True) | {"step": 4}, tmp_path / "last.pt")
    kept = (tmp_path / "last.pt").read_bytes()
    trainer = Trainer(_Stage(99), tmp_path, resume=True)

    def refuse(*_):
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr(torch, "save", refuse)
    with pytest.raises(DataError, match=r"expected to write .*last\.pt, got .* free some space") as caught:
        trainer.run()
    assert "\n" not in str(caught.value)
    assert (tmp_path / "last.pt").read_bytes() == kept


def spoiled(state, part):
    if part == "moments":
        state["optimizer"]["state"][0]["exp_avg"] = torch.zeros(3)
        return state
    values = {"step": -1, "model": {"weight": 5}, "ema": {}, "optimizer": {"state": {}, "param_groups": []}}
    values |= {"frozen": 5, "packs": {}, "images": "x", "models": []}
    return state | {part: values[part]}


@pytest.mark.parametrize(
    "part", ["step", "model", "ema", "optimizer", "frozen", "packs", "images", "models", "moments", "cut", "empty"]
)
def test_a_damaged_checkpoint_is_one_line(tmp_path, part):
    Trainer(_Stage(99), tmp_path).run()
    path = tmp_path / "last.pt"
    if part in ("cut", "empty"):
        path.write_bytes(path.read_bytes()[: 300 if part == "cut" else 0])
    else:
        torch.save(spoiled(torch.load(path, weights_only=True), part), path)
    with pytest.raises(ConfigError, match="expected") as caught:
        Trainer(_Stage(99), tmp_path, resume=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / ".glesam.lock").exists()


def test_the_peak_can_be_held():
    assert [learning_rate(s, 110, 10, hold=0.5) for s in (10, 35, 60)] == pytest.approx([1.0] * 3)
    assert learning_rate(85, 110, 10, hold=0.5) == pytest.approx(0.01 + 0.99 / 2)
    assert learning_rate(110, 110, 10, hold=0.5) == pytest.approx(0.01)
    assert learning_rate(109, 110, 10, hold=1.0) == pytest.approx(1.0)


def curves(folder):
    """What TensorBoard shows: points by key."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {tag: [(e.step, pytest.approx(e.value)) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def curves_of_log(folder):
    found = {}
    for line in (folder / "log.jsonl").read_text().splitlines():
        record = json.loads(line)
        for key in record.keys() - {"step"}:
            found.setdefault(key, []).append((record["step"], record[key]))
    return found


class _Validated(_Stage):
    """Validates at the end."""

    def __init__(self, bad_step, killed=False):
        super().__init__(bad_step)
        self.config = self.config.model_copy(update={"val": "x"})
        self.killed = killed

    def validate(self, model):
        return {"iou": 0.5}

    def save(self, model, folder):
        if self.killed:
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [2, 4, 6])
def test_tensorboard_has_what_the_log_has_once_when_a_run_is_resumed(tmp_path, step):
    with pytest.raises(KeyboardInterrupt):
        Trainer(_Validated(99, killed=True), tmp_path).run()  # after the last validation
    torch.save(torch.load(tmp_path / "last.pt", weights_only=True) | {"step": step}, tmp_path / "last.pt")
    Trainer(_Validated(99), tmp_path, resume=True).run()
    assert logged(tmp_path) == [1, 2, 3, 4, 5, 6, 6]
    assert curves(tmp_path) == curves_of_log(tmp_path)


class _Broken(_Batches):
    def __getitem__(self, step):
        raise DataError("expected views, got none; take larger objects")


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_wrong_with_the_data_is_one_line_from_a_worker_too(tmp_path, workers):
    stage = _Stage(0)
    stage.config = StageConfig(workers=workers)
    stage.batches = lambda rank: _Broken()
    with pytest.raises(DataError) as caught:
        Trainer(stage, tmp_path / "run").run()
    assert str(caught.value) == "expected views, got none; take larger objects"


class _Frozen(torch.nn.Module):
    """A line that learns, behind a frozen layer, beside a frozen part."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1))
        self.model[0].requires_grad_(False)
        self.part = torch.nn.Linear(1, 1).requires_grad_(False)

    def forward(self, batch):
        return {"loss": self.part(self.model(batch["x"])).square().mean()}


class _Pack:
    def __init__(self, key):
        self.key = key


class _Started(_Stage):
    """A stage on frozen weights, with packs and the start of an average."""

    def __init__(self):
        super().__init__(99)
        self.objective = _Frozen()
        self.packs = [_Pack("cups-0a1b"), _Pack("my-cats-2c3d")]
        self.start = {"weight": torch.ones(2)}

    def parameter_groups(self):
        return [{"params": [p for p in self.objective.parameters() if p.requires_grad], "lr": self.config.lr}]


@torch.no_grad()
def change(stage, what):
    objective, start = stage.objective, stage.start["weight"]
    tensors = {"layer": objective.model[0].weight, "part": objective.part.bias, "start": start}
    if what in tensors:
        tensors[what].view(-1)[0] += 1e-6
    elif what == "packs":
        stage.packs[1] = _Pack("my-cats-4e5f")
    elif what == "learning":
        objective.model[1].weight += 1.0  # comes from the checkpoint


@pytest.mark.parametrize("what", ["layer", "part", "start", "packs", "learning", "nothing"])
def test_a_run_is_resumed_on_what_it_was_started_with_only(tmp_path, what):
    Trainer(_Started(), tmp_path).run()
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    torch.save(state | {"step": 4}, tmp_path / "last.pt")
    stage = _Started()
    change(stage, what)
    words = {"packs": "images and masks that the run in .* got others in my-cats; bring them back"}
    words |= dict.fromkeys(("layer", "part", "start"), "frozen weights that the run in .* got others; bring back")
    if what not in words:
        Trainer(stage, tmp_path, resume=True).run()
        return
    with pytest.raises(ConfigError, match=words[what]) as caught:
        Trainer(stage, tmp_path, resume=True)
    assert "\n" not in str(caught.value)
    older = {key: value for key, value in state.items() if key not in ("frozen", "packs")} | {"step": 4}
    torch.save(older, tmp_path / "last.pt")  # of a time before these entries
    Trainer(stage, tmp_path, resume=True).run()
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 6
