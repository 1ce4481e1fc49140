"""The table of models that glesam knows by name; imported without torch, since `glesam models` prints it."""

from __future__ import annotations

from dataclasses import dataclass

_SAM_URL = "https://dl.fbaipublicfiles.com/segment_anything/"
_SAM2_URLS = {
    "sam2": "https://dl.fbaipublicfiles.com/segment_anything_2/072824/",
    "sam2.1": "https://dl.fbaipublicfiles.com/segment_anything_2/092824/",
}


@dataclass(frozen=True)
class Preset:
    """A model known by name.

    Attributes:
        name: what the user types.
        family: key of `FAMILIES`.
        source: hub id, `package` for the bundled model, or empty where the hub has no folder that can be loaded.
        licence: of the weights.
        size: bytes of the authors' original file; None for the bundled model, whose file says it.
        sha256: of the authors' original file, as published by several projects that pin it; None for the bundled
            model, whose digest is in its `config.json`. Digests of the hub's files are not known here.
        original_file: name of the authors' original file, for download by hand; empty for the bundled model.
        original_url: folder of that file on the authors' server.
    """

    name: str
    family: str
    source: str
    licence: str
    size: int | None = None
    sha256: str | None = None
    original_file: str = ""
    original_url: str = ""


def _meta(name: str, hub_id: str, size: int, original_file: str, digest: str) -> Preset:
    family, url = ("sam2", _SAM2_URLS[name.split("-")[0]]) if name.startswith("sam2") else ("sam", _SAM_URL)
    return Preset(name, family, f"facebook/{hub_id}", "Apache-2.0", size, digest, original_file, url)


PRESETS = (
    Preset("compact", "compact", "package", "see the model card: some training sets allow research only"),
    Preset(
        "mobile-sam",
        "mobile-sam",
        "",
        "Apache-2.0",
        40_728_226,
        "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        "mobile_sam.pt",
        "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/",
    ),
    _meta(
        "sam-vit-b",
        "sam-vit-base",
        375_042_383,
        "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    _meta(
        "sam-vit-l",
        "sam-vit-large",
        1_249_524_607,
        "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    _meta(
        "sam-vit-h",
        "sam-vit-huge",
        2_564_550_879,
        "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
    _meta(
        "sam2.1-hiera-tiny",
        "sam2.1-hiera-tiny",
        156_008_466,
        "sam2.1_hiera_tiny.pt",
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
    ),
    _meta(
        "sam2.1-hiera-small",
        "sam2.1-hiera-small",
        184_416_285,
        "sam2.1_hiera_small.pt",
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
    ),
    _meta(
        "sam2.1-hiera-base-plus",
        "sam2.1-hiera-base-plus",
        323_606_802,
        "sam2.1_hiera_base_plus.pt",
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
    ),
    _meta(
        "sam2.1-hiera-large",
        "sam2.1-hiera-large",
        898_083_611,
        "sam2.1_hiera_large.pt",
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
    ),
    _meta(
        "sam2-hiera-tiny",
        "sam2-hiera-tiny",
        155_906_050,
        "sam2_hiera_tiny.pt",
        "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
    ),
    _meta(
        "sam2-hiera-small",
        "sam2-hiera-small",
        184_309_650,
        "sam2_hiera_small.pt",
        "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
    ),
    _meta(
        "sam2-hiera-base-plus",
        "sam2-hiera-base-plus",
        323_493_298,
        "sam2_hiera_base_plus.pt",
        "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
    ),
    _meta(
        "sam2-hiera-large",
        "sam2-hiera-large",
        897_952_466,
        "sam2_hiera_large.pt",
        "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
    ),
)
