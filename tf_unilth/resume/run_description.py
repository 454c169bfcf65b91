"""Describes a run in plain values, and lists how two descriptions differ."""

import json
import math
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.argument_checks import format_value
from tf_unilth.engines.fit_context import FitContext
from tf_unilth.resume import (
  callback_counters,
  model_description,
  object_description,
  training_access,
)
from tf_unilth.resume.training_access import TrainingAccess

# Of the description: the keys, and what they contain.
VERSION = 2
# May change during a run. Only a new process has the initial values.
_CHANGING = (
  *('layer attributes', 'learning rate'),
  *('optimizer attributes', 'other optimizers'),
)
# Digests of data. Only a run that begins where the data begin reads them.
CONTENTS = ('data contents', 'validation contents')
# Not compared if one of the two runs could not read them.
_IF_KNOWN = ('validation data', *CONTENTS)


def describe(
  model: Any,
  callbacks: Sequence[Any],
  params: Mapping[str, Any],
  config: Mapping[str, Any],
  fit: FitContext,
  reads_data: bool = True,
) -> dict[str, Any]:
  """Returns the description of a run, as JSON can hold it.

  Args:
    model: a compiled and built model.
    callbacks: the callbacks of the `fit`.
    params: the `params` of a Keras callback, with epochs and steps.
    config: the user's own description of the run.
    fit: the running `fit`, with the defaults in a custom loop.
    reads_data: whether to include a digest of the data's contents.
  """
  access = training_access.access(model)
  run = {
    'version': VERSION,
    'epochs': params['epochs'],
    'steps per epoch': params.get('steps'),
    'steps per execution': access.steps_per_execution,
    'replicas': access.replicas,
    'jit_compile': model.jit_compile,
    'batch_size': fit.batch_size,
    'shuffle': fit.shuffle,
    'seed': access.seed(),
    **_optimizers(access),
    'schedules': [schedule_settings(one) for one in access.schedules()],
    **{
      f'callback {type(callback).__name__}': callback.settings
      for callback in callbacks
      if isinstance(callback, TicketCallback)
    },
    **callback_counters.describe(model, callbacks),
    'model': model_description.layers(model),
    'layer attributes': model_description.layer_attributes(model),
    **model_description.loss(model),
    **_data(access, fit, reads_data),
  }
  plain = json.loads(json.dumps(run, default=_to_json))
  return {'config': dict(config), **_clean(plain)}


def _to_json(value: Any) -> Any:
  """Returns a NumPy number as a Python number, anything else as its `repr`."""
  return value.item() if isinstance(value, np.generic) else repr(value)


def _clean(value: Any) -> Any:
  """Returns a JSON value without memory addresses and infinite numbers."""
  if isinstance(value, Mapping):
    return {key: _clean(item) for key, item in value.items()}
  if isinstance(value, list):
    return [_clean(item) for item in value]
  return object_description.describe(value)


def _optimizers(access: TrainingAccess) -> dict[str, Any]:
  found = access.optimizers()
  compiled = found.get('optimizer')
  return {
    'optimizer': compiled and model_description.optimizer(access, compiled),
    'learning rate': {
      path: model_description.learning_rate(access, one)
      for path, one in found.items()
    },
    'optimizer attributes': {
      path: model_description.optimizer_attributes(access, one)
      for path, one in found.items()
    },
    'other optimizers': {
      path: model_description.optimizer(access, one)
      for path, one in found.items()
      if one is not compiled
    },
  }


def _data(
  access: TrainingAccess, fit: FitContext, reads_data: bool
) -> dict[str, Any]:
  if fit.data_handler is None:
    return {}
  data = access.data_of(fit)
  return {
    'data': data.describe(),
    'validation data': data.describe_validation(),
    'data contents': data.contents() if reads_data else None,
    'validation contents': data.validation_contents() if reads_data else None,
  }


def schedule_settings(schedule: Any) -> dict[str, Any]:
  """Returns the class and the arguments of a pruning schedule.

  Args:
    schedule: a schedule of tf_unilth, of tfmot or of the user.
  """
  config = object_description.raw_config(schedule).get('config')
  if not isinstance(config, Mapping):
    config = object_description.attributes(schedule, private=True)
  return {
    'class': type(schedule).__name__,
    **{n: v for n, v in config.items() if n not in ('group', 'run_state')},
  }


# The initial `_CHANGING` values of runs that began in this process.
_initial_values: weakref.WeakKeyDictionary[Any, dict[str, Any]] = (
  weakref.WeakKeyDictionary()
)


def at_its_beginning(
  model: Any, directory: str, run: dict[str, Any], resumes: bool
) -> dict[str, Any]:
  """Returns a run's description with the values from when the run began.

  A model that is fitted again in the same process, with the same optimizer,
  still has the learning rate that callbacks have set.

  Args:
    model: the model of the `fit`.
    directory: the directory of the run's checkpoints.
    run: the result of `describe`.
    resumes: whether the directory contains checkpoints.
  """
  known = _initial_values.setdefault(model, {})
  optimizer, initial = known.get(directory, (None, {}))
  if resumes and optimizer is not None and optimizer() is model.optimizer:
    return {**run, **initial}
  initial = {name: run[name] for name in _CHANGING}
  known[directory] = _reference(model.optimizer), initial
  return run


def _reference(optimizer: Any) -> Any:
  try:
    return weakref.ref(optimizer)
  except TypeError:  # A list of optimizers has no weak references.
    return lambda: None


def between(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
  """Describes the differences between the run of a checkpoint and this one.

  Args:
    before: the description in the checkpoint.
    now: the description of this run.

  Returns:
    One text per difference.
  """
  left_out = {
    name for name in _IF_KNOWN if before.get(name) is None or not now.get(name)
  }
  one, other = (
    {name: value for name, value in run.items() if name not in left_out}
    for run in (before, now)
  )
  return [*differences(one, other)]


def differences(before: Any, now: Any, name: str = '') -> Iterator[str]:
  """Yields a text for each difference between two descriptions.

  Args:
    before: the earlier description, or a part of it.
    now: the same of the current run.
    name: the key of the part, with dots between levels.

  >>> [*differences({'a': {'b': 1}, 'c': 2}, {'a': {'b': 3}, 'c': 2})]
  ['a.b was 1 and is now 3']
  """
  if isinstance(before, Mapping) and isinstance(now, Mapping):
    for key in dict.fromkeys([*before, *now]):
      inner = f'{name}.{key}' if name else key
      yield from differences(before.get(key), now.get(key), inner)
  elif isinstance(before, list) and isinstance(now, list):
    yield from differences(_by_index(before), _by_index(now), name)
  elif not _is_same(before, now):
    yield f'{name} was {_shown(before)} and is now {_shown(now)}'


def _is_same(before: Any, now: Any) -> bool:
  if isinstance(before, float) and isinstance(now, float):
    # Variables store numbers as float32.
    return math.isclose(before, now, rel_tol=1e-6)
  return before == now


def _by_index(items: list[Any]) -> dict[str, Any]:
  return {str(index): item for index, item in enumerate(items)}


def _shown(value: Any) -> str:
  return 'not given' if value is None else format_value(value)
