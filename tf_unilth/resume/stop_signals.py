"""SIGTERM and SIGINT set a flag; the run acts on it between steps."""

import contextlib
import signal
import threading
from collections.abc import Callable
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
  """Records the first signal, and restores the previous handlers for a second.

  Args:
    is_running: returns whether the run still runs. If it died, signals go to
      the previous handlers.

  Attributes:
    received: the number of the received signal, `None` if there is none.
  """

  def __init__(self, is_running: Callable[[], bool]) -> None:
    self.received: int | None = None
    self._is_running = is_running
    self._previous: dict[int, Any] = {}

  @property
  def exit_code(self) -> int:
    """The shell's exit code for the received signal: 128 + its number."""
    assert self.received is not None
    return 128 + self.received

  def install(self) -> None:
    """Installs the handlers, if this is the main thread.

    Python allows it in no other thread.
    """
    self.received = None
    if threading.current_thread() is threading.main_thread():
      for number in _SIGNALS:
        self._previous[number] = signal.signal(number, self._handle)

  def restore(self) -> None:
    """Restores the previous handlers, unless others were set since."""
    for number, handler in [*self._previous.items()]:
      if signal.getsignal(number) == self._handle:
        # A thread that is not the main one cannot set handlers.
        with contextlib.suppress(ValueError):
          # None: the handler was not set from Python, and cannot be restored.
          signal.signal(number, signal.SIG_DFL if handler is None else handler)
          del self._previous[number]
      else:
        del self._previous[number]

  def _handle(self, number: int, frame: Any) -> None:
    del frame
    self.restore()
    if self._is_running():
      self.received = number
    else:
      signal.raise_signal(number)
