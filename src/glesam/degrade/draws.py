"""Named random draws: one place where a degradation gets its chances, so that an image can be explained and redone.

A `Draws` wraps one seeded generator. Every draw has a name, is written into an ordered record, and can be replayed
from that record later: the same names in the same order give the same values, hence the same bytes, without the seed.
Whole noise fields are not written out; their own small seed is (`Draws.field`), which comes to the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeVar, cast

import numpy as np

from glesam.common.stopping import check
from glesam.errors import ConfigError, DataError

DrawValue: TypeAlias = bool | int | float | str
"""What one draw may be: JSON holds each of these without loss."""

DrawRecord: TypeAlias = dict[str, DrawValue]
"""Name of each draw to its value, in the order drawn; JSON-ready and deterministic for a given seed."""

_Option = TypeVar("_Option", bool, int, float, str)
# 53 bits: the largest whole number that every JSON reader (JavaScript's included) keeps exactly.
_FIELD_SEEDS = 2**53


class Draws:
    """Seeded, named and recorded random draws.

    Args:
        seed: whole number >= 0.

    Raises:
        ConfigError: `seed` is not a whole number >= 0.
    """

    def __init__(self, seed: int) -> None:
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ConfigError(f"expected a seed that is a whole number >= 0, got {seed!r}; pass e.g. seed=0")
        self._rng: np.random.Generator = np.random.Generator(np.random.PCG64(int(seed)))
        self._script: DrawRecord | None = None
        self._record: DrawRecord = {}

    @classmethod
    def replay(cls, record: Mapping[str, DrawValue]) -> Draws:
        """Draws that give back the values of `record` instead of drawing; names must come in the recorded order."""
        draws = cls(0)
        draws._script = dict(record)
        return draws

    @property
    def record(self) -> DrawRecord:
        """A copy of all draws so far, in order."""
        return dict(self._record)

    def uniform(self, name: str, low: float, high: float) -> float:
        """Real number, even over `[low, high)`; `low` itself when both are equal."""
        value = self._scripted(name)
        return float(self._keep(name, low + (high - low) * float(self._rng.random()) if value is None else value))

    def normal(self, name: str, mean: float = 0.0, deviation: float = 1.0) -> float:
        """Real number from a normal distribution."""
        value = self._scripted(name)
        return float(
            self._keep(name, mean + deviation * float(self._rng.standard_normal()) if value is None else value)
        )

    def integer(self, name: str, low: int, high: int) -> int:
        """Whole number, even over `low..high`, both included."""
        value = self._scripted(name)
        return int(self._keep(name, int(self._rng.integers(low, high + 1)) if value is None else value))

    def flag(self, name: str, probability: float) -> bool:
        """True with the given probability."""
        value = self._scripted(name)
        return bool(self._keep(name, bool(self._rng.random() < probability) if value is None else value))

    def choice(self, name: str, options: Sequence[_Option], weights: Sequence[float] | None = None) -> _Option:
        """One of `options`; `weights` need not sum to one, and are even when not given."""
        value = self._scripted(name)
        if value is not None:
            return cast("_Option", self._keep(name, value))
        edges = np.cumsum(np.ones(len(options)) if weights is None else np.asarray(weights, dtype=np.float64))
        index = int(np.searchsorted(edges, self._rng.random() * edges[-1], side="right"))
        return cast("_Option", self._keep(name, options[min(index, len(options) - 1)]))

    def field(self, name: str) -> np.random.Generator:
        """A fresh generator for a whole field of noise; only its seed is drawn and recorded."""
        value = self._scripted(name)
        seed = int(self._keep(name, int(self._rng.integers(0, _FIELD_SEEDS)) if value is None else value))
        return np.random.Generator(np.random.PCG64(seed))

    def _keep(self, name: str, value: DrawValue) -> DrawValue:
        """Write one draw into the record; each begins a step of work that somebody may have given up."""
        check()
        if name in self._record:
            raise ConfigError(f"expected each draw to have its own name, got {name!r} twice; number the repeats")
        self._record[name] = value
        return value

    def _scripted(self, name: str) -> DrawValue | None:
        """The recorded value of the next draw, or None when values are drawn afresh."""
        if self._script is None:
            return None
        if name not in self._script:
            raise DataError(f"expected the record to hold the draw {name!r}, it does not; use the record's own recipe")
        return self._script[name]
