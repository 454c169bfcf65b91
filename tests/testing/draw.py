"""Draw: choices by a seed, or by hypothesis.

Tests draw by hypothesis, which finds the smallest case that fails. The programs
of tests/stress draw by seeds: their cases run in processes that may hang or
die, and hypothesis would end with them.
"""

from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
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


class HypothesisDraw(Draw):
  """Draws choices by hypothesis; the first option is the simplest.

  Args:
    data: what a test is given by `st.data()`.
  """

  def __init__(self, data: st.DataObject):
    self._data = data

  def chance(self, probability: float) -> bool:
    """Returns whether something of that probability happens."""
    return self.whole(0, 99) >= 100 * (1 - probability)

  def whole(self, low: int, high: int) -> int:
    """Returns a whole number in [low, high]."""
    return self._data.draw(st.integers(low, high))
