"""Every reader of glesam with files that it reads well: what is spoiled in the fuzz tests."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
import tifffile
import torch
from fuzz_mutations import spoil_bytes, spoil_json, spoil_lines
from PIL import Image
from safetensors.torch import save as safetensors_bytes

from glesam.masks.masks import Masks

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
WIDE = RNG.integers(0, 65535, (24, 32, 3), dtype=np.uint16)
IDS = np.zeros((24, 32), np.uint8)
IDS[4:12, 6:20], IDS[14:20, 3:9] = 1, 2
MASKS = Masks(np.stack([IDS == 1, IDS == 2]), np.array([0.9, 0.5], np.float32), name="a.png", info={"model": "m"})
WEIGHTS = Path(__import__("glesam").__file__).parent / "models" / "weights"


@dataclass(frozen=True)
class Target:
    """A reader and what it reads.

    Attributes:
        name: of the test.
        seeds: names of files and their contents, one of which is spoiled at a time.
        read: reads the file at a path.
        spoil: how a content is spoiled.
        examples: attempts in the suite.
    """

    name: str
    seeds: dict[str, bytes]
    read: Callable[[Path], object]
    spoil: Callable[[bytes, Random], bytes]
    examples: int = 30


def encoded(form: str, pixels: Any = PIXELS, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


def tiff(values: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def palette(void: bool) -> bytes:
    image = Image.fromarray(np.where(IDS == 0, 255, IDS).astype(np.uint8) if void else IDS).convert("P")
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def torch_bytes(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def clip(suffix: str, code: str, folder: Path) -> bytes:
    path = folder / f"c{suffix}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 10, (64, 48))
    for index in range(8):
        writer.write(np.full((48, 64, 3), 20 * index, np.uint8))
    writer.release()
    return path.read_bytes()


def jsonl_bytes(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def as_json(value: Any) -> dict[str, bytes]:
    return {"x.json": json.dumps(value).encode()}


def images() -> Target:
    from glesam.images.reading import read

    seeds = {f"a.{form.lower()}": encoded(form) for form in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "PPM", "TIFF")}
    seeds["wide.png"] = cv2.imencode(".png", WIDE)[1].tobytes()
    seeds["planar.tif"] = tiff(WIDE.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    seeds["float.tif"] = tiff(WIDE.astype(np.float32), photometric="rgb", compression="zlib", predictor=False)
    seeds["bands.tif"] = tiff(RNG.integers(0, 9999, (24, 32, 6), np.uint16), photometric="minisblack", planarconfig=1)
    return Target("images", seeds, lambda path: read(path, 2**20), spoil_bytes, 60)


def masks() -> Target:
    from glesam.data.files import read_grey, read_mask
    from glesam.masks.painted import read_painted

    def read(path: Path) -> None:
        for reader in (read_mask, read_grey, read_painted):
            try:
                reader(path)
            except Exception as error:
                from glesam.errors import GlesamError

                if not isinstance(error, GlesamError):
                    raise

    seeds = {"grey.png": encoded("PNG", IDS), "wide.png": cv2.imencode(".png", IDS.astype(np.uint16))[1].tobytes()}
    seeds |= {"p.png": palette(False), "void.png": palette(True), "rgb.png": encoded("PNG"), "x.bmp": encoded("BMP")}
    return Target("masks", seeds, read, spoil_bytes, 40)


def clips(folder: Path) -> Target:
    from glesam.video.frames import open_video

    def read(path: Path) -> None:
        source = open_video(path)
        source.steady_fps()
        for _ in zip(range(20), source.timed_frames(), strict=False):
            pass

    seeds = {"a.mp4": clip(".mp4", "mp4v", folder), "a.avi": clip(".avi", "MJPG", folder)}
    return Target("clips", seeds, read, spoil_bytes, 6)


def prompts() -> Target:
    from glesam.prompts.file import read_prompts_file

    value = {
        "a.jpg": [{"points": [[3, 4], [5, 6]], "labels": [1, 0]}, {"box": [1, 2, 3, 4]}],
        "b": [{"points": [[1, 2]]}],
    }
    return Target("prompts", as_json(value), read_prompts_file, spoil_json, 60)


def training_configs() -> Target:
    from glesam.train.config import BaseConfig, read_config
    from glesam.train.feed.named import NamedSets
    from glesam.train.feed.pairs import PairConfig
    from glesam.train.stages.enhancer import EnhancerConfig
    from glesam.train.stages.gate import GateConfig

    kinds = (BaseConfig, PairConfig, EnhancerConfig, GateConfig)
    seeds = {f"{kind.__name__}.json": kind(data={"d": 1.0}).model_dump_json().encode() for kind in kinds}
    seeds["words.json"] = json.dumps(
        {"words": {"cat": {"set": ["a"]}, "dog": {"set": ["b"]}}, "overlap": [["cat", "dog"]]}
    ).encode()
    by_name = {f"{kind.__name__}.json": kind for kind in kinds}

    def read(path: Path) -> None:
        if path.name == "words.json":
            NamedSets.read(path)
        else:
            read_config(by_name[path.name], path, {})

    return Target("training configs", seeds, read, spoil_json, 60)


def annotations() -> Target:
    from glesam.data.readers.registry import open_dataset

    entries = [{**entry, "image_id": 1, "iscrowd": 0} for entry in MASKS.to_coco()]
    entries.append(
        {
            "id": 9,
            "image_id": 1,
            "category_id": 1,
            "iscrowd": 0,
            "segmentation": [[1, 1, 9, 1, 9, 9, 1, 9]],
            "area": 64,
            "bbox": [1, 1, 8, 8],
        }
    )
    value = {
        "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}],
        "categories": [{"id": 1, "name": "object"}],
        "annotations": entries,
    }

    def read(path: Path) -> None:
        (path.parent / "a.png").write_bytes(encoded("PNG"))
        dataset = open_dataset(path)
        for index in range(min(len(dataset), 3)):
            dataset[index]

    def read_masks(path: Path) -> None:
        from glesam.common.documents import read_json

        Masks.from_coco(read_json(path))

    def both(path: Path) -> None:
        from glesam.errors import GlesamError

        for reader in (read, read_masks):
            try:
                reader(path)
            except GlesamError:
                continue

    return Target("coco", as_json(value), both, spoil_json, 60)


def manifests(folder: Path) -> Target:
    from glesam.data.build.builder import build
    from glesam.data.build.journal import FILE_NAME as JOURNAL
    from glesam.data.build.journal import read_journal
    from glesam.data.build.manifest import Manifest
    from glesam.data.build.verify import verify
    from glesam.data.readers.folder import FolderDataset

    source = folder / "source"
    for part, content in (("images", encoded("PNG")), ("masks", encoded("PNG", IDS))):
        (source / part).mkdir(parents=True)
        (source / part / "a.png").write_bytes(content)
    build(FolderDataset(source), folder / "built", workers=1)
    manifest = (folder / "built" / "manifest.json").read_bytes()
    content = json.loads(manifest)
    samples = content.pop("samples")
    head = {key: content[key] for key in ("config", "source", "versions", "format", "version")}
    journal = jsonl_bytes(head, *({"name": name} | record for name, record in samples.items()))

    def read(path: Path) -> None:
        if path.name == JOURNAL:
            read_journal(path.parent)
        else:
            Manifest.load(path)
            verify(folder / "built", manifest=path)

    def spoil(content: bytes, random: Random) -> bytes:
        return (spoil_lines if content == journal else spoil_json)(content, random)

    return Target("manifests", {"manifest.json": manifest, JOURNAL: journal}, read, spoil, 40)


def journals() -> Target:
    from glesam.folders.parts import PARTS, ResultsJournal
    from glesam.folders.table import rows_of
    from glesam.video.journal import entries_of, file_of, is_complete, read_frames, to_masks

    frames = [{"frame": n, "time": n / 10, "annotations": entries_of(MASKS)} for n in range(3)]
    seeds = {"clip.jsonl": jsonl_bytes({"video": {"file": "x"}}, *frames, {"end": 3})}
    rows = [vars(row) for row in rows_of(MASKS, "a.png", 1.0)]
    seeds["1-0-9.jsonl"] = jsonl_bytes({"file": "a.png", "rows": rows}, {"file": "b.png", "rows": []})

    def read(path: Path) -> None:
        if path.name == "clip.jsonl":
            is_complete(path)
            file_of(path)
            for _, _, entries in read_frames(path):
                to_masks(entries, (24, 32))
        else:
            parts = path.parent / PARTS
            parts.mkdir(exist_ok=True)
            shutil.copy(path, parts / path.name)
            ResultsJournal(path.parent).read()

    return Target("journals", seeds, read, spoil_lines, 40)


def results() -> Target:
    from glesam.evaluate.measure.records import Row as Measured
    from glesam.evaluate.measure.records import _read_stamp, from_csv, to_csv
    from glesam.folders import table
    from glesam.folders.recover import rows_from_outputs

    measured = Measured("m", "s", "clear", "box", "a", 1, 0.1, 9, *[0.5] * 5, 9.0, 0.1, 0.1)
    seeds = {
        "results.csv": table.to_csv(table.rows_of(MASKS, "a.png", 1.0)).encode(),
        "rows.csv": to_csv([measured]).encode(),
    }
    seeds |= {"mask.png": MASKS.encode(".png"), "mask.json": MASKS.encode(".json")}
    seeds["stamp.json"] = json.dumps({"stamp": {"a": 1}, "failed": {}}).encode()
    readers: dict[str, Callable[[Path], object]] = {
        "results.csv": table.read_csv,
        "rows.csv": from_csv,
        "mask.png": lambda path: rows_from_outputs("a.png", {"png": path}),
        "mask.json": lambda path: rows_from_outputs("a.png", {"json": path}),
        "stamp.json": _read_stamp,
    }

    def spoil(content: bytes, random: Random) -> bytes:
        return (spoil_json if content.startswith(b"{") else spoil_bytes)(content, random)

    return Target("results", seeds, lambda path: readers[path.name](path), spoil, 50)


def saved_models(folder: Path) -> Target:
    from models_tiny import sam2_tiny, sam_tiny

    from glesam.models.registry import load_model

    places = {}
    for name, model in (("sam", sam_tiny()), ("sam2", sam2_tiny())):
        model.save_pretrained(folder / name)
        places[f"{name}.json"] = folder / name
    places["compact.json"] = WEIGHTS / "compact"

    def read(path: Path) -> None:
        place = path.parent / "model"
        place.mkdir()
        (place / "model.safetensors").symlink_to(places[path.name] / "model.safetensors")
        shutil.copy(path, place / "config.json")
        load_model(place)

    seeds = {name: (place / "config.json").read_bytes() for name, place in places.items()}
    return Target("saved models", seeds, read, spoil_json, 5)


def saved_parts(folder: Path) -> Target:
    from glesam.enhance.bundle import _read as read_bundle
    from glesam.enhance.bundle import read_rules
    from glesam.enhance.gate import DegradationGate
    from glesam.enhance.skips import SkipAdapter
    from glesam.subject.head import SubjectHead
    from glesam.text.heads import DenseHeads
    from glesam.text.words import WordList

    bundle = WEIGHTS / "compact-enhancer"
    SkipAdapter("branch").save_pretrained(folder / "skips")
    places: dict[str, tuple[Path, Callable[[Path], object]]] = {
        "bundle.json": (bundle, read_bundle),
        "gate.json": (bundle / "gate", DegradationGate.from_pretrained),
        "skips.json": (folder / "skips", SkipAdapter.from_pretrained),
        "subject.json": (WEIGHTS / "subject", SubjectHead.from_pretrained),
        "heads.json": (WEIGHTS / "words" / "heads", DenseHeads.from_pretrained),
    }
    seeds = {name: (place / "config.json").read_bytes() for name, (place, _) in places.items()}
    seeds["rules.json"] = json.dumps([{"above": 0, "image_size": 384}, {"above": 1}]).encode()
    seeds["list.json"] = json.dumps(
        {"classes": [0], "synsets": [["n1", ["cat"], []], ["n2", ["animal"], [0]]]}
    ).encode()

    def read(path: Path) -> None:
        if path.name == "rules.json":
            read_rules(path)
        elif path.name == "list.json":
            words = WordList(path)
            words.classes("cats"), words.words, words.groups
        else:
            origin, reader = places[path.name]
            place = path.parent / "part"
            place.mkdir()
            (place / "model.safetensors").symlink_to(origin / "model.safetensors")
            shutil.copy(path, place / "config.json")
            reader(place)

    return Target("saved parts", seeds, read, spoil_json, 30)


def checkpoints() -> Target:
    from glesam.models.sam.original import load_checkpoint
    from glesam.models.sam.reading import read_checkpoint
    from glesam.train.loop import read_state
    from glesam.weights.folders import read_weights

    state = {
        "image_encoder.patch_embed.proj.weight": torch.zeros(8, 3, 4, 4),
        "image_encoder.pos_embed": torch.zeros(1, 4, 4, 8),
        "image_encoder.blocks.0.attn.rel_pos_h": torch.zeros(7, 4),
    }
    run = {"step": 1, "model": {"a": torch.zeros(2)}, "ema": {"a": torch.zeros(2)}, "optimizer": {"state": {}}}
    seeds = {"a.pth": torch_bytes(state), "last.pt": torch_bytes(run), "model.safetensors": safetensors_bytes(state)}
    seeds["b.pt"] = torch_bytes({"model": {"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(8, 3, 7, 7)}})

    def read(path: Path) -> None:
        if path.name == "last.pt":
            read_state(path)
        elif path.suffix == ".safetensors":
            read_weights(path.parent)
            read_checkpoint(path)
        else:
            load_checkpoint(path)

    return Target("checkpoints", seeds, read, spoil_bytes, 12)


def caches(folder: Path) -> Target:
    from glesam.data.readers.folder import FolderDataset
    from glesam.fewshot.cache import _read as read_features
    from glesam.fewshot.cache import _write as write_features
    from glesam.fewshot.features import ImageFeatures
    from glesam.train.feed.pack import ImagePack, pack

    source = folder / "packed"
    for part, content in (("images", encoded("PNG")), ("masks", encoded("PNG", IDS))):
        (source / part).mkdir(parents=True)
        (source / part / "a.png").write_bytes(content)
    pack(FolderDataset(source), folder / "cache")
    (index,) = (folder / "cache").glob("*/index.json")
    grid = torch.nn.functional.normalize(torch.randn(8, 4, 5), dim=0)
    write_features(folder / "f.npz", ImageFeatures(grid, grid, (1.0, 1.0)))
    seeds = {"index.json": index.read_bytes(), "f.features.npz": (folder / "f.npz").read_bytes()}

    def read(path: Path) -> None:
        if path.suffix == ".npz":
            read_features(path)
            return
        for name in ("images.bin", "masks.bin"):
            (path.parent / name).symlink_to(index.parent / name)
        packed = ImagePack(path.parent)
        if len(packed):
            packed[0]

    def spoil(content: bytes, random: Random) -> bytes:
        return (spoil_json if content.startswith(b"{") else spoil_bytes)(content, random)

    return Target("caches", seeds, read, spoil, 30)
