"""Attributes that are set on objects for a while and restored afterwards."""

from typing import Any


class Patches:
  """Attributes set on instances, with their previous values.

  >>> class Thing:
  ...   name = 'of the class'
  >>> thing, patches = Thing(), Patches()
  >>> patches.set(thing, 'name', 'patched')
  >>> thing.name
  'patched'
  >>> patches.restore()
  >>> thing.name, vars(thing)
  ('of the class', {})
  """

  def __init__(self):
    self._entries: list[tuple[Any, str, Any, Any]] = []

  def set(self, thing: Any, name: str, value: Any) -> None:
    """Sets an attribute of the instance and remembers its previous value.

    Args:
      thing: the object to patch.
      name: the attribute.
      value: its new value.
    """
    # The instance may have an attribute of its own, which a user set.
    self._entries.append((thing, name, vars(thing).get(name), value))
    setattr(thing, name, value)

  def is_set(self, thing: Any, name: str) -> bool:
    """Returns whether an attribute still has the value given to `set`."""
    return any(
      vars(thing).get(name) is value
      for owner, known, _, value in self._entries
      if owner is thing and known == name
    )

  def restore(self) -> None:
    """Restores all attributes, except those that other code set since then."""
    for thing, name, before, value in reversed(self._entries):
      if vars(thing).get(name) is not value:
        continue
      if before is None:
        delattr(thing, name)
      else:
        setattr(thing, name, before)
    self._entries = []
