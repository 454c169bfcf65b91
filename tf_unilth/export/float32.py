"""in_float32: a model that computes in half precision or float64, made anew."""

from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot import model_layers
from tf_unilth.engines.tfmot.keras_access import keras

_HALF = ('float16', 'bfloat16')
_OTHERS = (*_HALF, 'float64')
_WITHOUT_OPERATIONS = (keras.layers.InputLayer, keras.Model)


def precision(model: keras.Model) -> str:
  """Returns what a model computes in, in words.

  Returns:
    `half precision` or `float64` if any of its layers does, else `float32`.

  >>> layer = keras.layers.Dense(2, input_shape=(3,), dtype='float64')
  >>> precision(keras.Sequential([layer]))
  'float64'
  """
  layers = [model, *model_layers.flatten_layers(model)]
  if any(layer.compute_dtype in _HALF for layer in layers):
    return 'half precision'
  # An input of float64 is cast to what the layers compute in.
  computing = [i for i in layers[1:] if not isinstance(i, _WITHOUT_OPERATIONS)]
  if any(layer.compute_dtype == 'float64' for layer in computing):
    return 'float64'
  return 'float32'


def in_float32(model: keras.Model) -> keras.Model:
  """Returns the model, or its copy in float32 if it computes in another type.

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
  found = precision(model)
  if found == 'float32':
    return model
  if not model_layers.is_network(model):
    raise ValueError(
      f'{model.name!r} computes in {found}, which TFLite cannot, and a '
      'subclassed model cannot be rebuilt for you: build it again under '
      "keras.mixed_precision.set_global_policy('float32'), then "
      'new_model.set_weights(model.get_weights()).'
    )
  kinds = {type(layer) for layer in model_layers.flatten_layers(model)}
  policy: Any = keras.mixed_precision.global_policy()
  if policy.name == keras.backend.floatx():
    policy = None  # The default, which follows set_floatx.
  try:
    # Layers inside of layers take the policy that is in force.
    keras.mixed_precision.set_global_policy('float32')
    rebuilt = type(model).from_config(
      _in_float32(model.get_config()),
      custom_objects={kind.__name__: kind for kind in kinds},
    )
    rebuilt.set_weights(model.get_weights())
  except (TypeError, ValueError, KeyError, AttributeError) as error:
    why = str(error).strip().split('\n')[0]
    raise _cannot(model, found, why) from error
  finally:
    keras.mixed_precision.set_global_policy(policy)
  left = precision(rebuilt)
  if left != 'float32':
    raise _cannot(model, left, f'a layer chooses {left} by itself')
  return rebuilt


def _cannot(model: keras.Model, found: str, why: str) -> ValueError:
  return ValueError(
    f'{model.name!r} computes in {found}, which TFLite cannot, and could not '
    f'be rebuilt in float32: {why}'
  )


def _in_float32(config: Any) -> Any:
  """Returns a configuration with float32 for every other floating dtype."""
  if isinstance(config, dict):
    name = config.get('config') if 'class_name' in config else None
    if config.get('class_name') == 'Policy' and isinstance(name, dict):
      other = str(name.get('name')).endswith(_OTHERS)
      return 'float32' if other else config
    return {
      key: _float32_of(value) if key == 'dtype' else _in_float32(value)
      for key, value in config.items()
    }
  if isinstance(config, list | tuple):
    return type(config)(_in_float32(item) for item in config)
  return config


def _float32_of(dtype: Any) -> Any:
  if isinstance(dtype, tf.DType):
    return tf.float32 if dtype.name in _OTHERS else dtype
  if isinstance(dtype, str):
    return 'float32' if dtype.endswith(_OTHERS) else dtype
  return _in_float32(dtype)
