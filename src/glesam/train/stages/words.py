"""The words stage: the frozen classifier's folder, what it says where a word is not, and the dense heads.

Minutes on a CPU: each image is encoded once, some of its cells are kept, and a network of two layers learns from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from glesam.common.arrays import Float
from glesam.common.files import write_bytes
from glesam.common.seeds import generator, stable_seed
from glesam.data.base import is_fifth
from glesam.errors import DataError
from glesam.text.classifier import FAMILY, CellClassifier
from glesam.text.heads import FAMILY as HEADS_FAMILY
from glesam.text.heads import DenseHeads, joined_features
from glesam.text.offline import NONE_FAMILY, TEMPERATURE, NoneStatistics, OfflineWords, Seen, head_evidence
from glesam.text.words import WordList
from glesam.train.config import WordsConfig
from glesam.train.feed.named import Named, NamedImages, NamedSets, cell_labels, overlaps
from glesam.train.stages import imagenet
from glesam.weights.folders import save_tensors, seal
from glesam.weights.int8 import pack

VARIANT = "lite2"


@dataclass
class CellSet:
    """Cells of many images.

    Attributes:
        features: `(n, c)` float16.
        labels: `(n, K)` int8: 1, 0, or -1 for not known.
    """

    features: Tensor
    labels: Tensor


def named_images(root: Path, config: NamedSets, options: WordsConfig) -> Iterator[Named]:
    """The images to learn from, set by set; those kept aside are left out."""
    for set_name in config.sets:
        yield from _part(root, set_name, config, options, 0, options.more.get(set_name, options.images))


def calibration_images(root: Path, config: NamedSets, options: WordsConfig) -> tuple[Iterator[Named], Iterator[Named]]:
    """Photos and other images for `calibrate`: none that the heads learn from, none kept aside."""

    def after(set_name: str, count: int) -> Iterator[Named]:
        start = options.more.get(set_name, options.images)
        return _part(root, set_name, config, options, start, start + count)

    photos = chain.from_iterable(after(name, options.photos) for name in config.none)
    return photos, chain.from_iterable(after(name, options.others) for name in config.sets)


def _part(root: Path, set_name: str, config: NamedSets, options: WordsConfig, start: int, end: int) -> Iterator[Named]:
    """Images of one set by their places in an order that depends on names and seed only."""
    folder = root / set_name
    if not folder.is_dir():
        raise DataError(f"expected the set {set_name} in {root}, found none; take it out of the configuration")
    images = NamedImages(folder, config)
    names = [name for name in images.data.names if not is_fifth(name)]
    names.sort(key=lambda name: stable_seed("words", options.seed, name))
    return images.read(names[start:end])


def gather(classifier: CellClassifier, images: Iterator[Named], config: NamedSets, options: WordsConfig) -> CellSet:
    """Encode each image once, and keep some of its cells."""
    table, features, labels = overlaps(config), [], []
    for named in images:
        draws = generator("cells", options.seed, named.sample.name)
        cells = classifier.look(named.sample.image, int(draws.choice(options.sides)))
        joined = joined_features(cells).flatten(1).T
        found = cell_labels(named, (cells.middle.shape[1], cells.middle.shape[2]), table)
        flat = found.reshape(len(found), -1).T
        kept = _chosen(flat, options.cells, draws)
        features.append(joined[kept].half())
        labels.append(torch.from_numpy(flat[kept]))
    if not features:
        raise DataError("expected images to learn words from, got none; give a folder with the sets")
    return CellSet(torch.cat(features), torch.cat(labels))


def _chosen(labels: npt.NDArray[np.int8], count: int, draws: np.random.Generator) -> npt.NDArray[np.int64]:
    """Half of the cells from those that show a word, evenly from word to word; the rest from those known at all."""
    chosen: list[int] = []
    shown = [np.flatnonzero(labels[:, k] == 1) for k in range(labels.shape[1])]
    shown = [cells for cells in shown if len(cells)]
    for cells in shown:
        chosen += draws.permutation(cells)[: count // (2 * len(shown))].tolist()
    rest = np.setdiff1d(np.flatnonzero((labels >= 0).any(axis=1)), chosen)
    chosen += draws.permutation(rest)[: count - len(chosen)].tolist()
    return np.array(chosen, np.int64)


def fit(cells: CellSet, words: tuple[str, ...], channels: tuple[int, int], options: WordsConfig) -> DenseHeads:
    """Train the heads: binary cross-entropy, shown and not shown of each word weighted alike."""
    torch.manual_seed(options.seed)
    heads = DenseHeads(words, channels, options.hidden)
    heads.mean.copy_(cells.features.float().mean(dim=0))
    heads.deviation.copy_(cells.features.float().std(dim=0).clamp(min=1e-3))
    weights = torch.stack([_balance(cells.labels == value) for value in (0, 1)])
    optimizer = torch.optim.Adam(heads.parameters(), lr=options.lr, weight_decay=1e-4)
    count = len(cells.features)
    steps = options.epochs * -(-count // options.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    draws = torch.Generator().manual_seed(options.seed)
    for _ in range(options.epochs):
        for rows in torch.split(torch.randperm(count, generator=draws), options.batch):
            logits = heads(cells.features[rows].float().T[None, :, :, None])[0, :, :, 0].T
            loss = _loss(logits, cells.labels[rows], weights)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return heads.eval()


def _balance(chosen: Tensor) -> Tensor:
    """Weight of each word's cells of one kind: 1 over their share; none where there are none."""
    share = chosen.float().mean(dim=0)
    return torch.where(share > 0, 1 / share.clamp(min=1e-4), 0).clamp(max=2000)


def _loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted binary cross-entropy `(n, K)` over what is known."""
    known = labels >= 0
    target = labels.clamp(min=0)
    each = F.binary_cross_entropy_with_logits(logits, target.float(), reduction="none")
    weight = torch.where(target > 0, weights[1], weights[0]) * known
    return (each * weight).mean()


@torch.inference_mode()
def calibrate(source: OfflineWords, photos: Iterable[Named], others: Iterable[Named]) -> None:
    """Set what the evidence for each word is in images without it: median and spread.

    Args:
        source: its statistics are set. Few images show any one word, which leaves median and spread what they are.
        photos: ordinary photos, for the classifier's groups of classes and the rare words of the heads.
        others: images of all kinds, for the heads alone.

    Raises:
        DataError: no photo.
    """
    groups, peaks, absent = [], [], []
    member = membership(source.words)
    for is_photo, named in [*((True, each) for each in photos), *((False, each) for each in others)]:
        seen = source.look(named.sample.image)
        if is_photo:
            groups.append(group_evidence(seen, member).numpy())
        if source.heads is not None:
            peaks.append(head_evidence(seen.heads).numpy())
            absent.append(named.absent & ~named.shown.any(axis=(1, 2)))
    if not groups:
        raise DataError(
            "expected photos to calibrate on that nothing was learned from, got none; name a set in 'none' with more "
            "images than 'images'"
        )
    _set(source.none, np.stack(groups), np.ones_like(groups, dtype=bool))
    if source.heads is not None:
        _set(source.heads, np.stack(peaks), np.stack(absent))


def _set(target: NoneStatistics | DenseHeads, values: Float, chosen: npt.NDArray[np.bool_]) -> None:
    """Set `median` and `spread` `(K,)` from the chosen of `(n, K)` values; from all of a word if none is chosen."""
    for k in range(values.shape[1]):
        kept = values[chosen[:, k], k]
        target.median[k], target.spread[k] = robust(kept if len(kept) else values[:, k])


def membership(words: WordList) -> Tensor:
    """`(G, C)` float: 1 where a class belongs to a group."""
    table = torch.zeros(len(words.groups), len(words))
    for classes, group in words.groups.items():
        table[group, list(classes)] = 1
    return table


def group_evidence(seen: Seen, member: Tensor) -> Tensor:
    """`glesam.text.offline.class_evidence` of all groups at once, `(G,)`."""
    whole = _odds(seen.looks[0].logits.mean(dim=(1, 2))[:, None, None], member)[:, 0, 0]
    maps = [_odds(cells.logits / TEMPERATURE, member)[None] for cells in seen.looks]
    resized = [F.interpolate(m, seen.size, mode="bilinear", align_corners=False)[0] for m in maps]
    return whole + torch.stack(resized).mean(dim=0).amax(dim=(1, 2))


def _odds(logits: Tensor, member: Tensor) -> Tensor:
    """Log-odds `(G, h, w)` of all groups from logits `(C, h, w)`."""
    probability = logits.double().softmax(dim=0).flatten(1)
    inside, outside = member.double() @ probability, (1 - member.double()) @ probability
    return (inside.clamp(min=1e-30).log() - outside.clamp(min=1e-30).log()).float().reshape(-1, *logits.shape[1:])


def robust(values: Float) -> tuple[float, float]:
    """Median, and 1.4826 times the median absolute deviation: the standard deviation of a normal distribution."""
    median = float(np.median(values))
    return median, max(0.05, 1.4826 * float(np.median(np.abs(values - median))))


def save_classifier(folder: Path, classifier: CellClassifier, variant: str) -> None:
    """Store the classifier in 8 bits, what is too small for that in 16, and seal the folder."""
    classes = classifier.linear.out_features
    _save_small(folder, classifier.state_dict(), {"family": FAMILY, "variant": variant, "classes": classes})


def save_heads(folder: Path, heads: DenseHeads) -> None:
    """Store the heads alike."""
    _save_small(folder, heads.state_dict(), {"family": HEADS_FAMILY, **heads.options})


def save_none(folder: Path, none: NoneStatistics) -> None:
    """Store the classifier's statistics."""
    save_tensors(folder, none.state_dict(), {"family": NONE_FAMILY, "groups": len(none.median)})
    seal(folder)


def train_words(root: Path, config: NamedSets, options: WordsConfig, word_list: Path, out: Path) -> OfflineWords:
    """Make a vocabulary's folder: the classifier from its package, the heads, and what absence looks like.

    Args:
        root: folder with the sets.
        config: which labels of which sets show which words.
        options: how the heads are trained.
        word_list: `words.json` of the vocabulary.
        out: folder that is written.

    Raises:
        ModelError: the classifier's package is not installed.
        DataError: a set is missing.
    """
    classifier, words = packaged_classifier(), WordList(word_list)
    cells = gather(classifier, named_images(root, config, options), config, options)
    channels = classifier.backbone.channels
    heads = fit(cells, tuple(config.words), (channels[-2], channels[-1]), options)
    source = OfflineWords(classifier, words, NoneStatistics(len(words.groups)), heads)
    calibrate(source, *calibration_images(root, config, options))
    write_bytes(out / "words.json", word_list.read_bytes())
    save_heads(out / "heads", heads)
    save_none(out / "none", source.none)
    save_classifier(out, classifier, VARIANT)
    return source


def packaged_classifier() -> CellClassifier:
    """The ImageNet classifier from the package of the extra `train`.

    Raises:
        ModelError: the package is not installed.
    """
    classifier, head = CellClassifier(VARIANT), imagenet.classifier(VARIANT)
    classifier.backbone.load_state_dict(imagenet.pretrained_state(VARIANT))
    layers = [layer for layer in head.children() if list(layer.parameters())]
    classifier.head.load_state_dict(layers[0].state_dict())
    classifier.linear.load_state_dict(layers[1].state_dict())
    return classifier.eval()


def _save_small(folder: Path, state: dict[str, Tensor], config: dict[str, object]) -> None:
    packed = pack(state)
    small = {k: v.half() if v.is_floating_point() and not k.endswith("#scale") else v for k, v in packed.items()}
    save_tensors(folder, small, config)
    seal(folder)
