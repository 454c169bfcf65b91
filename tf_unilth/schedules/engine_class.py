"""EngineClass: a plain class that an engine's subclass takes the place of."""

import weakref
from typing import Any, ClassVar


class EngineClass:
  """The base of plain classes whose objects an engine extends.

  A user makes a schedule before any model is seen. Where tf_keras is used, the
  schedule must be a tfmot schedule, and elsewhere no framework may be imported.
  As with `pathlib.Path`, the plain class then returns an object of the engine's
  subclass. Objects that were made before tf_keras was imported become objects
  of the subclass when it is imported, so they keep their identity.
  """

  _subclasses: ClassVar[dict[type, type]] = {}
  _plain_objects: ClassVar[weakref.WeakSet[Any]] = weakref.WeakSet()

  # In a base class, because `inspect.signature` prefers a `__new__` to an
  # `__init__` of the same class.
  def __new__(cls, *args: Any, **kwargs: Any) -> Any:
    del args, kwargs  # For `__init__`.
    instance: Any = super().__new__(EngineClass._subclasses.get(cls, cls))
    if not EngineClass._subclasses:
      EngineClass._plain_objects.add(instance)
    return instance

  def _init_engine(self) -> None:
    """Sets the attributes that only an engine's subclass has.

    `__init__` calls it first.
    """

  def get_config(self) -> dict[str, Any]:
    """Returns the argument of `from_config`."""
    raise NotImplementedError

  @classmethod
  def from_config(cls, config: dict[str, Any]) -> Any:
    """Returns an object from the result of `get_config`."""
    raise NotImplementedError

  def __reduce__(self) -> Any:
    # The copy is of the subclass if the engine is used where it is loaded.
    return type(self).from_config, (self.get_config(),)


def use_subclasses(subclasses: dict[type, type]) -> None:
  """Makes an engine's subclasses take the place of plain classes.

  Args:
    subclasses: the subclass of each plain class.
  """
  EngineClass._subclasses.update(subclasses)
  for instance in list(EngineClass._plain_objects):
    subclass = subclasses.get(type(instance))
    if subclass is not None:
      instance.__class__ = subclass
      instance._init_engine()
  EngineClass._plain_objects.clear()
