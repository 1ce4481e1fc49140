"""Modules whose weights come from a file are built without drawing random ones first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch.overrides import TorchFunctionMode


class Undrawn(TorchFunctionMode):
    """Within it, the functions of `torch.nn.init` that draw leave a tensor's memory as it is: of no known value.

    Only for modules all of whose weights are loaded next, every key accounted for. Torch's random generator is left
    where it was too. Drawing took a third of the time of loading the bundled model.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Answer an initialiser with its tensor, and everything else as ever."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
