"""Objects of a run in plain values, by which another run is told from it.

A description of the same program is the same in every process: it holds no
names that Keras numbers, no addresses, no code, and no values of variables. It
never raises: what cannot be read is left out.
"""

import contextlib
import enum
import functools
import hashlib
import json
import logging
import math
import os
import re
import types
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines.tfmot.keras_access import keras

_DEEPEST = 8
_LONGEST = 2000  # Characters of JSON; what is longer is described by a digest.
_MODULES = ('tf_keras', 'tensorflow_model_optimization', 'tf_unilth')
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
# Small objects of Keras's, which are described wherever they are attributes.
_VALUES = (
  keras.losses.Loss,
  keras.regularizers.Regularizer,
  keras.constraints.Constraint,
  keras.optimizers.schedules.LearningRateSchedule,
)
# Of a configuration: names, what is described elsewhere (layers inside of
# layers, schedules of pruning), and initializers: a checkpoint has the weights.
_LEFT_OUT = (
  *('name', 'module', 'registered_name', 'shared_object_id'),
  *('inbound_nodes', 'input_layers', 'output_layers'),
  *('build_config', 'compile_config', 'pruning_schedule', 'initializer'),
)
# Attributes that Keras or TensorFlow set, or that change as a run goes on.
_ATTRIBUTES_LEFT_OUT = (
  *('name', 'built', 'inputs', 'outputs', 'input_names', 'output_names'),
  *('call', 'history', 'loss', 'optimizer', 'stop_training', 'stateful'),
  *('test_function', 'predict_function', 'train_function'),
  *('train_tf_function', 'iterations', 'trainable', 'supports_masking'),
  *('input_spec', 'compiled_loss', 'compiled_metrics', 'loss_weights'),
  *('_name_scope', '_allow_sum_over_batch_size', '_fn_kwargs'),
)


def describe(value: Any, depth: int = 0) -> Any:
  """Returns a value as JSON can hold it, without what a new process changes.

  >>> describe({'name': 'dense_3', 'rate': np.float32(0.5)})
  {'rate': 0.5}
  >>> describe(keras.losses.MeanSquaredError())['class']
  'MeanSquaredError'
  """
  if depth > _DEEPEST:
    return _class_name(type(value))
  return _short(_describe(value, depth + 1))


def _describe(value: Any, depth: int) -> Any:
  if value is None or isinstance(value, bool | int | float | str):
    return _scalar(value)
  if isinstance(value, enum.Enum):
    return value.name
  if isinstance(value, np.generic | np.ndarray | tf.Tensor | tf.Variable):
    return _array(value)
  if isinstance(value, tf.DType | np.dtype):
    return value.name
  if isinstance(value, tf.TensorShape):
    return str(value)
  if isinstance(value, Mapping):
    return _mapping(value, depth)
  if isinstance(value, list | tuple):
    return [describe(item, depth) for item in value]
  if isinstance(value, set | frozenset):
    return sorted((describe(item, depth) for item in value), key=json.dumps)
  if isinstance(value, bytes):
    return _digest(value)
  if isinstance(value, (type, functools.partial, *_FUNCTIONS)):
    return _function(value, depth)
  if callable(_get(value, 'get_config')) or isinstance(value, _VALUES):
    return settings(value, depth)
  return _class_name(type(value))


def settings(thing: Any, depth: int = 0) -> dict[str, Any]:
  """Returns an object's class and what it was made with, as far as it tells.

  Args:
    thing: of Keras's, or of a class that derives from Keras's.
    depth: how deep it lies in what is described.
  """
  return {
    'class': _class_name(type(thing)),
    **config(thing, depth),
    **attributes(thing, private=not isinstance(thing, tf.Module)),
  }


def config(thing: Any, depth: int = 0) -> dict[str, Any]:
  """Returns what `get_config` tells, as far as there is one."""
  given = raw_config(thing)
  if not given and not is_users(type(thing)):
    # One of Keras's with something of the user's inside that has none.
    return _attributes(thing, private=False)
  for name in given:
    made_with = _get(thing, name)
    if isinstance(made_with, _FUNCTIONS) and not isinstance(given[name], str):
      given[name] = made_with  # Instead of its code.
  return _mapping(_unnumbered(given, _get(thing, 'name')), depth + 1)


def raw_config(thing: Any) -> dict[str, Any]:
  """Returns `get_config` of an object, `{}` where there is none."""
  try:
    with silence():
      return dict(thing.get_config())
  except Exception:  # Anything, in a user's class.
    return {}


@contextlib.contextmanager
def silence() -> Iterator[None]:
  """Keeps from the user what Keras warns of that it cannot serialize."""
  logger = logging.getLogger('tensorflow')
  before, logger.disabled = logger.disabled, True
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      yield
  finally:
    logger.disabled = before


def attributes(thing: Any, private: bool = False) -> dict[str, Any]:
  """Returns the plain attributes of an object whose class is the user's.

  `get_config` of such a class is often missing, or its base's.

  Args:
    thing: the object.
    private: whether those that begin with an underscore count too. Keras has
      many of its own in layers and optimizers.
  """
  return _attributes(thing, private) if is_users(type(thing)) else {}


def _attributes(thing: Any, private: bool) -> dict[str, Any]:
  plain = {
    name: value
    for name, value in vars(thing).items()
    if name not in _ATTRIBUTES_LEFT_OUT
    and not name.startswith('_self_')
    and (private or not name.startswith('_'))
    and not name.endswith('initializer')
    and _is_plain(value)
    and not (callable(value) and hasattr(type(thing), name))
  }
  plain = _unnumbered(plain, _get(thing, 'name'))
  return {name: describe(value, 1) for name, value in plain.items()}


def is_users(cls: type) -> bool:
  """Returns whether a class is of none of the libraries that we build on."""
  return cls.__module__.split('.')[0] not in _MODULES


def _get(thing: Any, name: str) -> Any:
  try:
    return getattr(thing, name, None)
  except Exception:  # A property may do anything.
    return None


def _is_plain(value: Any) -> bool:
  if isinstance(value, Mapping):
    return all(map(_is_plain, value.values()))
  if isinstance(value, list | tuple):
    return all(map(_is_plain, value))
  if isinstance(value, tf.Variable | tf.Module):
    return False
  return isinstance(
    value,
    (bool, int, float, str, np.generic, tf.DType, *_FUNCTIONS, *_VALUES),
  )


def _unnumbered(values: Mapping[str, Any], name: Any) -> dict[str, Any]:
  """Returns values without paths, and without the number of a name in them.

  Keras numbers the names of all that a process makes (`dense_3`), and some
  settings are made of the name.
  """
  found = {n: v for n, v in values.items() if not _is_path(v)}
  number = re.search(r'_\d+$', name) if isinstance(name, str) else None
  if number is None:
    return found
  stem = name[: number.start()]
  return {
    n: v.replace(name, stem) if isinstance(v, str) else v
    for n, v in found.items()
  }


def _is_path(value: Any) -> bool:
  return isinstance(value, str) and os.sep in value


def _scalar(value: Any) -> Any:
  if isinstance(value, str):
    return re.sub(r' at 0x[0-9a-fA-F]+', '', value)
  if isinstance(value, float) and not math.isfinite(value):
    return repr(value)
  return value


def _array(value: Any) -> Any:
  shape, dtype = tuple(value.shape), getattr(value.dtype, 'name', '')
  try:
    if isinstance(value, tf.Variable):
      raise TypeError('its value changes')
    array = np.asarray(value)
  except Exception:  # A tensor of a graph has no value.
    return f'{dtype} {shape}'
  if array.size <= 1 and array.dtype.kind in 'biuf':
    return _scalar(array.item()) if not shape else [_scalar(array.item())]
  return f'{dtype} {shape} {_digest(array.tobytes())}'


def _mapping(value: Mapping[Any, Any], depth: int) -> Any:
  """Returns a mapping; one in which Keras serialized an object, as settings."""
  value = dict(value)
  if set(value) == {'value'} and isinstance(value['value'], tuple):
    return '<lambda>'  # As Keras serializes it.
  kind, inner = value.get('class_name'), value.get('config')
  if isinstance(kind, str) and 'config' in value:
    if not isinstance(inner, Mapping):
      return f'{kind} {inner}'
    if kind == '__lambda__':
      return '<lambda>'
    if kind.endswith('Policy'):
      return str(inner.get('name'))
    value = {'class': kind, **inner}
  return {
    str(key): describe(item, depth)
    for key, item in value.items()
    if not (isinstance(key, str) and _is_left_out(key))
  }


def _is_left_out(key: str) -> bool:
  return key in _LEFT_OUT or key.endswith('_initializer')


def _function(function: Any, depth: int) -> Any:
  """Returns a function's name, and the numbers that it holds."""
  if isinstance(function, functools.partial):
    return {
      'function': describe(function.func, depth),
      'arguments': describe([*function.args], depth),
      'keywords': describe(function.keywords, depth),
    }
  if isinstance(function, type):
    return _class_name(function)
  name = f'{function.__module__}.{function.__qualname__}'
  held = _held(getattr(function, '__func__', function))
  return {'function': name, 'with': held} if held else name


def _held(function: Any) -> dict[str, Any]:
  """Returns the plain values of a function's defaults, closure and code."""
  if not isinstance(function, types.FunctionType):
    return {}
  code = function.__code__
  defaults = function.__defaults__ or ()
  arguments = code.co_varnames[: code.co_argcount]
  held = dict(zip(arguments[-len(defaults) :], defaults, strict=False))
  held.update(function.__kwdefaults__ or {})
  for name, cell in zip(
    code.co_freevars, function.__closure__ or (), strict=True
  ):
    try:
      held[name] = cell.cell_contents
    except ValueError:  # It is empty.
      continue
  return {
    name: _scalar(value)
    for name, value in held.items()
    if isinstance(value, bool | int | float | str) and not _is_path(value)
  }


def _class_name(cls: type) -> str:
  return cls.__qualname__


def _short(value: Any) -> Any:
  text = value if isinstance(value, str) else None
  if isinstance(value, list):
    text = json.dumps(value)
  if text is None or len(text) <= _LONGEST:
    return value
  return _digest(text.encode())


def _digest(data: bytes) -> str:
  return f'sha256 {hashlib.sha256(data).hexdigest()[:16]}'
