"""Adds a callback to the list of a running `fit`, and takes it out again.

The list is replaced, not changed: Keras may be iterating over it, and the user
may pass it to the next `fit`.
"""

from typing import Any


def add_last(callback_list: Any, callback: Any) -> None:
  """Lets Keras call a callback after all others.

  Args:
    callback_list: Keras's `CallbackList`.
    callback: the callback.
  """
  others = _without(callback_list.callbacks, callback)
  callback_list.callbacks = [*others, callback]


def remove(callback_list: Any, callback: Any) -> None:
  """Takes a callback out; an iteration that has begun still calls it.

  Args:
    callback_list: Keras's `CallbackList`.
    callback: the callback.
  """
  callback_list.callbacks = _without(callback_list.callbacks, callback)


def _without(callbacks: list[Any], callback: Any) -> list[Any]:
  return [other for other in callbacks if other is not callback]
