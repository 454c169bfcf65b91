"""Describes objects of a run in plain values, to compare it with another run.

Objects that the same program creates have equal descriptions in every process:
these contain no names that Keras numbers, no addresses, no code and no values
of variables. No function here raises: what cannot be read is left out.
"""

import contextlib
import enum
import functools
import json
import logging
import types
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tf_unilth.engines import which_keras
from tf_unilth.resume import plain_values

_MAX_DEPTH = 8
_LIBRARIES = ('tf_keras', 'tensorflow_model_optimization', 'tf_unilth', 'keras')
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
# Small Keras objects that are described if they are attributes.
_KERAS_VALUES = (
  *('Loss', 'Regularizer', 'Constraint', 'LearningRateSchedule'),
)
# Arrays of the frameworks, by the names of their classes.
_ARRAYS = ('Tensor', 'Variable', 'Array', 'KerasTensor')
_VARIABLES = ('Variable', 'Parameter')
# Classes whose private attributes are the framework's.
_MODULES = ('Module', 'Layer', 'Metric')
# Left out of a configuration: names, what is described elsewhere (nested
# layers, pruning schedules), and initializers, as a checkpoint has the weights.
_LEFT_OUT = (
  *('name', 'module', 'registered_name', 'shared_object_id'),
  *('inbound_nodes', 'input_layers', 'output_layers'),
  *('build_config', 'compile_config', 'pruning_schedule', 'initializer'),
)
# Attributes that Keras or TensorFlow set, or that change during a run.
_ATTRIBUTES_LEFT_OUT = (
  *('name', 'built', 'inputs', 'outputs', 'input_names', 'output_names'),
  *('call', 'history', 'loss', 'optimizer', 'stop_training', 'stateful'),
  *('stop_evaluating', 'stop_predicting', 'compiled', 'training'),
  *('test_function', 'predict_function', 'train_function'),
  *('train_tf_function', 'iterations', 'trainable', 'supports_masking'),
  *('input_spec', 'compiled_loss', 'compiled_metrics', 'loss_weights'),
  *('_name_scope', '_allow_sum_over_batch_size', '_fn_kwargs'),
)


def describe(value: Any, depth: int = 0) -> Any:
  """Returns a value as JSON can hold it, without what differs in a new process.

  Args:
    value: any value.
    depth: the level of nesting at which it is, in [0, 8]; deeper values are
      described by their class names.

  >>> describe({'name': 'dense_3', 'rate': np.float32(0.5)})
  {'rate': 0.5}
  >>> describe(keras.losses.MeanSquaredError())['class']
  'MeanSquaredError'
  """
  if depth > _MAX_DEPTH:
    return _class_name(type(value))
  return plain_values.shortened(_describe(value, depth + 1))


def _describe(value: Any, depth: int) -> Any:
  if value is None or isinstance(value, bool | int | float | str):
    return plain_values.scalar(value)
  if isinstance(value, enum.Enum):
    return value.name
  if isinstance(value, np.generic | np.ndarray) or which_keras.has_base(
    value, *_ARRAYS
  ):
    is_variable = which_keras.has_base(value, *_VARIABLES)
    return plain_values.array(value, has_value=not is_variable)
  if isinstance(value, np.dtype) or which_keras.has_base(value, 'DType'):
    return value.name
  if which_keras.has_base(value, 'TensorShape'):
    return str(value)
  if isinstance(value, Mapping):
    return _mapping(value, depth)
  if isinstance(value, list | tuple):
    return [describe(item, depth) for item in value]
  if isinstance(value, set | frozenset):
    return sorted((describe(item, depth) for item in value), key=json.dumps)
  if isinstance(value, bytes):
    return plain_values.digest(value)
  if isinstance(value, (type, functools.partial, *_FUNCTIONS)):
    return _function(value, depth)
  if callable(_safe_getattr(value, 'get_config')) or which_keras.has_base(
    value, *_KERAS_VALUES
  ):
    return settings(value, depth)
  return _class_name(type(value))


def settings(instance: Any, depth: int = 0) -> dict[str, Any]:
  """Describes an object's class, configuration and plain attributes.

  Args:
    instance: an object of a Keras class or a subclass of one.
    depth: the level of nesting at which it is.
  """
  return {
    'class': _class_name(type(instance)),
    **config(instance, depth),
    **attributes(
      instance, private=not which_keras.has_base(instance, *_MODULES)
    ),
  }


def config(instance: Any, depth: int = 0) -> dict[str, Any]:
  """Describes the result of `get_config`, or the attributes without it.

  Args:
    instance: an object of a Keras class or a subclass of one.
    depth: the level of nesting at which it is.
  """
  given = raw_config(instance)
  if not given and not is_user_class(type(instance)):
    # A Keras object with a user's object in it, which has no `get_config`.
    return _attributes(instance, private=False)
  for name in given:
    function = _safe_getattr(instance, name)
    if isinstance(function, _FUNCTIONS) and not isinstance(given[name], str):
      given[name] = function  # The function, not its serialized code.
  return _mapping(
    plain_values.without_number(given, _safe_getattr(instance, 'name')),
    depth + 1,
  )


def raw_config(instance: Any) -> dict[str, Any]:
  """Returns an object's `get_config()`, `{}` if there is none or it fails.

  Args:
    instance: any object.
  """
  try:
    with quiet():
      return dict(instance.get_config())
  except Exception:  # A user's class may raise any error.
    return {}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
  """Suppresses Keras's warnings about objects that it cannot serialize."""
  logger = logging.getLogger('tensorflow')
  before, logger.disabled = logger.disabled, True
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      yield
  finally:
    logger.disabled = before


def attributes(instance: Any, private: bool = False) -> dict[str, Any]:
  """Describes the plain attributes of an object of a user's class.

  Such a class often has no `get_config`, or inherits it.

  Args:
    instance: any object; one of a library's class gives `{}`.
    private: whether to include attributes that begin with an underscore. In
      layers and optimizers many of those are Keras's.
  """
  return _attributes(instance, private) if is_user_class(type(instance)) else {}


def _attributes(instance: Any, private: bool) -> dict[str, Any]:
  plain = {
    name: value
    for name, value in vars(instance).items()
    if name not in _ATTRIBUTES_LEFT_OUT
    and not name.startswith('_self_')
    and (private or not name.startswith('_'))
    and not name.endswith('initializer')
    and _is_plain(value)
    and not (callable(value) and hasattr(type(instance), name))
  }
  plain = plain_values.without_number(plain, _safe_getattr(instance, 'name'))
  return {name: describe(value, 1) for name, value in plain.items()}


def is_user_class(cls: type) -> bool:
  """Returns whether a class is defined outside Keras, tfmot and tf_unilth.

  Args:
    cls: any class.
  """
  return cls.__module__.split('.')[0] not in _LIBRARIES


def _safe_getattr(instance: Any, name: str) -> Any:
  try:
    return getattr(instance, name, None)
  except Exception:  # A property may do anything.
    return None


def _is_plain(value: Any) -> bool:
  if isinstance(value, Mapping):
    return all(map(_is_plain, value.values()))
  if isinstance(value, list | tuple):
    return all(map(_is_plain, value))
  if which_keras.has_base(value, *_VARIABLES, *_MODULES):
    return False
  return isinstance(
    value, (bool, int, float, str, np.generic, *_FUNCTIONS)
  ) or which_keras.has_base(value, 'DType', *_KERAS_VALUES)


def _mapping(value: Mapping[Any, Any], depth: int) -> Any:
  """Describes a mapping; a serialized Keras object is described as settings."""
  value = dict(value)
  if set(value) == {'value'} and isinstance(value['value'], tuple):
    return '<lambda>'  # Serialized by Keras.
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
  """Describes a function by its name and its captured plain values."""
  if isinstance(function, functools.partial):
    return {
      'function': describe(function.func, depth),
      'arguments': describe([*function.args], depth),
      'keywords': describe(function.keywords, depth),
    }
  if isinstance(function, type):
    return _class_name(function)
  name = f'{function.__module__}.{function.__qualname__}'
  captured = _captured_values(getattr(function, '__func__', function))
  return {'function': name, 'with': captured} if captured else name


def _captured_values(function: Any) -> dict[str, Any]:
  """Returns the plain values of a function's defaults, closure and code."""
  if not isinstance(function, types.FunctionType):
    return {}
  code = function.__code__
  defaults = function.__defaults__ or ()
  arguments = code.co_varnames[: code.co_argcount]
  captured = dict(zip(arguments[-len(defaults) :], defaults, strict=False))
  captured.update(function.__kwdefaults__ or {})
  for name, cell in zip(
    code.co_freevars, function.__closure__ or (), strict=True
  ):
    try:
      captured[name] = cell.cell_contents
    except ValueError:  # It is empty.
      continue
  return {
    name: plain_values.scalar(value)
    for name, value in captured.items()
    if isinstance(value, bool | int | float | str)
    and not plain_values.is_path(value)
  }


def _class_name(cls: type) -> str:
  return cls.__qualname__
