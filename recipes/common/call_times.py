"""Times functions in turn, and tells how many times as fast one of them is."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Call = Callable[[], Any]
PARTS = 5


def minima(
  calls: Mapping[str, Call], repeats: int, parts: int = PARTS
) -> dict[str, list[float]]:
  """Returns the least time of a call in each part of a run, in seconds.

  The functions are called in turn, so that other programs on the machine slow
  all of them down.

  Args:
    calls: functions by name.
    repeats: how often each is timed in all, at least `parts`.
    parts: how many parts the run has.
  """
  for call in calls.values():
    for _ in range(3):  # The first calls trace and allocate.
      call()
  found: dict[str, list[float]] = {name: [] for name in calls}
  for part in np.array_split(np.arange(repeats), parts):
    least = dict.fromkeys(calls, float('inf'))
    for _ in part:
      for name, call in calls.items():
        begin = time.perf_counter()
        call()
        least[name] = min(least[name], time.perf_counter() - begin)
    for name, seconds in least.items():
      found[name].append(seconds)
  return found


def ratio(
  times: Sequence[float], base: Sequence[float]
) -> tuple[float, float, float]:
  """Returns how many times as fast a function is as another, and the spread.

  Args:
    times: of the function, the least seconds of each part of a run.
    base: those of the other one, as many.

  Returns:
    The ratio of the least times, and the least and largest ratio of those of
    the parts of the run.

  >>> ratio([1.0, 1.0], [4.0, 2.0])
  (2.0, 2.0, 4.0)
  """
  ratios = [b / a for a, b in zip(times, base, strict=True)]
  return min(base) / min(times), min(ratios), max(ratios)
