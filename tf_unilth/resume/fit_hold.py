"""What a `fit` holds while it runs, and gives back however it ends."""

import pathlib
import weakref
from collections.abc import Callable
from typing import Any

from tf_unilth.engines.tfmot import fit_introspection
from tf_unilth.files.directory_lock import DirectoryLock
from tf_unilth.resume.stop_signals import StopSignals


class FitHold:
  """A lock, handlers of signals, and a last place among the callbacks.

  Each `fit` has one of its own, so that what is left of one that died cannot
  give back what a later one holds.

  Args:
    owner: the callback; outside of `fit` the hold lasts while it exists.
    directory: what is locked.
    handler: Keras's data handler of the `fit`, `None` outside of one.
    callback_list: Keras's `CallbackList` of the `fit`, `None` outside of one.
    last: the callback that Keras is to call after all others.
  """

  def __init__(
    self,
    owner: Any,
    directory: pathlib.Path,
    handler: Any,
    callback_list: Any,
    last: Any,
  ):
    self._is_running = _liveness(owner, handler)
    self._lock = DirectoryLock(directory)
    self.signals = StopSignals(self._is_running)
    self._callback_list, self._last = callback_list, last

  def lock(self) -> None:
    """Locks the directory.

    Raises:
      DirectoryInUseError: another run that is alive has locked it.
    """
    self._lock.acquire(self._is_running)

  def enter(self) -> None:
    """Is called when no callback can refuse the `fit` any more."""
    self.signals.install()
    if self._callback_list is not None:
      # A new list: Keras may be in a loop over the other one.
      self._callback_list.callbacks = [*self._others(), self._last]

  def leave(self) -> None:
    """Gives all back; may be called more than once."""
    self.signals.restore()
    self._lock.release()
    if self._callback_list is not None:
      self._callback_list.callbacks = self._others()

  def leave_if_over(self) -> None:
    """Gives all back of a `fit` that died; the owner begins another one."""
    if self._callback_list is None or not self._is_running():
      self.leave()

  def _others(self) -> list[Any]:
    callbacks = self._callback_list.callbacks
    return [callback for callback in callbacks if callback is not self._last]


def _liveness(owner: Any, handler: Any) -> Callable[[], bool]:
  """Returns a function that tells whether a `fit` still runs.

  Args:
    owner: the callback.
    handler: Keras's data handler of the `fit`, `None` outside of one.
  """
  if handler is None:
    existing = weakref.ref(owner)
    return lambda: existing() is not None
  of_fit = weakref.ref(handler)
  return lambda: fit_introspection.is_running(of_fit())
