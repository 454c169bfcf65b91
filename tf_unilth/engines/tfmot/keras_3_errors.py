"""Error messages for Keras 3 objects that are passed to tf_keras."""

import functools
import inspect
import types
from typing import Any

import tensorflow as tf
import tf_keras as keras

from tf_unilth.engines import patches, which_keras
from tf_unilth.engines.tfmot import fit_introspection


def check_keras(thing: Any, argument: str, kind: type) -> None:
  """Checks that an argument is an object of a tf_keras class.

  Args:
    thing: the value of the argument.
    argument: its name, for the message.
    kind: the tf_keras class.

  Raises:
    TypeError: it is not; the message explains what to do about Keras 3.
  """
  if isinstance(thing, kind):
    return
  has_weights = issubclass(kind, keras.layers.Layer)
  raise which_keras.wrong_keras_error(
    thing, argument, kind.__name__, has_weights=has_weights
  )


def rebuild(kind: type) -> str:
  """Returns a sentence on how to make the tf_keras object instead.

  Args:
    kind: the tf_keras class.
  """
  return which_keras.rebuild('tf_keras', issubclass(kind, keras.layers.Layer))


def check_callbacks_of_fit() -> None:
  """Checks that the callbacks of the running `fit` are not from Keras 3.

  Call it in `set_model` of a callback, which Keras calls before it checks the
  rest of its list. On a Keras 3 callback Keras itself fails with an unrelated
  message.

  Raises:
    TypeError: a callback is from Keras 3.
  """
  for callback in fit_introspection.callbacks_given():
    is_ours = getattr(callback, 'fits_either_keras', False)
    if which_keras.is_keras_3(callback) and not is_ours:
      check_keras(callback, 'callbacks', keras.callbacks.Callback)


def check_when_compiled(model: keras.Model) -> None:
  """Makes `compile` of a model raise a clear `TypeError` for Keras 3 objects.

  Keras itself cannot interpret a Keras 3 optimizer, and fails on a Keras 3
  metric only in the first step. Only this instance is patched, not its class.
  """
  # A bound method, so that a copy of the model gets one bound to the copy.
  bound = types.MethodType(_check_and_compile, model)
  patches.set_lasting('wrapped model', model, 'compile', bound)


@functools.wraps(keras.Model.compile)
def _check_and_compile(model: keras.Model, *args: Any, **kwargs: Any) -> None:
  compile_model = type(model).compile
  signature = inspect.signature(compile_model)
  given = signature.bind(model, *args, **kwargs).arguments
  for name, kind in (
    ('optimizer', keras.optimizers.Optimizer),
    ('metrics', keras.metrics.Metric),
    ('weighted_metrics', keras.metrics.Metric),
  ):
    for thing in tf.nest.flatten(given.get(name)):
      if which_keras.is_keras_3(thing):
        check_keras(thing, name, kind)
  compile_model(model, *args, **kwargs)
