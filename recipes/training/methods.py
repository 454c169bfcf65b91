"""The training setup of each `--method`: a schedule and callbacks."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tf_unilth import inspection

_sparsity = tfmot.sparsity.keras

_GRADUAL_UPDATES = 60

TicketCallback = (
  tf_unilth.LTH | tf_unilth.DLTH | tf_unilth.UniLTH | tf_unilth.UniDLTH
)


@dataclasses.dataclass(frozen=True)
class TrainingSetup:
  """What a method needs to train a model.

  Args:
    schedule: to wrap the model with; `None` for a dense model, not wrapped.
    callbacks: of `fit`.
    ticket: the ticket callback among them, `None` if there is none.
  """

  schedule: Any
  callbacks: list[keras.callbacks.Callback]
  ticket: TicketCallback | None = None


@dataclasses.dataclass(frozen=True)
class Settings:
  """The arguments of a training setup.

  Args:
    target_sparsity: fraction of zeros in [0, 1).
    steps: training steps of the whole run.
    seed: of random tickets.
    rate: the run's learning-rate schedule.
    lr_restart: whether tfmot's methods restart the schedule when they begin to
      prune; ticket callbacks always do, if it can be restarted.
    begin_fraction: fraction of the steps after which tfmot's methods begin to
      prune; `None` for 0.2 (gmp) and 0.5 (oneshot).
    end_fraction: fraction of the steps after which gmp is at its target.
    schedule: further arguments of `IterativeSparsity`.
    callback: further arguments of the ticket callback.
  """

  target_sparsity: float
  steps: int
  seed: int
  rate: keras.optimizers.schedules.LearningRateSchedule | None
  lr_restart: bool
  begin_fraction: float | None
  end_fraction: float
  schedule: dict[str, Any]
  callback: dict[str, Any]


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


def _dense(settings: Settings) -> TrainingSetup:
  del settings
  return TrainingSetup(None, [])


def _ticket(
  make: Callable[..., Any], **fixed: Any
) -> Callable[..., TrainingSetup]:
  def setup(settings: Settings) -> TrainingSetup:
    schedule = tf_unilth.IterativeSparsity(
      settings.target_sparsity, **settings.schedule
    )
    callback = make(**{**settings.callback, **fixed})
    return TrainingSetup(schedule, [callback], callback)

  return setup


def _seeded(
  make: Callable[..., Any], **fixed: Any
) -> Callable[..., TrainingSetup]:
  def setup(settings: Settings) -> TrainingSetup:
    return _ticket(make, seed=settings.seed, **fixed)(settings)

  return setup


def _tfmot_setup(
  settings: Settings, schedule: Any, begin: int
) -> TrainingSetup:
  callbacks = [_sparsity.UpdatePruningStep(), _SparsityLog()]
  if settings.lr_restart:
    callbacks.append(_RestartAt(settings.rate, begin, settings.steps))
  return TrainingSetup(schedule, callbacks)


def _gmp(settings: Settings) -> TrainingSetup:
  share = 0.2 if settings.begin_fraction is None else settings.begin_fraction
  if not share < settings.end_fraction:
    raise ValueError(
      f'--begin_fraction must be below --end_fraction={settings.end_fraction}, '
      f'but is {share}.'
    )
  begin = round(share * settings.steps)
  updates = max(1, round((settings.end_fraction - share) * settings.steps))
  frequency = max(1, updates // _GRADUAL_UPDATES)
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


_SETUPS: dict[str, Callable[[Settings], TrainingSetup]] = {
  'dense': _dense,
  'lth': _ticket(tf_unilth.LTH),
  'dlth': _seeded(tf_unilth.DLTH),
  'unilth': _ticket(tf_unilth.UniLTH),
  'unidlth': _seeded(tf_unilth.UniDLTH),
  'gmp': _gmp,
  'oneshot': _oneshot,
  'random': _seeded(
    tf_unilth.DLTH, ramp=tf_unilth.L2Ramp(limit=0), finetune_fraction=1.0
  ),
  'lr_rewind': _ticket(tf_unilth.LTH, rewind='learning_rate'),
}
METHODS = tuple(_SETUPS)
# Methods that a ticket callback of another name implements.
_BASELINES = ('random', 'lr_rewind')


def training_setup(method: str, settings: Settings) -> TrainingSetup:
  """Returns the schedule and callbacks of a method.

  Args:
    method: one of `METHODS`.
    settings: of the run.
  """
  made = _SETUPS[method](settings)
  if method in _BASELINES and made.ticket is not None:
    made.ticket.speak_as(method)
  return made
