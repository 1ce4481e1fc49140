"""The verdict over time: means and hysteresis against a loop, and no jumps between two paths on a synthetic clip."""

import itertools

import cv2
import numpy as np
import pytest
import torch
from train_tiny import tiny_model

from glesam.enhance.gate import Verdict, judged_by_level
from glesam.enhance.pipeline import LevelRule, Restoration
from glesam.errors import PromptError
from glesam.models.compact.model import CompactModel
from glesam.predict.predictor import Predictor
from glesam.prompts.prompts import Prompts
from glesam.video.propagate import MaskPropagation
from glesam.video.steady import SteadyVerdict


def verdict(surplus, level=1.0):
    return Verdict(level, surplus > 0, surplus > 0, surplus=(surplus, surplus))


def test_the_mean_is_exponential_and_switching_takes_leaving_the_band():
    steady, rng = SteadyVerdict(share=0.3, width=0.02), np.random.default_rng(0)
    surpluses = np.cumsum(rng.normal(0, 0.02, 200))
    mean, on = surpluses[0], surpluses[0] > 0
    for number, surplus in enumerate(surpluses):
        given = steady(verdict(float(surplus), level=float(abs(surplus))))
        if number:
            mean = 0.7 * mean + 0.3 * surplus
            on = mean > -0.02 if on else mean > 0.02
        assert steady.surplus == pytest.approx((mean, mean))
        assert (given.points, given.boxes) == (on, on)
    assert given.level == pytest.approx(steady.level)


def test_noise_around_the_threshold_does_not_switch_and_a_change_of_scene_does():
    rng, steady = np.random.default_rng(1), SteadyVerdict()
    raw = [verdict(float(s)) for s in rng.normal(0, 0.01, 100)]
    given = [steady(v) for v in raw]
    assert sum(a.boxes != b.boxes for a, b in itertools.pairwise(raw)) > 20
    assert sum(a.boxes != b.boxes for a, b in itertools.pairwise(given)) <= 1
    assert all(steady(verdict(0.1)).boxes for _ in range(20)[2:])
    last = [steady(verdict(-0.1)).boxes for _ in range(20)]
    assert not last[-1]


def test_state_goes_on_exactly_and_verdicts_without_numbers_pass():
    first, second = SteadyVerdict(), SteadyVerdict()
    for surplus in (0.03, -0.02, 0.04):
        first(verdict(surplus))
    second.restore(first.state())
    assert second(verdict(-0.05)) == first(verdict(-0.05))
    plain = Verdict()
    assert SteadyVerdict()(plain) is plain
    assert judged_by_level(2.0, 0.5).surplus == pytest.approx((0.075, 0.075))
    first.forget()
    assert first(verdict(-0.3)) == verdict(-0.3)


class Wavering:
    """A gate that changes its mind at every frame by little."""

    def __init__(self, surpluses):
        self.surpluses, self.asked = surpluses, 0

    def verdict(self, embedding, pixels):
        self.asked += 1
        return verdict(self.surpluses[(self.asked - 1) % len(self.surpluses)])


@torch.no_grad()
def test_a_clip_stays_on_one_path_under_a_wavering_gate_and_resumes_there(tmp_path):
    base = CompactModel.from_pretrained(tiny_model(tmp_path / "base"))
    rng = np.random.default_rng(2)
    frames = []
    for step in range(9):
        frame = rng.integers(90, 110, (48, 64, 3), dtype=np.uint8)
        cv2.circle(frame, (20 + 2 * step, 24), 9, (240, 60, 40), -1)
        frames.append(frame)

    def follow(surpluses, states=None, resume=None, start=0):
        gate = Wavering(surpluses)
        predictor = Predictor(base, "auto", Restoration(gate=gate, rules=[LevelRule(0, image_size=32)]))
        tracker, used = MaskPropagation(predictor), []
        for number in range(start, len(frames)):
            if number == start and resume is not None:
                tracker.restore(resume)
            if number == 0:
                tracker.start(frames[0], Prompts(boxes=[10, 14, 30, 34]))
            else:
                tracker.step(frames[number])
            encoded = predictor.session.encoded
            used.append(predictor.session.embedder.embedding(encoded, True) is encoded.enhanced)
            if states is not None:
                states.append(tracker.state())
        return used

    wavering = [0.004, -0.006, 0.005, -0.004]
    assert follow(wavering) == [True] * 9
    assert follow([-s for s in wavering]) == [False] * 9
    states = []
    scene = [0.05, 0.05, 0.05, -0.2, -0.2, -0.2, -0.2, -0.2, -0.2]
    whole = follow(scene, states)
    assert whole[0]
    assert not whole[-1]
    assert sum(a != b for a, b in itertools.pairwise(whole)) == 1
    assert follow(scene[5:], resume=states[4], start=5) == whole[5:]


class ByBrightness:
    """A gate that restores dark images."""

    def verdict(self, embedding, pixels):
        return verdict(0.2 if float(pixels.mean()) < 0 else -0.2)


def grey(value, seed=0):
    return np.random.default_rng(seed).integers(value, value + 10, (48, 64, 3), dtype=np.uint8)


def restores(predictor, image):
    predictor.set_image(image)
    return predictor.session.embedder.enhances(predictor.session.encoded, True)


@torch.no_grad()
def test_a_clip_leaves_its_predictor_as_it_was(tmp_path):
    base = CompactModel.from_pretrained(tiny_model(tmp_path / "base"))
    rules = [LevelRule(0, image_size=32)]
    predictor = Predictor(base, "auto", Restoration(gate=ByBrightness(), rules=rules))
    box = Prompts(boxes=[10, 14, 30, 34])
    assert (restores(predictor, grey(10)), restores(predictor, grey(230))) == (True, False)
    tracker = MaskPropagation(predictor)
    assert not restores(predictor, grey(230, 1)), "a tracker that has no frame yet"
    tracker.start(grey(10), box)
    for seed in range(6):
        tracker.step(grey(10, seed))
    tracker.correct(grey(230, 7), box, [0])
    assert tracker.state()["steady"]["restored"][1], "the test needs a mean that lags behind"
    assert not restores(predictor, grey(230, 8))
    assert not restores(predictor, grey(230, 7)), "the clip's own frame, which is kept"
    with pytest.raises(PromptError):
        tracker.start(grey(10), Prompts(boxes=[1000, 14, 1030, 34]))
    assert not restores(predictor, grey(230, 9))


@torch.no_grad()
def test_two_trackers_on_one_predictor_keep_their_own_means(tmp_path):
    base = CompactModel.from_pretrained(tiny_model(tmp_path / "base"))
    box = Prompts(boxes=[10, 14, 30, 34])

    def follow(shades, others=()):
        restoration = Restoration(gate=ByBrightness(), rules=[LevelRule(0, image_size=32)])
        predictor = Predictor(base, "auto", restoration)
        trackers = [MaskPropagation(predictor) for _ in range(2)]
        for number, shade in enumerate(shades):
            for tracker, value in zip(trackers, (shade, *others[number : number + 1]), strict=False):
                frame = grey(value, number)
                tracker.start(frame, box) if number == 0 else tracker.step(frame)
        return trackers[0].state()["steady"]

    alone = follow([10, 10, 230])
    assert alone["surplus"] == pytest.approx([0.2 - 0.25 * 0.4] * 2)
    assert follow([10, 10, 230], [230, 10, 10]) == alone
