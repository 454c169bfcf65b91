"""Draw: choices that are a pure function of a seed."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class Draw:
  """Draws choices.

  Args:
    *seed: whole numbers; equal ones draw the same.
  """

  def __init__(self, *seed: int):
    self.rng = np.random.default_rng(seed)

  def chance(self, probability: float) -> bool:
    """Returns whether something of that probability happens."""
    return bool(self.rng.random() < probability)

  def whole(self, low: int, high: int) -> int:
    """Returns a whole number in [low, high]."""
    return int(self.rng.integers(low, high + 1))

  def one(self, options: Sequence[Any]) -> Any:
    """Returns one of the options; write one more often to favour it."""
    return options[self.whole(0, len(options) - 1)]

  def maybe(self, probability: float, value: Any, other: Any = None) -> Any:
    """Returns a value with that probability, else the other."""
    return value if self.chance(probability) else other
