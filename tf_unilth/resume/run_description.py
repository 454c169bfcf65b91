"""What a run is, and in what another one differs from it."""

import json
import math
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.argument_checks import format_value
from tf_unilth.engines.tfmot import keras_access, model_layers, tracked_objects
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.resume import (
  callback_counters,
  data_description,
  model_description,
  object_description,
  random_state,
)

# Of descriptions. The first had no number, and none of `_SINCE_VERSION_2`.
VERSION = 2
_SINCE_VERSION_2 = (
  *('version', 'model', 'layer attributes', 'loss', 'loss_weights'),
  *('learning rate', 'optimizer attributes', 'other optimizers'),
  *('callbacks', 'LearningRateScheduler', 'monitored metrics'),
  *('data', 'validation data'),
  *('data contents', 'validation contents'),
)
# What may move as a run goes on. Only a new process has it as it was.
_MOVING = (
  *('layer attributes', 'learning rate'),
  *('optimizer attributes', 'other optimizers'),
)
# Not compared where one of two runs could not read them.
_IF_KNOWN = ('validation data', 'data contents', 'validation contents')


def describe(
  model: keras.Model,
  callbacks: Sequence[Any],
  params: Mapping[str, Any],
  config: Mapping[str, Any],
  fit: Mapping[str, Any],
  reads_data: bool = True,
) -> dict[str, Any]:
  """Returns what a run is, as JSON can hold it.

  Args:
    model: a compiled and built model.
    callbacks: those of the `fit`.
    params: what Keras tells callbacks: epochs and steps.
    config: what the user says of it.
    fit: `compat.fit_arguments()`.
    reads_data: whether what the data hold is part of it.
  """
  run = {
    'version': VERSION,
    'epochs': params['epochs'],
    'steps per epoch': params.get('steps'),
    'steps per execution': keras_access.steps_per_execution(model),
    'replicas': model.distribute_strategy.num_replicas_in_sync,
    'jit_compile': model.jit_compile,
    'batch_size': fit.get('batch_size'),
    'shuffle': fit.get('shuffle'),
    'seed': random_state.global_seed(),
    **_optimizers(model),
    'schedules': [
      schedule_settings(s) for s in model_layers.pruning_schedules(model)
    ],
    **{
      f'callback {type(callback).__name__}': callback.settings
      for callback in callbacks
      if isinstance(callback, TicketCallback)
    },
    **callback_counters.describe(model, callbacks),
    'model': model_description.layers(model),
    'layer attributes': model_description.layer_attributes(model),
    **model_description.loss(model),
    **_data(fit, reads_data),
  }
  clean = _clean(json.loads(json.dumps(run, default=_plain)))
  return {'config': dict(config), **clean}


def _plain(value: Any) -> Any:
  """Returns a number of NumPy's as Python's, anything else in words."""
  return value.item() if isinstance(value, np.generic) else repr(value)


def _clean(value: Any) -> Any:
  """Returns what JSON holds without addresses and infinite numbers."""
  if isinstance(value, Mapping):
    return {key: _clean(item) for key, item in value.items()}
  if isinstance(value, list):
    return [_clean(item) for item in value]
  return object_description.describe(value)


def _optimizers(model: keras.Model) -> dict[str, Any]:
  found = tracked_objects.optimizers(model)
  only = found.get('optimizer')
  return {
    'optimizer': only and model_description.optimizer(only),
    'learning rate': {
      path: model_description.learning_rate(one) for path, one in found.items()
    },
    'optimizer attributes': {
      path: model_description.optimizer_attributes(one)
      for path, one in found.items()
    },
    'other optimizers': {
      path: model_description.optimizer(one)
      for path, one in found.items()
      if one is not only
    },
  }


def _data(fit: Mapping[str, Any], reads_data: bool) -> dict[str, Any]:
  handler = fit.get('data_handler')
  if handler is None:
    return {}
  parts = fit['validation_parts']
  first = parts[0] if parts[1] is None else parts
  return {
    'data': data_description.describe(handler, fit['class_weight']),
    'validation data': data_description.validation(parts),
    'data contents': (
      data_description.of_handler(handler) if reads_data else None
    ),
    'validation contents': (
      data_description.contents(first) if reads_data else None
    ),
  }


def schedule_settings(schedule: Any) -> dict[str, Any]:
  """Returns a pruning schedule's class and arguments."""
  config = object_description.raw_config(schedule).get('config')
  if not isinstance(config, Mapping):
    config = object_description.attributes(schedule, private=True)
  return {
    'class': type(schedule).__name__,
    **{n: v for n, v in config.items() if n not in ('group', 'run_state')},
  }


# What moves, of models that this process has trained before.
_begun: weakref.WeakKeyDictionary[Any, dict[str, Any]] = (
  weakref.WeakKeyDictionary()
)


def at_its_beginning(
  model: keras.Model, directory: str, run: dict[str, Any], goes_on: bool
) -> dict[str, Any]:
  """Returns what a run is, with what moves as it was when the run began.

  A model that is fitted again in one process, with the optimizer that it had,
  has the learning rate that callbacks have left.

  Args:
    model: of the `fit`.
    directory: of the run's checkpoints.
    run: what `describe` returned.
    goes_on: whether there are checkpoints.
  """
  known = _begun.setdefault(model, {})
  optimizer, moving = known.get(directory, (None, {}))
  if goes_on and optimizer is not None and optimizer() is model.optimizer:
    return {**run, **moving}
  moving = {name: run[name] for name in _MOVING}
  known[directory] = _reference(model.optimizer), moving
  return run


def _reference(thing: Any) -> Any:
  try:
    return weakref.ref(thing)
  except TypeError:  # A list of optimizers may have none.
    return lambda: None


def between(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
  """Returns in words what differs between the run of a checkpoint and this one.

  What an older version has not written is not compared.

  Args:
    before: what `describe` said when the checkpoint was written.
    now: what it says now.
  """
  left_out = {'version'}
  if 'version' not in before:
    left_out |= set(_SINCE_VERSION_2)
  left_out |= {
    name for name in _IF_KNOWN if before.get(name) is None or not now.get(name)
  }
  one, other = (
    {name: value for name, value in run.items() if name not in left_out}
    for run in (before, now)
  )
  return [*differences(one, other)]


def differences(before: Any, now: Any, name: str = '') -> Iterator[str]:
  """Yields in words what differs between two runs, or parts of them."""
  if isinstance(before, Mapping) and isinstance(now, Mapping):
    for key in dict.fromkeys([*before, *now]):
      inner = f'{name}.{key}' if name else key
      yield from differences(before.get(key), now.get(key), inner)
  elif isinstance(before, list) and isinstance(now, list):
    yield from differences(_by_index(before), _by_index(now), name)
  elif not _is_same(before, now):
    yield f'{name} was {_word(before)} and is now {_word(now)}'


def _is_same(before: Any, now: Any) -> bool:
  if isinstance(before, float) and isinstance(now, float):
    # Variables hold numbers as float32.
    return math.isclose(before, now, rel_tol=1e-6)
  return before == now


def _by_index(items: list[Any]) -> dict[str, Any]:
  return {str(index): item for index, item in enumerate(items)}


def _word(value: Any) -> str:
  return 'not given' if value is None else format_value(value)
