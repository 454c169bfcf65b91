"""Times the events of a run: masks, snapshots, rewinds, checkpoints."""

import tempfile
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import tf_keras as keras

import tf_unilth
from recipes.costs import step_times
from tf_unilth.engines.tfmot import variable_bytes
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.resume.resumable_fit import ResumableFit
from tf_unilth.selection import mask_selection


def _timed(save: Callable[..., None], seconds: list[float]) -> Any:
  """Returns a function that saves, and adds its time to `seconds`."""

  def timed_save(*args: Any) -> None:
    begin = time.perf_counter()
    save(*args)
    seconds.append(time.perf_counter() - begin)

  return timed_save


def measure(model: keras.Model, repeats: int) -> dict[str, list[float]]:
  """Returns the seconds of each event.

  Args:
    model: wrapped, and trained.
    repeats: how often each is timed.
  """
  layers = PrunedLayers(model)
  variables = [*layers.model_weights, *model.optimizer.variables()]
  snapshot, before = variable_bytes.read(variables), layers.read_masks()
  sparsity = 1 - sum(map(np.sum, before)) / sum(mask.size for mask in before)

  def update_masks() -> None:
    # Prunes half of the remaining weights; the rewind restores them.
    new = mask_selection.select(
      layers.read_weights(), before, (1 + sparsity) / 2, 'global'
    )
    layers.assign_masks(new)

  seconds = step_times.alternating(
    {
      'snapshot': lambda: variable_bytes.read(variables),
      'mask update': update_masks,
      'rewind': lambda: variable_bytes.write(variables, snapshot),
    },
    repeats,
  )
  return {**seconds, 'checkpoint': _checkpoints(model, repeats)}


def _checkpoints(model: keras.Model, repeats: int) -> list[float]:
  shape = (1, *model.input_shape[1:])
  data = np.zeros(shape, np.float32), np.zeros(1, np.int64)
  seconds: list[float] = []
  save = _timed(ResumableFit._save, seconds)
  with (
    tempfile.TemporaryDirectory() as directory,
    mock.patch.object(ResumableFit, '_save', save),
  ):
    resume = tf_unilth.CheckpointAndResume(directory, verbose=0)
    model.fit(*data, epochs=repeats + 1, callbacks=[resume], verbose=0)
  return seconds[1:]
