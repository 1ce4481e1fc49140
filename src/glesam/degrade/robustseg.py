"""The 15 kinds of degradation of RobustSeg (RobustSAM, CVPR 2024), with severities 1 to 5 and masks that follow.

The published set holds one strength of each kind and leaves masks as they were even where pixels move. Here each kind
has five severities with formulas of our own; `Kind.published_severity` marks the one nearest to the published range.
PSNR against the clean image falls with severity for every kind.
"""

from __future__ import annotations

from types import MappingProxyType

from glesam.degrade.kind import Degrader, Kind, table
from glesam.degrade.kinds import blurs, colour, compression, geometric, sensor, weather

_SAME = "same formula and unit"
_OTHER = "other formula; the mark is by eye"

KINDS = MappingProxyType(
    table(
        Kind(
            "snow",
            weather.snow,
            {
                "veil_strength": (0.10, 0.20, 0.30, 0.42, 0.55),
                "flakes": (0.6, 1.0, 1.6, 2.4, 3.4),
                "size": (0.004, 0.0045, 0.005, 0.006, 0.007),
            },
            "own: white veil, flakes of three distances",
            f"brightening 1.0, snow point 0.3-0.7, flakes of density 0.35 ({_OTHER})",
            3,
        ),
        Kind(
            "fog",
            weather.fog,
            {"density": (0.35, 0.6, 0.9, 1.3, 1.8)},
            "Koschmieder 1924 with an optical depth in banks (own)",
            f"coefficient 0.1-0.2, alpha 0.08, over a cloud layer ({_OTHER})",
            3,
        ),
        Kind(
            "rain",
            weather.rain,
            {
                "darkening": (0.92, 0.84, 0.76, 0.68, 0.6),
                "mist": (0.05, 0.12, 0.2, 0.29, 0.4),
                "drops": (0.35, 0.6, 0.95, 1.4, 2.0),
                "length": (0.04, 0.05, 0.06, 0.075, 0.09),
            },
            "Garg & Nayar, IJCV 2007; layers own",
            f"drops 0.40-0.50, speed 0.05-0.10 ({_OTHER})",
            3,
        ),
        Kind(
            "gaussian_noise",
            sensor.gaussian_noise,
            {"variance": (60.0, 125.0, 255.0, 520.0, 1050.0)},
            "additive white Gaussian noise",
            f"variance 250-260 ({_SAME})",
            3,
        ),
        Kind(
            "iso_noise",
            sensor.iso_noise,
            {"colour_shift": (0.15, 0.25, 0.33, 0.4, 0.45), "intensity": (0.12, 0.22, 0.36, 0.54, 0.75)},
            "own: photon-like luma noise, blotchy chroma noise",
            "colour shift 0.4-0.5, intensity 0.7-0.8 (other formula; the mark is by equal PSNR)",
            5,
        ),
        Kind(
            "impulse_noise",
            sensor.impulse_noise,
            {"factor": (1.12, 1.27, 1.45, 1.7, 2.0)},
            "RobustSeg's own: multiplicative noise by another name",
            f"factor 1.4-1.5 ({_SAME})",
            3,
        ),
        Kind(
            "resampling_blur",
            blurs.resampling_blur,
            {"factor": (1.6, 2.5, 4.0, 6.0, 9.0)},
            "bilinear reduction and enlargement",
            f"factor 4 ({_SAME})",
            3,
        ),
        Kind(
            "motion_blur",
            blurs.motion_blur,
            {"length": (5.0, 11.0, 21.0, 35.0, 51.0)},
            "even straight movement",
            f"kernel up to 35 pixels ({_SAME})",
            4,
        ),
        Kind(
            "zoom_blur",
            blurs.zoom_blur,
            {"zoom": (1.04, 1.09, 1.18, 1.33, 1.6)},
            "Hendrycks & Dietterich, ICLR 2019 (zoom blur); symmetric about 1 (own)",
            f"zoom up to 1.33 in steps of 0.05-0.07 ({_SAME}, finer steps)",
            4,
        ),
        Kind(
            "colour_jitter",
            colour.colour_jitter,
            {
                "brightness": (0.1, 0.2, 0.35, 0.5, 0.7),
                "contrast": (0.06, 0.12, 0.18, 0.24, 0.3),
                "saturation": (0.1, 0.25, 0.4, 0.55, 0.7),
                "hue": (0.03, 0.08, 0.16, 0.28, 0.5),
            },
            "own: signed shifts in HSV",
            "brightness 0.7, contrast 0.3, saturation 0.7, hue 0.7 (same units; a hue of 0.5 is the whole circle)",
            5,
        ),
        Kind(
            "compression",
            compression.compression,
            {"quality": (40.0, 24.0, 14.0, 8.0, 4.0)},
            "JPEG (ITU-T T.81) as libjpeg writes it",
            f"quality 5-10 ({_SAME})",
            4,
        ),
        Kind(
            "elastic",
            geometric.elastic,
            {
                "alpha": (25.0, 60.0, 100.0, 150.0, 210.0),
                "sigma": (10.0, 10.0, 10.0, 10.0, 10.0),
                "affine": (1.0, 3.0, 5.0, 9.0, 14.0),
            },
            "Simard, Steinkraus & Platt, ICDAR 2003, section 2",
            f"alpha 100, sigma 10, affine 5 ({_SAME})",
            3,
            moves_pixels=True,
        ),
        Kind(
            "frosted_glass",
            geometric.frosted_glass,
            {"reach": (1.0, 2.0, 3.0, 5.0, 8.0)},
            "Hendrycks & Dietterich, ICLR 2019 (frosted glass); drawn, not swapped (own)",
            f"shift up to 3 pixels ({_SAME})",
            3,
            moves_pixels=True,
        ),
        Kind(
            "brightness",
            colour.brightness,
            {"factor": (0.9, 0.8, 0.7, 0.55, 0.4)},
            "scaling of sRGB values",
            f"factor 0.6-0.8 ({_SAME})",
            3,
        ),
        Kind(
            "contrast",
            colour.contrast,
            {"factor": (1.2, 1.4, 1.65, 2.0, 2.6)},
            "linear stretch about level 128",
            f"factor 1.6-1.7 ({_SAME})",
            3,
        ),
    )
)
"""The 15 kinds by name, in the order of the paper's list."""

degrade = Degrader(KINDS)
"""Degrade an image, and its mask along with it, by one of the 15 kinds; see `Degrader.__call__`."""
