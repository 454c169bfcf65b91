"""Times the steps of several `fit` calls that run in turns in one process.

Each `fit` has a thread; one of them runs at a time, for a block of steps. Other
load on the machine thus affects all of them, and ratios compare blocks that
follow each other.
"""

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tf_keras as keras

# Blocks of an epoch that are not timed: the first, which traces and fills
# caches, and the last, which can contain an event.
_UNCOUNTED = 2


@dataclasses.dataclass(frozen=True)
class Fit:
  """A `fit` that takes turns.

  Args:
    model: compiled.
    callbacks: of its own.
    data: batches without end.
  """

  model: keras.Model
  callbacks: Sequence[Any]
  data: Any


class _Turns:
  """Gives turns to `count` threads, in a fixed order."""

  def __init__(self, count: int):
    self._count = count
    self._next = 0
    self._left = set(range(count))
    self._changed = threading.Condition()
    self.error: BaseException | None = None

  def wait(self, number: int) -> None:
    with self._changed:
      self._changed.wait_for(lambda: self._next == number or self.error)
      if self.error is not None:
        raise RuntimeError('another fit failed') from self.error

  def pass_on(self) -> None:
    with self._changed:
      for _ in range(self._count):
        self._next = (self._next + 1) % self._count
        if self._next in self._left:
          break
      self._changed.notify_all()

  def leave(self, number: int, error: BaseException | None) -> None:
    with self._changed:
      self.error = self.error or error
      self._left.discard(number)
    self.pass_on()


class _TakesTurns(keras.callbacks.Callback):
  """Trains and times a block of steps in each of its turns."""

  _supports_tf_logs = True  # As the others: a step need not wait for its logs.

  def __init__(self, turns: _Turns, number: int, block: int):
    super().__init__()
    self._turns, self._number, self._block = turns, number, block
    self.seconds: list[list[float]] = []

  def on_train_begin(self, logs: Any = None) -> None:
    self._turns.wait(self._number)
    self._begin = time.perf_counter()

  def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
    self.seconds.append([])

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    if (batch + 1) % self._block:
      return
    float(logs['loss'])  # On an accelerator, the step is done now.
    took = time.perf_counter() - self._begin
    self.seconds[-1].append(took / self._block)
    self._turns.pass_on()
    self._turns.wait(self._number)
    self._begin = time.perf_counter()


def interleaved(
  fits: Mapping[str, Fit],
  epochs: int,
  block: int,
  repeats: int,
) -> dict[str, list[list[float]]]:
  """Trains all models in turns.

  Args:
    fits: by name.
    epochs: of each.
    block: steps of a turn.
    repeats: turns of an epoch that count.

  Returns:
    For each `fit` and epoch, the seconds of a step in each turn that counts.
  """
  turns = _Turns(len(fits))
  timers = {
    name: _TakesTurns(turns, number, block) for number, name in enumerate(fits)
  }

  def train(number: int, name: str, fit: Fit) -> None:
    error = None
    try:
      fit.model.fit(
        fit.data,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch(block, repeats),
        # The timer last, so that it does not time the other callbacks.
        callbacks=[*fit.callbacks, timers[name]],
        verbose=0,
      )
    except BaseException as caught:  # Else the others would wait for ever.
      error = caught
    turns.leave(number, error)

  threads = [
    threading.Thread(target=train, args=(number, name, fit), daemon=True)
    for number, (name, fit) in enumerate(fits.items())
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  if turns.error is not None:
    raise turns.error
  return {
    name: [seconds[1:-1] for seconds in timer.seconds]
    for name, timer in timers.items()
  }


def steps_per_epoch(block: int, repeats: int) -> int:
  """Returns how many steps an epoch must have."""
  return block * (repeats + _UNCOUNTED)


def alternating(
  calls: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, list[float]]:
  """Returns the seconds of each call, in turns; the first are not counted."""
  seconds: dict[str, list[float]] = {name: [] for name in calls}
  for repeat in range(repeats + 1):
    for name, call in calls.items():
      begin = time.perf_counter()
      call()
      if repeat:
        seconds[name].append(time.perf_counter() - begin)
  return seconds
