"""in_float32: a model that computed in half precision, in float32."""

from typing import Any

import tensorflow as tf

from tf_unilth import compat
from tf_unilth.compat import keras

_HALF = ('float16', 'bfloat16')


def in_float32(model: keras.Model) -> keras.Model:
  """Returns the model, or its copy in float32 if it computes in less.

  Args:
    model: a built tf_keras model.

  Returns:
    The model itself if all its layers compute in float32.

  Raises:
    ValueError: it cannot be rebuilt, since it is subclassed, or has a layer
      that does not survive its own configuration.

  >>> layer = keras.layers.Dense(2, input_shape=(3,), dtype='mixed_bfloat16')
  >>> in_float32(keras.Sequential([layer])).compute_dtype
  'float32'
  """
  if not _computes_in_half(model):
    return model
  if not compat.is_network(model):
    raise ValueError(
      f'{model.name!r} computes in half precision, which TFLite cannot, and a '
      'subclassed model cannot be rebuilt for you: build it again under '
      "keras.mixed_precision.set_global_policy('float32'), then "
      'new_model.set_weights(model.get_weights()).'
    )
  kinds = {type(layer) for layer in compat.flatten_layers(model)}
  policy = keras.mixed_precision.global_policy()
  try:
    # Layers inside of layers take the policy that is in force.
    keras.mixed_precision.set_global_policy('float32')
    rebuilt = type(model).from_config(
      _without_half(model.get_config()),
      custom_objects={kind.__name__: kind for kind in kinds},
    )
    rebuilt.set_weights(model.get_weights())
  except (TypeError, ValueError, KeyError, AttributeError) as error:
    raise _cannot(model, str(error).strip().split('\n')[0]) from error
  finally:
    keras.mixed_precision.set_global_policy(policy)
  if _computes_in_half(rebuilt):
    raise _cannot(model, 'a layer chooses half precision by itself')
  return rebuilt


def _cannot(model: keras.Model, why: str) -> ValueError:
  return ValueError(
    f'{model.name!r} computes in half precision, which TFLite cannot, and '
    f'could not be rebuilt in float32: {why}'
  )


def _computes_in_half(model: keras.Model) -> bool:
  layers = [model, *compat.flatten_layers(model)]
  return any(layer.compute_dtype in _HALF for layer in layers)


def _without_half(config: Any) -> Any:
  """Returns a configuration with float32 for every half precision dtype."""
  if isinstance(config, dict):
    name = config.get('config') if 'class_name' in config else None
    if config.get('class_name') == 'Policy' and isinstance(name, dict):
      half = str(name.get('name')).endswith(_HALF)
      return 'float32' if half else config
    return {
      key: _float32_of(value) if key == 'dtype' else _without_half(value)
      for key, value in config.items()
    }
  if isinstance(config, list | tuple):
    return type(config)(_without_half(item) for item in config)
  return config


def _float32_of(dtype: Any) -> Any:
  if isinstance(dtype, tf.DType):
    return tf.float32 if dtype.name in _HALF else dtype
  if isinstance(dtype, str):
    return 'float32' if dtype.endswith(_HALF) else dtype
  return _without_half(dtype)
