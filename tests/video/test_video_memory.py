"""SAM 2's memory, streamed and pruned, against transformers' own streaming API that keeps everything."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Sam2VideoInferenceSession
from video_tiny import SIDE, tiny_video_model

from glesam.errors import ModelError, PromptError
from glesam.prompts.prompts import Prompts
from glesam.video.load import load_tracker
from glesam.video.memory import MemoryTracker, has_memory, load_memory_model, pixel_values

FRAMES = np.random.default_rng(0).integers(0, 256, (12, 48, 80, 3), dtype=np.uint8)
PROMPTS = Prompts([[[20, 10], [60, 40]], [[70, 5]]], [[1, 0], [1]], [None, [40, 2, 79, 30]])


@pytest.fixture(scope="module")
def model() -> object:
    return tiny_video_model()


def reference(model: object) -> list[torch.Tensor]:
    """Logits of transformers alone; prompts scaled by hand, corners of a box first with labels 2 and 3."""
    session = Sam2VideoInferenceSession(video_height=48, video_width=80, dtype=torch.float32)
    scale = torch.tensor([SIDE / 80, SIDE / 48])
    clicks = [([[20, 10], [60, 40]], [1, 0]), ([[40, 2], [79, 30], [70, 5]], [2, 3, 1])]
    for number, (points, labels) in enumerate(clicks, start=1):
        place = session.obj_id_to_idx(number)
        coords = (torch.tensor(points, dtype=torch.float32) * scale)[None, None]
        inputs = {"point_coords": coords, "point_labels": torch.tensor(labels, dtype=torch.int32)[None, None]}
        session.add_point_inputs(place, 0, inputs)
    session.obj_with_new_inputs = [1, 2]
    with torch.inference_mode():
        return [model(session, frame=pixel_values(frame, SIDE)).pred_masks[:, 0] for frame in FRAMES]  # type: ignore[operator]


def test_equals_transformers_though_the_past_is_forgotten(model: object) -> None:
    want = reference(model)
    assert any((mask > 0).any() and (mask < 0).any() for mask in want), "the test needs masks that are not trivial"
    assert not torch.equal(want[-1], want[-2])
    tracker = MemoryTracker(model)
    got = [tracker.start(FRAMES[0], PROMPTS), *(tracker.step(frame) for frame in FRAMES[1:])]
    for masks, logits in zip(got, want, strict=True):
        assert np.array_equal(masks.logits, logits.numpy())
        assert masks.masks.shape == (2, 48, 80)


def test_a_correction_is_what_its_prompts_give_alone_and_is_remembered(model: object) -> None:
    trackers = [MemoryTracker(model), MemoryTracker(model)]
    for tracker in trackers:
        tracker.start(FRAMES[0], PROMPTS)
        tracker.step(FRAMES[1])
    click = Prompts([[[50, 30]]])
    corrected, followed = trackers[0].correct(FRAMES[2], click, [1]), trackers[1].step(FRAMES[2])
    alone = MemoryTracker(model).start(FRAMES[2], click)
    np.testing.assert_allclose(corrected.logits[1], alone.logits[0], atol=1e-4)
    assert np.array_equal(corrected.logits[0], followed.logits[0])
    after = [tracker.step(FRAMES[3]) for tracker in trackers]
    for number, least, most in ((0, 0, 1e-3), (1, 1e-9, 1)):
        one, other = (masks.logits[number] for masks in after)
        assert least <= np.linalg.norm(one - other) / np.linalg.norm(other) < most
    kept = trackers[0].state()["kept"]
    assert [sorted(stored[0]) for stored in kept] == [[0], [0, 2]], "frames that later ones always remember"
    with pytest.raises(PromptError, match="earlier frame"):
        MemoryTracker(model).correct(FRAMES[0], click, [0])


def test_memory_is_flat(model: object) -> None:
    tracker = MemoryTracker(model)
    tracker.start(FRAMES[0], PROMPTS)
    sizes = []
    for frame in [*FRAMES, *FRAMES]:
        tracker.step(frame)
        stream = io.BytesIO()
        torch.save(tracker.state(), stream)
        sizes.append(stream.tell())
    assert max(sizes[8:]) - min(sizes[8:]) < 2000
    assert not tracker._session.processed_frames


def test_state_goes_on_as_if_nothing_had_happened(model: object) -> None:
    whole = MemoryTracker(model)
    whole.start(FRAMES[0], PROMPTS)
    for frame in FRAMES[1:7]:
        whole.step(frame)
    stream = io.BytesIO()
    torch.save(whole.state(), stream)
    stream.seek(0)
    resumed = MemoryTracker(model)
    resumed.restore(torch.load(stream, weights_only=True))
    for frame in FRAMES[7:]:
        assert np.array_equal(whole.step(frame).logits, resumed.step(frame).logits)


def test_saved_folder_is_recognised_and_strict(model: object, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)  # type: ignore[attr-defined]
    assert has_memory(tmp_path)
    tracker = load_tracker(tmp_path)
    assert isinstance(tracker, MemoryTracker)
    want = MemoryTracker(model).start(FRAMES[0], PROMPTS)
    assert np.array_equal(tracker.start(FRAMES[0], PROMPTS).logits, want.logits)
    from safetensors.torch import load_file, save_file

    state = load_file(tmp_path / "model.safetensors")
    state.pop(next(key for key in state if key.startswith("memory_attention")))
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="1 missing"):
        load_memory_model(tmp_path)


def test_wrong_use(model: object, tmp_path: Path) -> None:
    assert not has_memory(tmp_path)
    tracker = MemoryTracker(model)
    with pytest.raises(PromptError, match="start"):
        tracker.step(FRAMES[0])
    with pytest.raises(PromptError, match="mask input"):
        tracker.start(FRAMES[0], Prompts(mask_input=np.zeros((16, 16), np.float32)))
    with pytest.raises(PromptError, match="inside the image"):
        tracker.start(FRAMES[0], Prompts([[500, 3]]))
    tracker.start(FRAMES[0], PROMPTS)
    shown = np.zeros((1, 16, 16), np.float32)
    for prompts in (Prompts(mask_input=shown), Prompts(boxes=[[40, 2, 79, 30]], mask_input=shown)):
        with pytest.raises(PromptError, match="got a mask input; leave it out"):
            tracker.correct(FRAMES[1], prompts, [0])
    with pytest.raises(ModelError, match="memory"):
        load_tracker("compact", kind="memory")


def test_a_presets_name_comes_before_a_folder_of_that_name(
    model: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(source: str, **_: object) -> str:
        raise ConnectionError(source)

    monkeypatch.setenv("GLESAM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    model.save_pretrained("sam2.1-hiera-tiny")  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match=r"facebook/sam2\.1-hiera-tiny"):
        load_tracker("sam2.1-hiera-tiny")
    assert isinstance(load_tracker("./sam2.1-hiera-tiny"), MemoryTracker)
