"""The training setup of each `--method`: a schedule and callbacks."""

import dataclasses
from collections.abc import Callable
from typing import Any

import tf_unilth

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
  callbacks: list[Any]
  ticket: TicketCallback | None = None


@dataclasses.dataclass(frozen=True)
class Settings:
  """The arguments of a training setup.

  Args:
    target_sparsity: fraction of zeros in [0, 1).
    steps: training steps of the whole run.
    seed: of random tickets.
    rate: the run's learning-rate schedule; `None` to try the arguments only.
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
  rate: Any
  lr_restart: bool
  begin_fraction: float | None
  end_fraction: float
  schedule: dict[str, Any]
  callback: dict[str, Any]


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


def _of_tfmot(name: str) -> Callable[[Settings], TrainingSetup]:
  def setup(settings: Settings) -> TrainingSetup:
    from recipes.training import tfmot_methods  # It imports tfmot.

    return tfmot_methods.SETUPS[name](settings)

  return setup


_SETUPS: dict[str, Callable[[Settings], TrainingSetup]] = {
  'dense': _dense,
  'lth': _ticket(tf_unilth.LTH),
  'dlth': _seeded(tf_unilth.DLTH),
  'unilth': _ticket(tf_unilth.UniLTH),
  'unidlth': _seeded(tf_unilth.UniDLTH),
  'gmp': _of_tfmot('gmp'),
  'oneshot': _of_tfmot('oneshot'),
  'random': _seeded(
    tf_unilth.DLTH, ramp=tf_unilth.L2Ramp(limit=0), finetune_fraction=1.0
  ),
  'lr_rewind': _ticket(tf_unilth.LTH, rewind='learning_rate'),
}
METHODS = tuple(_SETUPS)
# Those that prune by tfmot, which knows models of tf_keras alone.
OF_TFMOT = ('gmp', 'oneshot')
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
