"""The lock, signal handlers and callback list entry of a `fit`."""

import pathlib
import weakref
from collections.abc import Callable
from typing import Any

from tf_unilth.engines.patches import Patches
from tf_unilth.files.directory_lock import DirectoryLock
from tf_unilth.resume.stop_signals import StopSignals
from tf_unilth.resume.training_access import FitData


class FitResources:
  """Acquires what a `fit` needs while it runs, and releases it at its end.

  Each `fit` has its own object, so that releasing one of a `fit` that died does
  not release the resources of a later one.

  Args:
    owner: the callback; outside of `fit` the resources are in use as long as
      it exists.
    directory: the directory to lock.
    data: those of the `fit`, `None` outside of `fit`.
    last: a callback that Keras calls after all others.
  """

  def __init__(
    self,
    owner: Any,
    directory: pathlib.Path,
    data: FitData | None,
    last: Any,
  ):
    self._is_running = _liveness(owner, data)
    self._lock = DirectoryLock(directory)
    self.signals = StopSignals(self._is_running)
    self._data, self._last = data, last
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
    if self._data is not None:
      self._data.add_last(self._last)

  def release(self) -> None:
    """Releases everything; may be called more than once."""
    self.signals.restore()
    self._lock.release()
    self.patches.restore()
    if self._data is not None:
      self._data.remove(self._last)

  def release_if_over(self) -> None:
    """Releases everything if the `fit` died; the owner begins another one."""
    if self._data is None or not self._is_running():
      self.release()


def _liveness(owner: Any, data: FitData | None) -> Callable[[], bool]:
  """Returns a function that returns whether a `fit` still runs.

  Args:
    owner: the callback.
    data: those of the `fit`, `None` outside of `fit`.
  """
  if data is not None:
    return data.is_running()
  existing = weakref.ref(owner)
  return lambda: existing() is not None
