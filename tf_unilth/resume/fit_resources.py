"""The lock, signal handlers and callback list entry of a `fit`."""

import pathlib
import weakref
from collections.abc import Callable
from typing import Any

from tf_unilth.engines.patches import Patches
from tf_unilth.engines.tfmot import callback_list as callback_lists
from tf_unilth.engines.tfmot import fit_introspection
from tf_unilth.files.directory_lock import DirectoryLock
from tf_unilth.resume.stop_signals import StopSignals


class FitResources:
  """Acquires what a `fit` needs while it runs, and releases it at its end.

  Each `fit` has its own object, so that releasing one of a `fit` that died does
  not release the resources of a later one.

  Args:
    owner: the callback; outside of `fit` the resources are in use as long as
      it exists.
    directory: the directory to lock.
    handler: Keras's data handler of the `fit`, `None` outside of `fit`.
    callback_list: Keras's `CallbackList` of the `fit`, `None` outside of `fit`.
    last: a callback that Keras calls after all others.
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
    self.patches = Patches()

  def lock(self) -> None:
    """Locks the directory.

    Raises:
      DirectoryInUseError: another run that is alive has locked it.
    """
    self._lock.acquire(self._is_running)

  def install(self) -> None:
    """Installs signal handlers and the last callback.

    Call it when no other callback can raise in `on_train_begin` any more.
    """
    self.signals.install()
    if self._callback_list is not None:
      callback_lists.add_last(self._callback_list, self._last)

  def release(self) -> None:
    """Releases everything; may be called more than once."""
    self.signals.restore()
    self._lock.release()
    self.patches.restore()
    if self._callback_list is not None:
      callback_lists.remove(self._callback_list, self._last)

  def release_if_over(self) -> None:
    """Releases everything if the `fit` died; the owner begins another one."""
    if self._callback_list is None or not self._is_running():
      self.release()


def _liveness(owner: Any, handler: Any) -> Callable[[], bool]:
  """Returns a function that returns whether a `fit` still runs.

  Args:
    owner: the callback.
    handler: Keras's data handler of the `fit`, `None` outside of `fit`.
  """
  if handler is None:
    existing = weakref.ref(owner)
    return lambda: existing() is not None
  of_fit = weakref.ref(handler)
  return lambda: fit_introspection.is_running(of_fit())
