"""Whether memory and open files grow over the rounds of one process."""

import os
import pathlib
import resource
from collections.abc import Mapping
from typing import Any

import tf_keras as keras

import tf_unilth
from tests.testing import toys

_WARM_UP = 5  # Rounds in which TensorFlow and Python fill their pools.


class Usage(keras.callbacks.Callback):
  """Records resident memory, in bytes, and open files after each round."""

  def __init__(self) -> None:
    super().__init__()
    self.rounds: dict[int, tuple[int, int]] = {}

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    resident = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
    files = len(os.listdir('/proc/self/fd'))
    self.rounds[logs['round']] = resident * resource.getpagesize(), files


def measure(folder: pathlib.Path, rounds: int) -> dict[int, tuple[int, int]]:
  """Returns memory and open files by round, with a checkpoint per epoch."""
  keras.utils.set_random_seed(1)
  schedule = tf_unilth.IterativeSparsity(0.9, rounds=rounds)
  model = keras.Sequential(
    [
      keras.layers.Input((6, 6, 1)),
      keras.layers.Flatten(),
      keras.layers.Dense(600, activation='relu'),
      keras.layers.Dense(600, activation='relu'),
      keras.layers.Dense(2),
    ]
  )
  model = tf_unilth.prune_low_magnitude(model, schedule)
  toys.compiled_for_labels(model)
  usage = Usage()
  ticket = tf_unilth.LTH(verbose=0)
  resume = tf_unilth.CheckpointAndResume(folder / 'memory', verbose=0)
  toys.fit(model, ticket, usage, resume, epochs=3 * (rounds + 1))
  return usage.rounds


def line(found: Mapping[int, tuple[int, int]]) -> str:
  """Returns in words how what `measure` found has grown."""
  rounds = max(found)
  (before, files), (after, files_after) = found[_WARM_UP], found[rounds]
  growth = (after - before) / before
  return (
    f'memory from round {_WARM_UP} to {rounds}: {before / 2**20:.0f} to '
    f'{after / 2**20:.0f} MiB ({growth:+.1%}); open files: {files} to '
    f'{files_after}'
  )
