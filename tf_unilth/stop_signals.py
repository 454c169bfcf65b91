"""SIGTERM and SIGINT: noted when they come, obeyed when it suits."""

import contextlib
import signal
import threading
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
  """Notes the first signal to stop; a second one is the default's again."""

  def __init__(self) -> None:
    self.received: int | None = None
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
    """Puts the handlers back that were there."""
    for number, handler in self._previous.items():
      with contextlib.suppress(ValueError):  # Another thread cleans up.
        # None: it was not set from Python, and cannot be.
        signal.signal(number, signal.SIG_DFL if handler is None else handler)
    self._previous.clear()

  def _note(self, number: int, frame: Any) -> None:
    del frame
    self.restore()
    self.received = number
