"""What a run is, and in what another one differs from it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tf_unilth import compat, optimizers, random_state
from tf_unilth.callbacks import TicketCallback
from tf_unilth.compat import keras


def as_json(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a configuration as a file gives it back.

  Raises:
    ValueError: it is no mapping, or JSON cannot hold it.
  """
  if not isinstance(config, Mapping):
    raise ValueError(f'config must be a mapping, but is {config!r}.')
  try:
    return json.loads(json.dumps(dict(config), allow_nan=False))
  except (TypeError, ValueError) as error:
    raise ValueError(
      f'config must be what JSON can hold, but {error}.'
    ) from None


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
  ticket = next((c for c in callbacks if isinstance(c, TicketCallback)), None)
  return {
    'config': dict(config),
    'epochs': params['epochs'],
    'steps per epoch': params.get('steps'),
    'steps per execution': compat.steps_per_execution(model),
    'batch size': fit.get('batch_size'),
    'shuffle': fit.get('shuffle'),
    'seed': random_state.global_seed(),
    'optimizer': _optimizer(model.optimizer),
    'ticket callback': type(ticket).__name__ if ticket else None,
    'weights': {
      str(number): f'{weight.dtype.name} {tuple(weight.shape)}'
      for number, weight in enumerate(model.weights)
    },
  }


def _optimizer(optimizer: Any) -> dict[str, Any]:
  """Returns an optimizer's class and settings, but for a rate that moves."""
  inside = optimizers.inner(optimizer)
  config = {
    name: value
    for name, value in inside.get_config().items()
    if isinstance(value, bool | int | float | str)
    and name not in ('learning_rate', 'name')
  }
  schedule = optimizers.learning_rate_schedule(optimizer)
  if schedule is not None:
    config['schedule'] = type(schedule).__name__
  return {'class': type(inside).__name__, **config}


def differences(before: Any, now: Any, name: str = '') -> Iterator[str]:
  """Yields in words what differs between two runs, or parts of them."""
  if isinstance(before, Mapping) and isinstance(now, Mapping):
    for key in dict.fromkeys([*before, *now]):
      inner = f'{name}.{key}' if name else key
      yield from differences(before.get(key), now.get(key), inner)
  elif before != now:
    yield f'{name} was {_word(before)} and is now {_word(now)}'


def _word(value: Any) -> str:
  return 'not given' if value is None else repr(value)
