"""SIGTERM and SIGINT set a flag, on which a run acts between two steps."""

import contextlib
import signal
import threading
from collections.abc import Callable
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
  """Notes the first signal to stop; a second one is the default's again.

  Args:
    is_running: whether the run that is to stop still runs. The signals of one
      that died go to the handlers that were there before.
  """

  def __init__(self, is_running: Callable[[], bool]) -> None:
    self.received: int | None = None
    self._is_running = is_running
    self._previous: dict[int, Any] = {}

  @property
  def exit_code(self) -> int:
    """What shells call the exit by that signal, 128 + its number."""
    assert self.received is not None
    return 128 + self.received

  def install(self) -> None:
    """Puts the handlers in place, where Python allows it: the main thread."""
    self.received = None
    if threading.current_thread() is threading.main_thread():
      for number in _SIGNALS:
        self._previous[number] = signal.signal(number, self._note)

  def restore(self) -> None:
    """Puts the handlers back that were there, unless others came since."""
    for number, handler in [*self._previous.items()]:
      if signal.getsignal(number) == self._note:
        # Another thread may clean up, but not set handlers.
        with contextlib.suppress(ValueError):
          # None: it was not set from Python, and cannot be.
          signal.signal(number, signal.SIG_DFL if handler is None else handler)
          del self._previous[number]
      else:
        del self._previous[number]

  def _note(self, number: int, frame: Any) -> None:
    del frame
    self.restore()
    if self._is_running():
      self.received = number
    else:
      signal.raise_signal(number)
