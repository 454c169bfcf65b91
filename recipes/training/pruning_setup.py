"""The pruning of a run, made from its configuration."""

from collections.abc import Mapping
from typing import Any

import tf_unilth
from recipes.training import methods, pruning_flags
from recipes.training.method_settings import Settings, TrainingSetup
from recipes.training.run_config import PruningConfig


def check(config: PruningConfig, keras: Any) -> None:
  """Raises a `ValueError` for flags from which no run can be made.

  A flag that the method would ignore is one of them.

  Args:
    config: of the run.
    keras: the module of its Keras.
  """
  is_keras_3 = keras.__name__ == 'keras'
  if is_keras_3 and config.method in methods.OF_TF_KERAS:
    raise ValueError(
      f'--method={config.method} needs --keras=tf_keras: '
      f'{methods.OF_TF_KERAS[config.method]}.'
    )
  for name in config.given(pruning_flags.OPTIONAL):
    readers = pruning_flags.readers(name)
    if config.method not in readers:
      raise ValueError(
        f'--{name} is not read by --method={config.method}, only by '
        f'{", ".join(readers)}.'
      )
  if config.pretrained:
    for name in config.given(pruning_flags.DENSE_STAGE):
      raise ValueError(
        f'--{name} is about the dense stage, which a run from '
        '--initial_weights does not have: give --nopretrained for one.'
      )
  _check_structure(config, is_keras_3)
  wrapping(config, keras)
  # Without a rate, since variables must not be made before the strategy.
  training_setup(config, steps=1000, seed=0, rate=None, keras=keras)


def _check_structure(config: PruningConfig, is_keras_3: bool) -> None:
  if config.of == 'flops' and config.structure is None:
    raise ValueError(
      '--of=flops needs --structure=channels: single zeros save no FLOPs.'
    )
  if config.method == 'small_dense' and config.of != 'flops':
    raise ValueError(
      '--method=small_dense needs --structure=channels --of=flops: its network '
      'is as small as such a run leaves it.'
    )
  if config.structure is None:
    return
  chosen = f'--structure={config.structure}'
  if is_keras_3:
    raise ValueError(
      f'{chosen} needs --keras=tf_keras: models of Keras 3 are not pruned by '
      'whole channels.'
    )
  for name in config.given(pruning_flags.PAIRS):
    raise ValueError(
      f'{chosen} must be given without --{name}: its units are whole channels.'
    )


def wrapping(config: PruningConfig, keras: Any) -> dict[str, Any]:
  """Returns the arguments of `prune_low_magnitude` that say what to wrap.

  Args:
    config: of the run.
    keras: the module of its Keras.
  """
  given = config.given(pruning_flags.WRAPPING)
  pairs: dict[str, Any] = {
    name: tuple(map(int, value))
    for name, value in config.given(pruning_flags.PAIRS).items()
  }
  # A layer with a name of its own: Keras numbers those of the model from 1.
  checked = keras.layers.Dense(1, name='checked')
  if keras.__name__ == 'keras':  # It prunes no layer by itself.
    checked = keras.Sequential([checked], name='checked_model')
  schedule = tf_unilth.IterativeSparsity(0.5)
  tf_unilth.prune_low_magnitude(checked, schedule, **pairs)
  return {**given, **pairs}


def as_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
  """Returns flags as the library's arguments of the same names.

  They differ in one: a number on a command line cannot be `None`.

  >>> as_arguments({'patience': 0, 'rewind_epochs': 0})
  {'patience': None, 'rewind_epochs': 0}
  """
  return {
    name: None if name == 'patience' and value == 0 else value
    for name, value in given.items()
  }


def training_setup(
  config: PruningConfig,
  steps: int,
  seed: int,
  rate: Any,
  keras: Any,
  verbose: bool = False,
) -> TrainingSetup:
  """Returns the schedule and the callbacks of a run's method.

  Args:
    config: of the run.
    steps: training steps of the whole run.
    seed: of random tickets.
    rate: the run's learning-rate schedule; `None` to try the arguments only.
    keras: the module of its Keras.
    verbose: whether the ticket callback prints its events.
  """
  given = as_arguments(config.given(pruning_flags.READ[config.method]))
  for name in pruning_flags.WRAPPING:
    given.pop(name, None)
  ramp, schedule = (
    {name: given.pop(name) for name in names if name in given}
    for names in (pruning_flags.RAMP, pruning_flags.SCHEDULE)
  )
  settings = Settings(
    target_sparsity=config.target_sparsity,
    steps=steps,
    seed=seed,
    rate=rate,
    lr_restart=given.pop('lr_restart', False),
    begin_fraction=given.pop('begin_fraction', None),
    end_fraction=given.pop('end_fraction', 0.7),
    schedule=schedule,
    callback={**given, 'verbose': int(verbose)},
    keras=keras,
  )
  if ramp:
    settings.callback['ramp'] = tf_unilth.L2Ramp(**ramp)
  return methods.training_setup(config.method, settings)
