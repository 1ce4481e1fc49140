import math

import numpy as np
from skimage.metrics import peak_signal_noise_ratio

from glesam.restore.quality import psnr


def test_psnr_is_skimages() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, (20, 30, 3), dtype=np.uint8) for _ in range(2))
    assert abs(psnr(first, second) - peak_signal_noise_ratio(first, second)) < 1e-9
    assert psnr(first, first) == math.inf
