"""Rebuilds models that compute in half precision or float64 in float32."""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tf_unilth.engines import served_model, which_keras

_HALF = ('float16', 'bfloat16')
_NOT_FLOAT32 = (*_HALF, 'float64')
# The class of a layer's policy in a config of tf_keras, and of Keras 3.
_POLICIES = ('Policy', 'DTypePolicy')


def precision(model: Any) -> str:
  """Returns the precision in which a model computes.

  Args:
    model: a built model of either Keras.

  Returns:
    `half precision` or `float64` if any layer computes in it, else `float32`.

  >>> layer = keras.layers.Dense(2, input_shape=(3,), dtype='float64')
  >>> precision(keras.Sequential([layer]))
  'float64'
  """
  served = served_model.of_model(model)
  layers = [model, *served.flatten_layers(model)]
  without_operations = (served.keras.layers.InputLayer, served.keras.Model)
  if any(layer.compute_dtype in _HALF for layer in layers):
    return 'half precision'
  # Layers cast a float64 input to their own compute dtype.
  computing = [i for i in layers[1:] if not isinstance(i, without_operations)]
  if any(layer.compute_dtype == 'float64' for layer in computing):
    return 'float64'
  return 'float32'


def in_float32(model: Any) -> Any:
  """Returns a model that computes in float32: the model itself or a copy.

  Args:
    model: a built model of either Keras.

  Returns:
    The model itself if all its layers compute in float32, else a copy with the
    same weights.

  Raises:
    ValueError: the model cannot be rebuilt, since it is subclassed or a layer
      cannot be rebuilt from its config.

  >>> layer = keras.layers.Dense(2, input_shape=(3,), dtype='mixed_bfloat16')
  >>> in_float32(keras.Sequential([layer])).compute_dtype
  'float32'
  """
  found = precision(model)
  if found == 'float32':
    return model
  served = served_model.of_model(model)
  if not served.is_network(model):
    raise ValueError(
      f'{model.name!r} computes in {found}, which TFLite does not support, and '
      'a subclassed model cannot be rebuilt automatically: build it again '
      "under keras.mixed_precision.set_global_policy('float32'), then "
      'new_model.set_weights(model.get_weights()).'
    )
  try:
    with _float32_policy(served):
      rebuilt = _rebuild(served)
  except (TypeError, ValueError, KeyError, AttributeError) as error:
    reason = str(error).strip().split('\n')[0]
    raise _rebuild_error(model, found, reason) from error
  found = precision(rebuilt)
  if found != 'float32':
    raise _rebuild_error(model, found, f'a layer always computes in {found}')
  return rebuilt


@contextlib.contextmanager
def _float32_policy(served: served_model.ServedModel) -> Iterator[None]:
  """Makes float32 the global policy: layers use it for those they create."""
  keras = served.keras
  policy: Any = keras.mixed_precision.global_policy()
  is_default = policy.name == keras.backend.floatx()
  if is_default and not which_keras.is_keras_3(served.model):
    policy = None  # The default policy, which follows set_floatx.
  try:
    keras.mixed_precision.set_global_policy('float32')
    yield
  finally:
    keras.mixed_precision.set_global_policy(policy)


def _rebuild(served: served_model.ServedModel) -> Any:
  """Returns a copy of a network with float32 in place of its dtypes."""
  model = served.model
  kinds = {type(layer) for layer in served.flatten_layers(model)}
  rebuilt = type(model).from_config(
    _to_float32(model.get_config()),
    custom_objects={kind.__name__: kind for kind in kinds},
  )
  rebuilt.set_weights(model.get_weights())
  return rebuilt


def _rebuild_error(model: Any, found: str, reason: str) -> ValueError:
  return ValueError(
    f'{model.name!r} computes in {found}, which TFLite does not support, and '
    f'cannot be rebuilt in float32: {reason}'
  )


def _to_float32(config: Any) -> Any:
  """Returns a config in which float32 replaces other floating dtypes."""
  if isinstance(config, dict):
    name = config.get('config') if 'class_name' in config else None
    if config.get('class_name') in _POLICIES and isinstance(name, dict):
      replace = str(name.get('name')).endswith(_NOT_FLOAT32)
      return 'float32' if replace else config
    return {
      key: _float32_dtype(value) if key == 'dtype' else _to_float32(value)
      for key, value in config.items()
    }
  if isinstance(config, list | tuple):
    return type(config)(_to_float32(item) for item in config)
  return config


def _float32_dtype(dtype: Any) -> Any:
  if isinstance(dtype, tf.DType):
    return tf.float32 if dtype.name in _NOT_FLOAT32 else dtype
  if isinstance(dtype, str):
    return 'float32' if dtype.endswith(_NOT_FLOAT32) else dtype
  return _to_float32(dtype)
