"""Errors that help where an object of Keras 3 is given to tf_keras."""

import functools
import inspect
import types
from typing import Any

import tensorflow as tf
import tf_keras as keras


def check_keras(thing: Any, argument: str, kind: type) -> None:
  """Raises a `TypeError` that helps if `thing` is not a tf_keras `kind`."""
  if isinstance(thing, kind):
    return
  cls = type(thing)
  message = (
    f'{argument} must be a tf_keras.{kind.__name__}, but it is a '
    f'{cls.__module__}.{cls.__qualname__}.'
  )
  if is_keras_3(thing):
    message += (
      f' That is Keras 3; tfmot works with tf_keras alone. {rebuild(kind)}'
    )
  raise TypeError(message)


def is_keras_3(thing: Any) -> bool:
  """Returns whether something is an object of Keras 3, or of its subclass."""
  return any(
    base.__module__.split('.')[0] == 'keras' for base in type(thing).__mro__
  )


def rebuild(kind: type) -> str:
  """Returns how to come by an object of tf_keras in place of one of Keras 3."""
  words = 'with tf_keras: `import tf_keras as keras` in place of `import keras`'
  if issubclass(kind, keras.layers.Layer):
    weights = '`new_model.set_weights(keras3_model.get_weights())`'
    return f'Build it {words}, then {weights}.'
  return f'Make it {words}.'


def check_callbacks_of_fit() -> None:
  """Raises a `TypeError` that helps for callbacks of Keras 3.

  For the `set_model` of a callback: Keras calls it before it looks at what
  its list holds, and fails on those of Keras 3 without a word of what they are.
  """
  frame = inspect.currentframe()
  while frame is not None:
    is_fit = frame.f_code.co_name == 'fit'
    given = frame.f_locals.get('callbacks') if is_fit else None
    if given is not None:
      for callback in tf.nest.flatten(getattr(given, 'callbacks', given)):
        if is_keras_3(callback):
          check_keras(callback, 'callbacks', keras.callbacks.Callback)
    frame = frame.f_back


def check_when_compiled(model: keras.Model) -> None:
  """Lets a model's `compile` raise a `TypeError` that helps for Keras 3.

  Keras itself cannot interpret such an optimizer, and fails on such a metric
  in the first step. It is told to this one object; no class is changed.
  """
  # A method, which a copy of the model gets for itself.
  model.compile = types.MethodType(_compile_checked, model)


@functools.wraps(keras.Model.compile)
def _compile_checked(model: keras.Model, *args: Any, **kwargs: Any) -> None:
  plain = type(model).compile
  given = inspect.signature(plain).bind(model, *args, **kwargs).arguments
  for name, kind in (
    ('optimizer', keras.optimizers.Optimizer),
    ('metrics', keras.metrics.Metric),
    ('weighted_metrics', keras.metrics.Metric),
  ):
    for thing in tf.nest.flatten(given.get(name)):
      if is_keras_3(thing):
        check_keras(thing, name, kind)
  plain(model, *args, **kwargs)
