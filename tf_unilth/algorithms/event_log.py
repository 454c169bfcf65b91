"""What a callback says, printed between two progress bars."""

import dataclasses


@dataclasses.dataclass
class Messages:
  """Lines that wait for the end of an epoch.

  Args:
    speaker: whose name each line begins with.
    verbose: 0 keeps silent.
  """

  speaker: str
  verbose: int
  _waiting: list[str] = dataclasses.field(default_factory=list)

  def say(self, message: str) -> None:
    """Keeps a line for the next `flush`."""
    if self.verbose:
      self._waiting.append(message)

  def flush(self) -> None:
    """Prints what was said."""
    for message in self._waiting:
      print(f'{self.speaker}: {message}', flush=True)
    self._waiting.clear()
