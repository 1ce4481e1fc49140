"""What forked processes need to use torch and OpenCV."""

from __future__ import annotations

import functools
import os
import sys


@functools.cache
def survive_forks() -> None:
    """Let processes that are forked from this one from now on compute on one thread each.

    A fork copies memory, but no threads: torch and OpenCV would wait forever for the pools of threads that they had in
    the parent. So `multiprocessing.Pool` may be used after a prediction, on the CPU. CUDA cannot be used in a forked
    process; there torch says so.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_compute_alone)


def _compute_alone() -> None:
    torch, cv2 = sys.modules.get("torch"), sys.modules.get("cv2")
    if torch is not None:
        torch.set_num_threads(1)
    if cv2 is not None:
        cv2.setNumThreads(0)  # not 1, which would wait for the threads of the parent
