"""What a run is, and in what another one differs from it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tf_unilth import compat, optimizers, random_state
from tf_unilth.callbacks import TicketCallback
from tf_unilth.compat import keras


def describe(
  model: keras.Model,
  callbacks: Sequence[Any],
  params: Mapping[str, Any],
  config: Mapping[str, Any],
  fit: Mapping[str, Any],
) -> dict[str, Any]:
  """Returns what a run is, as JSON can hold it.

  Args:
    model: a compiled and built model.
    callbacks: those of the `fit`.
    params: what Keras tells callbacks: epochs and steps.
    config: what the user says of it.
    fit: `compat.fit_arguments()`.
  """
  run = {
    'config': dict(config),
    'epochs': params['epochs'],
    'steps per epoch': params.get('steps'),
    'steps per execution': compat.steps_per_execution(model),
    'replicas': model.distribute_strategy.num_replicas_in_sync,
    'jit_compile': model.jit_compile,
    'batch_size': fit.get('batch_size'),
    'shuffle': fit.get('shuffle'),
    'seed': random_state.global_seed(),
    'optimizer': _optimizer(model.optimizer),
    'schedules': [
      schedule_settings(s) for s in compat.pruning_schedules(model)
    ],
    **{
      f'callback {type(callback).__name__}': callback.settings
      for callback in callbacks
      if isinstance(callback, TicketCallback)
    },
  }
  return json.loads(json.dumps(run, default=_plain))


def _plain(value: Any) -> Any:
  """Returns a number of NumPy's as Python's, anything else in words."""
  return value.item() if isinstance(value, np.generic) else repr(value)


def schedule_settings(schedule: Any) -> dict[str, Any]:
  """Returns a pruning schedule's class and arguments."""
  config = schedule.get_config()['config']
  return {
    'class': type(schedule).__name__,
    **{n: v for n, v in config.items() if n not in ('group', 'run_state')},
  }


def _optimizer(optimizer: Any) -> dict[str, Any]:
  """Returns an optimizer's class and settings, but for a rate that moves."""
  inside = optimizers.inner(optimizer)
  config: dict[str, Any] = {
    name: value
    for name, value in inside.get_config().items()
    if isinstance(value, bool | int | float | str)
    and name not in ('learning_rate', 'name')
  }
  schedule = optimizers.learning_rate_schedule(optimizer)
  if schedule is not None:
    config['learning_rate'] = {
      'class': type(schedule).__name__,
      **schedule.get_config(),
    }
  return {'class': type(inside).__name__, **config}


def differences(before: Any, now: Any, name: str = '') -> Iterator[str]:
  """Yields in words what differs between two runs, or parts of them."""
  if isinstance(before, Mapping) and isinstance(now, Mapping):
    for key in dict.fromkeys([*before, *now]):
      inner = f'{name}.{key}' if name else key
      yield from differences(before.get(key), now.get(key), inner)
  elif isinstance(before, list) and isinstance(now, list):
    yield from differences(_by_index(before), _by_index(now), name)
  elif before != now:
    yield f'{name} was {_word(before)} and is now {_word(now)}'


def _by_index(items: list[Any]) -> dict[str, Any]:
  return {str(index): item for index, item in enumerate(items)}


def _word(value: Any) -> str:
  return 'not given' if value is None else repr(value)
