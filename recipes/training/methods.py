"""The training setup of each `--method`: a schedule and callbacks."""

from collections.abc import Callable
from typing import Any

import tf_unilth
from recipes.training import cyclic, gmp_global, hypersparse, oneshot_global
from recipes.training.method_settings import Settings, TrainingSetup


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


def _rigl(settings: Settings) -> TrainingSetup:
  from recipes.training import rigl  # It imports TensorFlow.

  return rigl.setup(settings)


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
  'gmp_global': gmp_global.setup,
  'oneshot_global': oneshot_global.setup,
  'cyclic': cyclic.setup,
  'rigl': _rigl,
  'hypersparse': hypersparse.setup,
  'small_dense': _dense,  # What is small is its network.
}
METHODS = tuple(_SETUPS)
_TFMOT = 'tfmot prunes no models of Keras 3'
# Those that train models of tf_keras alone, and why.
OF_TF_KERAS = {
  'gmp': _TFMOT,
  'oneshot': _TFMOT,
  'rigl': "it changes the masks of tfmot's wrappers",
  'hypersparse': 'models of Keras 3 take no loss beside those of their layers',
}
# Those whose networks stay dense.
DENSE = ('dense', 'small_dense')
# Methods that a ticket callback of another name implements.
_BASELINES = (
  *('random', 'lr_rewind', 'gmp_global', 'oneshot_global', 'cyclic'),
  *('rigl', 'hypersparse'),
)
# Those that restart the learning rate only with --lr_restart.
ONE_DECAY = ('gmp_global', 'oneshot_global')


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
