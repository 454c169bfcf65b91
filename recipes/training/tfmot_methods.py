"""The baselines that prune by tfmot: gradual and one-shot magnitude pruning."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras as keras

from recipes.training.method_settings import (
  GRADUAL_UPDATES,
  Settings,
  TrainingSetup,
)
from tf_unilth import inspection

_sparsity = tfmot.sparsity.keras


class _RestartAt(keras.callbacks.Callback):
  """Restarts a `StagedLearningRate` at a step, for tfmot's methods."""

  def __init__(self, rate: Any, step: int, steps: int):
    super().__init__()
    self._rate, self._step, self._steps = rate, step, steps
    self._restarted = False

  def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
    self._restart_if_due()  # In an earlier process, if the run goes on.

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    self._restart_if_due()

  def _restart_if_due(self) -> None:
    if self._restarted:
      return
    if self.model.optimizer.iterations.numpy() >= self._step:
      self._rate.restart(self._step, self._steps - self._step)
      self._restarted = True


class _SparsityLog(keras.callbacks.Callback):
  """Puts the sparsity into the epoch logs, as ticket callbacks do."""

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    kernels = inspection.read_kernels(self.model)
    masks = [kernel.mask for kernel in kernels if kernel.mask is not None]
    kept = sum(int(np.count_nonzero(mask)) for mask in masks)
    logs['sparsity'] = 1 - kept / sum(mask.size for mask in masks)


def _tfmot_setup(
  settings: Settings, schedule: Any, begin: int
) -> TrainingSetup:
  callbacks = [_sparsity.UpdatePruningStep(), _SparsityLog()]
  if settings.lr_restart:
    callbacks.append(_RestartAt(settings.rate, begin, settings.steps))
  return TrainingSetup(schedule, callbacks)


def _gmp(settings: Settings) -> TrainingSetup:
  share, end_share = settings.gradual_span
  begin = round(share * settings.steps)
  updates = max(1, round((end_share - share) * settings.steps))
  frequency = max(1, updates // GRADUAL_UPDATES)
  # The end must be a step at which tfmot updates, or it misses the target.
  end = begin + updates // frequency * frequency
  schedule = _sparsity.PolynomialDecay(
    0.0, settings.target_sparsity, begin, end, frequency=frequency
  )
  return _tfmot_setup(settings, schedule, begin)


def _oneshot(settings: Settings) -> TrainingSetup:
  share = 0.5 if settings.begin_fraction is None else settings.begin_fraction
  step = max(1, round(share * settings.steps))
  schedule = _sparsity.ConstantSparsity(
    settings.target_sparsity, step, step, frequency=1
  )
  return _tfmot_setup(settings, schedule, step)


SETUPS: dict[str, Callable[[Settings], TrainingSetup]] = {
  'gmp': _gmp,
  'oneshot': _oneshot,
}
