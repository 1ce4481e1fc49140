"""Heads against tensors that the code of HQ-SAM and of RobustSAM itself computed, from random weights of a small size.

`heads_reference.pt` holds weights under the authors' names (float16, to which they were rounded before computing),
inputs, and every fourth row and column of the maps that came out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import SamMaskDecoderConfig
from transformers.models.sam.modeling_sam import SamMaskDecoder

from glesam.errors import ModelError
from glesam.heads.base import MaskHead
from glesam.heads.hq import HQHead
from glesam.heads.original import split_head
from glesam.heads.robust import RobustHead
from glesam.models.base import DecoderInputs, Embedding
from glesam.models.sam import original_names as tables
from glesam.models.sam.original import rename
from glesam.models.sam.sam import BLOCK_NORM_EPS
from glesam.weights.folders import check_keys

Reference = dict[str, Any]
REFERENCE = Path(__file__).parent / "heads_reference.pt"


@pytest.fixture(scope="module")
def reference() -> dict[str, Reference]:
    found: dict[str, Reference] = torch.load(REFERENCE, weights_only=True)
    return found


def read(part: Reference) -> tuple[MaskHead, SamMaskDecoder]:
    """Head and decoder with all of the authors' keys, none missing and none left over."""
    split = split_head({f"mask_decoder.{k}": v.float() for k, v in part["state"].items()}, "reference")
    assert split is not None
    sizes = part["config"]
    config = SamMaskDecoderConfig(
        hidden_size=sizes["dim"],
        mlp_dim=sizes["mlp"],
        num_attention_heads=sizes["heads"],
        num_hidden_layers=sizes["depth"],
        iou_head_hidden_dim=sizes["iou_hidden"],
        layer_norm_eps=BLOCK_NORM_EPS,
    )
    decoder = SamMaskDecoder(config).eval()
    own = {k.removeprefix("mask_decoder."): v for k, v in rename(split.base, tables.SAM_RULES, (), "file").items()}
    check_keys(decoder.state_dict(), own, "reference")
    decoder.load_state_dict(own)
    return split.head, decoder


def read_inputs(part: Reference, rows: slice = slice(None)) -> tuple[Embedding, DecoderInputs]:
    """Embedding with its early feature, and what the decoder reads for some of the prompts."""
    given: dict[str, Tensor] = part["inputs"]
    latent, sparse = given["image_embeddings"], given["sparse_prompt_embeddings"][rows]
    dense = given["dense_prompt_embeddings"][rows]
    inputs = DecoderInputs(latent.expand(len(sparse), -1, -1, -1), given["image_pe"], sparse[:, None], dense)
    return Embedding(latent, extras={"early": given["early"].permute(0, 3, 1, 2)}), inputs


def thin(maps: Tensor) -> Tensor:
    return maps[..., ::4, ::4]


@pytest.mark.parametrize("alone", [False, True])
@torch.no_grad()
def test_hq_masks_and_scores(reference: dict[str, Reference], alone: bool) -> None:
    """Three prompts at once, and one by one; of candidates the authors give the best, we all three."""
    part = reference["hq"]
    head, decoder = read(part)
    assert isinstance(head, HQHead)
    head.set_mode("hq" if alone else "sum")
    for rows in (slice(None), slice(1, 2)):
        embedding, inputs = read_inputs(part, rows)
        single, score = head.answer(decoder, inputs, head.fuse(embedding), multimask=False)
        three, scores = head.answer(decoder, inputs, head.fuse(embedding), multimask=True)
        best = scores.argmax(dim=1, keepdim=True)
        chosen = three.take_along_dim(best[..., None, None], dim=1), scores.gather(1, best)
        for multimask, found in ((False, (single, score)), (True, chosen)):
            masks, iou = part["outputs"][f"multimask={multimask},hq_only={alone}"]
            assert float(masks.std()) > 0.01
            torch.testing.assert_close(thin(found[0]), masks[rows], atol=1e-4, rtol=0)
            torch.testing.assert_close(found[1], iou[rows], atol=1e-5, rtol=0)


@pytest.mark.parametrize("clear", [False, True])
@torch.no_grad()
def test_robust_masks_scores_features_and_tokens(reference: dict[str, Reference], clear: bool) -> None:
    part = reference["robust"]
    head, decoder = read(part)
    assert isinstance(head, RobustHead)
    embedding, inputs = read_inputs(part)
    found = head.answer(decoder, inputs, head.fuse(embedding, clear), clear)
    masks, iou, features, tokens = part["outputs"][f"clear={clear}"]
    assert float(masks.std()) > 0.01
    torch.testing.assert_close(thin(found.logits[:, :1]), masks, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.iou[:, :1], iou, atol=1e-5, rtol=0)
    torch.testing.assert_close(thin(found.features), features, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.tokens, tokens, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["hq", "robust"])
def test_a_key_less_or_more_is_refused(reference: dict[str, Reference], name: str) -> None:
    part = reference[name]
    last = next(key for key in reversed(part["state"]) if key.endswith("weight"))
    less = {**part, "state": {k: v for k, v in part["state"].items() if k != last}}
    more = {**part, "state": {**part["state"], "extra.weight": torch.zeros(1)}}
    for wrong in (less, more):
        with pytest.raises(ModelError):
            read(wrong)
