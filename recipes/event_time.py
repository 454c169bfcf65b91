"""How long the events of a run take: masks, snapshots, rewinds, checkpoints."""

import tempfile
import time
from typing import Any

import numpy as np
import tf_keras as keras

import tf_unilth
from recipes import step_time
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.engines.tfmot.snapshots import Snapshot
from tf_unilth.selection import mask_selection


class _TimedCheckpoints(tf_unilth.CheckpointAndResume):
  """Notes how long each checkpoint takes."""

  def __init__(self, directory: str):
    super().__init__(directory, verbose=0)
    self.seconds: list[float] = []

  def _save(self, *args: Any) -> None:
    begin = time.perf_counter()
    super()._save(*args)
    self.seconds.append(time.perf_counter() - begin)


def measure(model: keras.Model, repeats: int) -> dict[str, list[float]]:
  """Returns the seconds of each event.

  Args:
    model: wrapped, and trained.
    repeats: how often each is timed.
  """
  layers = PrunedLayers(model)
  variables = [*layers.model_weights, *model.optimizer.variables()]
  snapshot, before = Snapshot(), layers.read_masks()
  sparsity = 1 - sum(map(np.sum, before)) / sum(mask.size for mask in before)

  def update_masks() -> None:
    # Half of what is left goes, as in a round; the rewind puts it back.
    new = mask_selection.select(
      layers.read_weights(), before, (1 + sparsity) / 2, 'global'
    )
    layers.assign_masks(new)

  seconds = step_time.alternating(
    {
      'snapshot': lambda: snapshot.take(variables, epoch=0),
      'mask update': update_masks,
      'rewind': lambda: snapshot.restore(variables),
    },
    repeats,
  )
  return {**seconds, 'checkpoint': _checkpoints(model, repeats)}


def _checkpoints(model: keras.Model, repeats: int) -> list[float]:
  shape = (1, *model.input_shape[1:])
  data = np.zeros(shape, np.float32), np.zeros(1, np.int64)
  with tempfile.TemporaryDirectory() as directory:
    timer = _TimedCheckpoints(directory)
    model.fit(*data, epochs=repeats + 1, callbacks=[timer], verbose=0)
  return timer.seconds[1:]
