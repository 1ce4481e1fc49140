"""Real-world kinds of low quality, beyond the synthetic ones of both papers; severities 1 to 5, masks that follow.

They are models of what happens to photographs: too little light, water, haze, a lens out of focus, a swinging camera
with a rolling shutter, sites that code again, old film. Sizes are shares of the short side, so that a kind looks alike
on images of any size. PSNR against the clean image falls with severity for every kind.
"""

from __future__ import annotations

from types import MappingProxyType

from glesam.degrade.kind import Degrader, Kind, table
from glesam.degrade.kinds.haze import haze
from glesam.degrade.kinds.lens import defocus, rolling_motion
from glesam.degrade.kinds.low_light import low_light
from glesam.degrade.kinds.old_film import old_film
from glesam.degrade.kinds.recompression import recompression
from glesam.degrade.kinds.underwater import underwater

KINDS = MappingProxyType(
    table(
        Kind(
            "low_light",
            low_light,
            {
                "stops": (1.0, 1.75, 2.5, 3.25, 4.0),
                "lift": (0.4, 0.7, 1.0, 1.3, 1.6),
                "shot": (0.0008, 0.0015, 0.0025, 0.004, 0.006),
            },
            "Brooks et al., CVPR 2019; banding: Wei et al., CVPR 2020",
        ),
        Kind(
            "underwater",
            underwater,
            {
                "distance": (2.0, 3.5, 5.5, 8.0, 11.0),
                "depth": (1.5, 3.0, 5.0, 8.0, 12.0),
                "turbidity": (0.03, 0.045, 0.06, 0.08, 0.1),
                "blur": (0.003, 0.005, 0.008, 0.012, 0.017),
                "snow": (0.1, 0.2, 0.35, 0.5, 0.7),
            },
            "Akkaynak & Treibitz, CVPR 2018; coefficients: Chiang & Chen, IEEE TIP 2012",
        ),
        Kind(
            "haze",
            haze,
            {"beta": (0.35, 0.7, 1.2, 1.8, 2.6)},
            "Koschmieder 1924 as in RESIDE (Li et al., IEEE TIP 2019); depth: Zhu et al., IEEE TIP 2015",
        ),
        Kind(
            "defocus",
            defocus,
            {"radius": (0.005, 0.009, 0.015, 0.023, 0.034)},
            "Potmesil & Chakravarty, SIGGRAPH 1981",
        ),
        Kind(
            "rolling_motion",
            rolling_motion,
            {
                "skew": (0.03, 0.06, 0.1, 0.15, 0.21),
                "wobble": (0.003, 0.005, 0.008, 0.012, 0.017),
                "exposure": (0.05, 0.08, 0.11, 0.14, 0.17),
            },
            "Forssén & Ringaby, CVPR 2010, translations only",
            moves_pixels=True,
        ),
        Kind(
            "recompression",
            recompression,
            {
                "rounds": (1.0, 2.0, 3.0, 4.0, 6.0),
                "scale": (0.85, 0.7, 0.55, 0.42, 0.3),
                "quality": (70.0, 55.0, 42.0, 30.0, 20.0),
            },
            "Pasquini et al., EURASIP J. Inf. Security 2021",
        ),
        Kind(
            "old_film",
            old_film,
            {
                "fade": (0.2, 0.4, 0.6, 0.8, 1.0),
                "grain": (0.04, 0.065, 0.095, 0.125, 0.16),
                "scratches": (1.0, 2.0, 4.0, 6.0, 9.0),
                "dust": (0.05, 0.12, 0.25, 0.45, 0.7),
            },
            "Newson et al., Computer Graphics Forum 2017 (grain); Joyeux et al., CVPR 1999 (scratches)",
        ),
    )
)
"""The seven kinds by name."""

degrade = Degrader(KINDS)
"""Degrade an image, and its mask along with it, by one of the seven kinds; see `Degrader.__call__`."""
