"""Prints the event lines of a callback after each epoch (`verbose` > 0)."""

import dataclasses


@dataclasses.dataclass
class EventLog:
  """Collects lines during an epoch, and prints them after it.

  Args:
    speaker: the name that begins each line.
    verbose: 0 is silent.
  """

  speaker: str
  verbose: int
  _pending: list[str] = dataclasses.field(default_factory=list)

  def add(self, message: str) -> None:
    """Adds a line for the next `flush`.

    Args:
      message: the line, without the name.
    """
    if self.verbose:
      self._pending.append(message)

  def flush(self) -> None:
    """Prints the collected lines on stdout."""
    for message in self._pending:
      print(f'{self.speaker}: {message}', flush=True)
    self._pending.clear()
