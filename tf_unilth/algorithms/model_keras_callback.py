"""ModelKerasCallback: a callback of the Keras that its model is of."""

import functools
import sys
from typing import Any, ClassVar

from tf_unilth.engines import which_keras

# A class of Keras, once an object has one.
_KerasCallback: Any = object


class ModelKerasCallback(_KerasCallback):
  """The base of callbacks that extend a callback of either Keras.

  An object is made before its model is seen. It extends the class of tf_keras,
  or that of Keras 3 where only Keras 3 is imported. When it gets a model of the
  other Keras, its constructor runs again for the class of that Keras. An object
  that was made before any Keras was imported extends a class when it is used.

  Args:
    *args: as in the class of Keras.
    **kwargs: as in the class of Keras.
  """

  # The name of the class in `keras.callbacks`.
  keras_class: ClassVar[str]
  # The package of the Keras whose class the object extends.
  _package: ClassVar[str | None] = None
  # Tells the checks of `fit` that it becomes a callback of the model's Keras.
  fits_either_keras = True

  def __new__(cls, *args: Any, **kwargs: Any) -> Any:
    del args, kwargs  # For `__init__`.
    package = _imported_keras()
    chosen: Any = cls
    if package is not None:
      chosen = _extension(chosen, package)
    return super().__new__(chosen)

  def __init__(self, *args: Any, **kwargs: Any):
    self._arguments = (args, kwargs)
    if self._package is not None:
      super().__init__(*args, **kwargs)

  def set_model(self, model: Any) -> None:
    """Becomes a callback of the model's Keras.

    Args:
      model: the model to train.
    """
    package = which_keras.package_of(model)
    if package is not None:
      self._extend(package)
    super().set_model(model)

  def _extend(self, package: str) -> None:
    """Makes the object extend the class of a Keras."""
    if package != self._package:
      args, kwargs = self._arguments
      self.__dict__.clear()
      self.__class__ = _extension(_without_keras(type(self)), package)
      type(self).__init__(self, *args, **kwargs)

  def __getattr__(self, name: str) -> Any:
    # A list of callbacks looks for the hooks before it passes the model.
    package = _imported_keras()
    if (
      self._package is None
      and package is not None
      and '_arguments' in vars(self)
      and not name.startswith('__')
    ):
      self._extend(package)
      return getattr(self, name)
    raise AttributeError(f'{type(self).__name__!r} has no attribute {name!r}')

  def __reduce__(self) -> Any:
    # The class with the bases of a Keras has no name to import it by.
    cls = _without_keras(type(self))
    return _bare, (cls, self._package), vars(self).copy()


def _imported_keras() -> str | None:
  imported = (p for p in ('tf_keras', 'keras') if p in sys.modules)
  return next(imported, None)


def _without_keras(cls: type) -> type:
  return cls if cls.__dict__.get('_package') is None else cls.__mro__[1]


@functools.cache
def _extension(cls: Any, package: str) -> Any:
  """Returns a subclass that also derives from a Keras's class."""
  base = getattr(sys.modules[package].callbacks, cls.keras_class)
  names = {'_package': package, '__module__': cls.__module__}
  names |= {'__qualname__': cls.__qualname__, '__doc__': cls.__doc__}
  return type(cls.__name__, (cls, base), names)


def _bare(cls: Any, package: str | None) -> Any:
  """Returns an object without attributes, for copies and pickles."""
  if package is not None:
    __import__(package)
    cls = _extension(cls, package)
  return object.__new__(cls)
