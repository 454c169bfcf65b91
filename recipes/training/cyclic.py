"""Cyclic training: the learning rate of iterative pruning, but a single cut."""

from collections.abc import Mapping
from typing import Any

import tf_unilth
from recipes.training import keras_classes
from recipes.training.method_settings import Settings, TrainingSetup

# As many as lr_rewind has rounds in 15 epochs.
_CUT_AFTER = 4


class _Cycles:
  """Restarts a `StagedLearningRate` in each cycle before the cut.

  Args:
    rate: the learning rate of the run.
    count: the number of these cycles.
  """

  # Keras sets them.
  params: Mapping[str, int]
  model: Any

  def __init__(self, rate: Any, count: int):
    super().__init__()
    self._rate, self._count = rate, count
    self._begun = -1

  def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
    """Begins the first cycle, or that of a run that goes on."""
    self._restart_if_due()

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    """Begins a cycle at its first step."""
    self._restart_if_due()

  def _restart_if_due(self) -> None:
    epochs = dense_epochs(self.params['epochs'], self._count)
    steps = epochs * self.params['steps']
    done = int(self.model.optimizer.iterations.numpy())
    cycle = done * self._count // steps
    if self._begun < cycle < self._count:
      begin, end = (-(-steps * i // self._count) for i in (cycle, cycle + 1))
      self._rate.restart(begin, end - begin)
      self._begun = cycle


def dense_epochs(epochs: int, count: int) -> int:
  """Returns after how many epochs the cut follows.

  Args:
    epochs: of the run.
    count: how many cycles come before the cut; one of equal length follows.
  """
  return min(max(1, round(epochs * count / (count + 1))), epochs - 1)


def setup(settings: Settings) -> TrainingSetup:
  """Returns a dense training in cycles, with one cut before the last cycle.

  The learning rate decays as that of lr_rewind with as many rounds, but the
  network stays dense until one cut by magnitude over all layers before the last
  cycle. Cyclic training explains much of what iterative pruning gains over
  pruning at once (arXiv 2406.02773). That the cut follows an epoch's end is
  our choice.

  Args:
    settings: of the run.
  """
  given = dict(settings.schedule)
  count = given.pop('rounds', _CUT_AFTER)
  schedule = tf_unilth.IterativeSparsity(
    settings.target_sparsity, rounds=1, **given
  )
  callback = tf_unilth.UniLTH(
    ramp=tf_unilth.L2Ramp(limit=0),
    patience=None,
    max_dense_fraction=count / (count + 1),
    finetune_fraction=1.0,
    **settings.callback,
  )
  callbacks = [callback]
  if settings.rate is not None:
    cycles = keras_classes.callback(
      settings.keras, _Cycles, settings.rate, count
    )
    callbacks.append(cycles)
  return TrainingSetup(schedule, callbacks, callback)
