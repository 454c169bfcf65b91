"""Which Keras an object is of, without importing one."""

from typing import Any

_FRAMEWORKS = ('keras', 'tf_keras', 'tensorflow', 'jax', 'jaxlib', 'torch')


def package_of(thing: Any) -> str | None:
  """Returns `'tf_keras'`, `'keras'` (Keras 3), or `None` for another object.

  Args:
    thing: an object whose class is from a Keras or derives from it.
  """
  packages = {base.__module__.split('.')[0] for base in type(thing).__mro__}
  return next((p for p in ('tf_keras', 'keras') if p in packages), None)


def has_base(thing: Any, *names: str) -> bool:
  """Returns whether an object is of a framework's class or of a subclass.

  Args:
    thing: any object.
    *names: names of classes of Keras, TensorFlow, JAX or torch.
  """
  return any(
    base.__name__ in names and base.__module__.split('.')[0] in _FRAMEWORKS
    for base in type(thing).__mro__
  )


def is_keras_3(thing: Any) -> bool:
  """Returns whether an object's class is from Keras 3 or derives from it."""
  return package_of(thing) == 'keras'


def check_tf_keras(thing: Any, argument: str, kind: str) -> None:
  """Raises a `TypeError` if an object is not of tf_keras, without importing it.

  Args:
    thing: the value of the argument.
    argument: its name.
    kind: the name of the tf_keras class that it must be of.
  """
  if package_of(thing) != 'tf_keras':
    raise wrong_keras_error(thing, argument, kind)


def wrong_keras_error(
  thing: Any,
  argument: str,
  kind: str,
  package: str = 'tf_keras',
  has_weights: bool = True,
) -> TypeError:
  """Returns the error for an object that is not of the wanted Keras.

  Args:
    thing: the value of the argument.
    argument: its name.
    kind: the name of the class that it must be of.
    package: the package of that class, `'tf_keras'` or `'keras'`.
    has_weights: whether that class is a layer, whose weights can be copied.
  """
  cls = type(thing)
  message = (
    f'{argument} must be a {package}.{kind}, but it is a '
    f'{cls.__module__}.{cls.__qualname__}.'
  )
  other = package_of(thing)
  if other is not None and other != package:
    name = {'keras': 'Keras 3', 'tf_keras': 'tf_keras'}[other]
    message += f' That is {name}, but {package} is needed here. ' + rebuild(
      package, has_weights
    )
  return TypeError(message)


def rebuild(package: str, has_weights: bool) -> str:
  """Returns a sentence on how to make an object of another Keras instead.

  Args:
    package: the package of that Keras, `'tf_keras'` or `'keras'`.
    has_weights: whether it is a layer or a model.
  """
  lines = {'keras': '`import keras`', 'tf_keras': '`import tf_keras as keras`'}
  line = lines.pop(package)
  (other,) = lines.values()
  how = f'with {package}: {line} in place of {other}'
  if has_weights:
    return f'Build it {how}, then `new.set_weights(old.get_weights())`.'
  return f'Make it {how}.'
