"""Which Keras an object is of, without importing one."""

from typing import Any


def package_of(thing: Any) -> str | None:
  """Returns `'tf_keras'`, `'keras'` (Keras 3), or `None` for another object.

  Args:
    thing: an object whose class is from a Keras or derives from it.
  """
  packages = {base.__module__.split('.')[0] for base in type(thing).__mro__}
  return next((p for p in ('tf_keras', 'keras') if p in packages), None)


def is_keras_3(thing: Any) -> bool:
  """Returns whether an object's class is from Keras 3 or derives from it."""
  return package_of(thing) == 'keras'


def wrong_keras_error(
  thing: Any, argument: str, kind: str, has_weights: bool = True
) -> TypeError:
  """Returns the error for an object that is not of tf_keras.

  Args:
    thing: the value of the argument.
    argument: its name.
    kind: the name of the tf_keras class that it must be of.
    has_weights: whether that class is a layer, whose weights can be copied.
  """
  cls = type(thing)
  message = (
    f'{argument} must be a tf_keras.{kind}, but it is a '
    f'{cls.__module__}.{cls.__qualname__}.'
  )
  if is_keras_3(thing):
    message += (
      ' That is Keras 3, but tfmot works only with tf_keras. '
      + rebuild(has_weights)
    )
  return TypeError(message)


def rebuild(has_weights: bool) -> str:
  """Returns a sentence on how to make the tf_keras object instead.

  Args:
    has_weights: whether it is a layer or a model.
  """
  how = 'with tf_keras: `import tf_keras as keras` in place of `import keras`'
  if has_weights:
    weights = '`new_model.set_weights(keras3_model.get_weights())`'
    return f'Build it {how}, then {weights}.'
  return f'Make it {how}.'
