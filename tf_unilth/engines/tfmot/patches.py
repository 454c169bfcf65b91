"""Attributes that are put onto objects for a while, and taken back."""

from typing import Any


class Patches:
  """What was put onto which objects, so that all of it can be taken back.

  >>> class Thing:
  ...   name = 'of the class'
  >>> thing, patches = Thing(), Patches()
  >>> patches.put(thing, 'name', 'ours')
  >>> thing.name
  'ours'
  >>> patches.take_back()
  >>> thing.name, vars(thing)
  ('of the class', {})
  """

  def __init__(self):
    self._entries: list[tuple[Any, str, Any, Any]] = []

  def put(self, thing: Any, name: str, value: Any) -> None:
    """Sets an attribute of the instance, and keeps what it had before."""
    # A user may have put one of their own on the instance.
    self._entries.append((thing, name, vars(thing).get(name), value))
    setattr(thing, name, value)

  def is_in_place(self, thing: Any, name: str) -> bool:
    """Returns whether an attribute is still the one that was put there."""
    return any(
      vars(thing).get(name) is value
      for owner, known, _, value in self._entries
      if owner is thing and known == name
    )

  def take_back(self) -> None:
    """Leaves the objects as they were found.

    What somebody else has put in the place of ours since then stays.
    """
    for thing, name, before, value in reversed(self._entries):
      if vars(thing).get(name) is not value:
        continue
      if before is None:
        delattr(thing, name)
      else:
        setattr(thing, name, before)
    self._entries = []
