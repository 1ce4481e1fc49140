"""Names of the authors' weights and of transformers' for the same tensors, as tables of (regex, replacement).

Every key of a file must match exactly one row in full. The names follow the modules of the authors' releases of SAM
and SAM 2, in which `nn.Sequential` and MLP layers are numbered; transformers gives each layer a name.
"""

from __future__ import annotations

Rule = tuple[str, str]

SAM_MARK = "image_encoder.patch_embed.proj.weight"
MOBILE_MARK = "image_encoder.patch_embed.seq.0.c.weight"
SAM2_MARK = "image_encoder.trunk.patch_embed.proj.weight"
"""A key of each family that the others do not have."""


def _leaves(*pairs: Rule) -> tuple[Rule, ...]:
    """Rules for layers with a weight and a bias; the leaf is the last group."""
    return tuple((rf"{old}\.(?P<leaf>weight|bias)", rf"{new}.\g<leaf>") for old, new in pairs)


def _prompt_encoder(old: str) -> tuple[Rule, ...]:
    """Rows for the prompt encoder, which SAM and SAM 2 name alike but for its prefix."""
    return (
        (rf"{old}\.pe_layer\.positional_encoding_gaussian_matrix", "shared_image_embedding.positional_embedding"),
        (rf"{old}\.point_embeddings\.([0-3])\.weight", r"prompt_encoder.point_embed.\1.weight"),
        (rf"{old}\.(not_a_point_embed|no_mask_embed)\.weight", r"prompt_encoder.\1.weight"),
        *_leaves(
            (rf"{old}\.mask_downscaling\.0", "prompt_encoder.mask_embed.conv1"),
            (rf"{old}\.mask_downscaling\.1", "prompt_encoder.mask_embed.layer_norm1"),
            (rf"{old}\.mask_downscaling\.3", "prompt_encoder.mask_embed.conv2"),
            (rf"{old}\.mask_downscaling\.4", "prompt_encoder.mask_embed.layer_norm2"),
            (rf"{old}\.mask_downscaling\.6", "prompt_encoder.mask_embed.conv3"),
        ),
    )


def _mask_decoder(old: str, output_projection: str) -> tuple[Rule, ...]:
    """Rows for the mask decoder as far as SAM and SAM 2 agree."""
    layer, new = rf"{old}\.transformer\.layers\.(\d+)", r"mask_decoder.transformer.layers.\1"
    attention = r"(self_attn|cross_attn_token_to_image|cross_attn_image_to_token)"
    final, new_final = (
        rf"{old}\.transformer\.final_attn_token_to_image",
        ("mask_decoder.transformer.final_attn_token_to_image"),
    )
    return (
        (rf"{old}\.(iou_token|mask_tokens)\.weight", r"mask_decoder.\1.weight"),
        *_leaves(
            (rf"{layer}\.{attention}\.([qkv])_proj", rf"{new}.\2.\3_proj"),
            (rf"{layer}\.{attention}\.out_proj", rf"{new}.\2.{output_projection}"),
            (rf"{layer}\.norm([1-4])", rf"{new}.layer_norm\2"),
            (rf"{final}\.([qkv])_proj", rf"{new_final}.\1_proj"),
            (rf"{final}\.out_proj", rf"{new_final}.{output_projection}"),
            (rf"{old}\.transformer\.norm_final_attn", "mask_decoder.transformer.layer_norm_final_attn"),
            (rf"{old}\.output_upscaling\.0", "mask_decoder.upscale_conv1"),
            (rf"{old}\.output_upscaling\.1", "mask_decoder.upscale_layer_norm"),
            (rf"{old}\.output_upscaling\.3", "mask_decoder.upscale_conv2"),
        ),
        *mlp3(rf"{old}\.output_hypernetworks_mlps\.(\d+)", r"mask_decoder.output_hypernetworks_mlps.\1"),
        *mlp3(rf"{old}\.iou_prediction_head", "mask_decoder.iou_prediction_head"),
    )


def mlp3(old: str, new: str) -> tuple[Rule, ...]:
    """Rows for an MLP of three layers."""
    names = ("proj_in", "layers.0", "proj_out")
    return _leaves(*((rf"{old}\.layers\.{i}", f"{new}.{name}") for i, name in enumerate(names)))


_MLP = r"mask_decoder\.transformer\.layers\.(\d+)\.mlp\.lin([12])"

SAM_RULES: tuple[Rule, ...] = (
    (r"image_encoder\.pos_embed", "vision_encoder.pos_embed"),
    (r"image_encoder\.blocks\.(\d+)\.attn\.(rel_pos_[hw])", r"vision_encoder.layers.\1.attn.\2"),
    (r"image_encoder\.neck\.0\.weight", "vision_encoder.neck.conv1.weight"),
    (r"image_encoder\.neck\.2\.weight", "vision_encoder.neck.conv2.weight"),
    *_leaves(
        (r"image_encoder\.neck\.1", "vision_encoder.neck.layer_norm1"),
        (r"image_encoder\.neck\.3", "vision_encoder.neck.layer_norm2"),
        (r"image_encoder\.patch_embed\.proj", "vision_encoder.patch_embed.projection"),
        (r"image_encoder\.blocks\.(\d+)\.norm([12])", r"vision_encoder.layers.\1.layer_norm\2"),
        (r"image_encoder\.blocks\.(\d+)\.attn\.(qkv|proj)", r"vision_encoder.layers.\1.attn.\2"),
        (r"image_encoder\.blocks\.(\d+)\.mlp\.lin([12])", r"vision_encoder.layers.\1.mlp.lin\2"),
        (_MLP, r"mask_decoder.transformer.layers.\1.mlp.lin\2"),
    ),
    *_prompt_encoder("prompt_encoder"),
    *_mask_decoder("mask_decoder", "out_proj"),
)

MOBILE_RULES: tuple[Rule, ...] = (
    # Our TinyViT bears the authors' names.
    (r"image_encoder\.((?:patch_embed|layers|neck)\..+)", r"vision_encoder.\1"),
    *_leaves((_MLP, r"mask_decoder.transformer.layers.\1.mlp.lin\2")),
    *_prompt_encoder("prompt_encoder"),
    *_mask_decoder("mask_decoder", "out_proj"),
)

SAM2_RULES: tuple[Rule, ...] = (
    (r"image_encoder\.trunk\.(pos_embed|pos_embed_window)", r"vision_encoder.backbone.\1"),
    (r"no_mem_embed", "no_memory_embedding"),
    (r"sam_mask_decoder\.obj_score_token\.weight", "mask_decoder.obj_score_token.weight"),
    *_leaves(
        (r"image_encoder\.trunk\.patch_embed\.proj", "vision_encoder.backbone.patch_embed.projection"),
        (r"image_encoder\.trunk\.blocks\.(\d+)\.norm([12])", r"vision_encoder.backbone.blocks.\1.layer_norm\2"),
        (r"image_encoder\.trunk\.blocks\.(\d+)\.attn\.(qkv|proj)", r"vision_encoder.backbone.blocks.\1.attn.\2"),
        (r"image_encoder\.trunk\.blocks\.(\d+)\.mlp\.layers\.0", r"vision_encoder.backbone.blocks.\1.mlp.proj_in"),
        (r"image_encoder\.trunk\.blocks\.(\d+)\.mlp\.layers\.1", r"vision_encoder.backbone.blocks.\1.mlp.proj_out"),
        (r"image_encoder\.trunk\.blocks\.(\d+)\.proj", r"vision_encoder.backbone.blocks.\1.proj"),
        (r"image_encoder\.neck\.convs\.(\d+)\.conv", r"vision_encoder.neck.convs.\1"),
        (
            r"sam_mask_decoder\.transformer\.layers\.(\d+)\.mlp\.layers\.0",
            r"mask_decoder.transformer.layers.\1.mlp.proj_in",
        ),
        (
            r"sam_mask_decoder\.transformer\.layers\.(\d+)\.mlp\.layers\.1",
            r"mask_decoder.transformer.layers.\1.mlp.proj_out",
        ),
        (r"sam_mask_decoder\.conv_s([01])", r"mask_decoder.conv_s\1"),
    ),
    *mlp3(r"sam_mask_decoder\.pred_obj_score_head", "mask_decoder.pred_obj_score_head"),
    *_prompt_encoder("sam_prompt_encoder"),
    *_mask_decoder("sam_mask_decoder", "o_proj"),
)

_MEMORY_BLOCK = r"memory_attention\.layers\.(\d+)"

SAM2_MEMORY_RULES: tuple[Rule, ...] = (
    (r"no_mem_pos_enc", "no_memory_positional_encoding"),
    (r"maskmem_tpos_enc", "memory_temporal_positional_encoding"),
    (r"no_obj_ptr", "no_object_pointer"),
    (r"no_obj_embed_spatial", "occlusion_spatial_embedding_parameter"),
    (r"memory_encoder\.fuser\.layers\.(\d+)\.gamma", r"memory_encoder.memory_fuser.layers.\1.scale"),
    *_leaves(
        (rf"{_MEMORY_BLOCK}\.(self_attn|cross_attn_image)\.([qkv])_proj", r"memory_attention.layers.\1.\2.\3_proj"),
        (rf"{_MEMORY_BLOCK}\.(self_attn|cross_attn_image)\.out_proj", r"memory_attention.layers.\1.\2.o_proj"),
        (rf"{_MEMORY_BLOCK}\.linear([12])", r"memory_attention.layers.\1.linear\2"),
        (rf"{_MEMORY_BLOCK}\.norm([1-3])", r"memory_attention.layers.\1.layer_norm\2"),
        (r"memory_attention\.norm", "memory_attention.layer_norm"),
        *(
            (
                rf"memory_encoder\.mask_downsampler\.encoder\.{3 * i + j}",
                f"memory_encoder.mask_downsampler.layers.{i}.{name}",
            )
            for i in range(4)
            for j, name in enumerate(("conv", "layer_norm"))
        ),
        (r"memory_encoder\.mask_downsampler\.encoder\.12", "memory_encoder.mask_downsampler.final_conv"),
        (r"memory_encoder\.pix_feat_proj", "memory_encoder.feature_projection"),
        (r"memory_encoder\.fuser\.layers\.(\d+)\.dwconv", r"memory_encoder.memory_fuser.layers.\1.depthwise_conv"),
        (r"memory_encoder\.fuser\.layers\.(\d+)\.norm", r"memory_encoder.memory_fuser.layers.\1.layer_norm"),
        (
            r"memory_encoder\.fuser\.layers\.(\d+)\.pwconv([12])",
            r"memory_encoder.memory_fuser.layers.\1.pointwise_conv\2",
        ),
        (r"memory_encoder\.out_proj", "memory_encoder.projection"),
        (r"mask_downsample", "mask_downsample"),
        (r"obj_ptr_tpos_proj", "temporal_positional_encoding_projection_layer"),
    ),
    *mlp3(r"obj_ptr_proj", "object_pointer_proj"),
)
"""The memory that tracks objects through a clip."""

SAM_IGNORED: tuple[str, ...] = (r"pixel_mean", r"pixel_std")
"""Constants of normalisation, which `preprocess` holds."""

MOBILE_IGNORED: tuple[str, ...] = (*SAM_IGNORED, r"image_encoder\.(norm_head|head)\.(weight|bias)")
"""And the classifier that TinyViT was pre-trained with, which MobileSAM's files hold but do not use."""

SAM2_IGNORED: tuple[str, ...] = (
    r"memory_attention\..+",
    r"memory_encoder\..+",
    r"maskmem_tpos_enc",
    r"no_mem_pos_enc",
    r"no_obj_ptr",
    r"no_obj_embed_spatial",
    r"mask_downsample\..+",
    r"obj_ptr_proj\..+",
    r"obj_ptr_tpos_proj\..+",
)
"""The memory that tracks objects through a video; single images do not use it."""

SAM2_STACKED = {"prompt_encoder.point_embed.weight": tuple(f"prompt_encoder.point_embed.{i}.weight" for i in range(4))}
"""SAM 2 in transformers holds the four kinds of points (background, foreground, two corners) in one table."""

SAM2_SIZES: dict[tuple[int, int], dict[str, object]] = {
    (96, 12): {  # tiny
        "blocks_per_stage": [1, 2, 7, 2],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "global_attention_blocks": [5, 7, 9],
        "window_size_per_stage": [8, 4, 14, 7],
        "window_positional_embedding_background_size": [7, 7],
    },
    (96, 16): {  # small
        "blocks_per_stage": [1, 2, 11, 2],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "global_attention_blocks": [7, 10, 13],
        "window_size_per_stage": [8, 4, 14, 7],
        "window_positional_embedding_background_size": [7, 7],
    },
    (112, 24): {  # base-plus
        "blocks_per_stage": [2, 3, 16, 3],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "global_attention_blocks": [12, 16, 20],
        "window_size_per_stage": [8, 4, 14, 7],
        "window_positional_embedding_background_size": [14, 14],
    },
    (144, 48): {  # large
        "blocks_per_stage": [2, 6, 36, 4],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "global_attention_blocks": [23, 33, 43],
        "window_size_per_stage": [8, 4, 16, 8],
        "window_positional_embedding_background_size": [7, 7],
    },
}
"""Hiera's sizes by (width of the first stage, number of blocks); heads and windows leave no trace in the tensors."""
