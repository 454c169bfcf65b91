"""What a callback says, printed between two progress bars."""

import dataclasses


def count(number: int, noun: str, plural: str | None = None) -> str:
  """Returns a number with what it counts.

  Args:
    number: how many.
    noun: what one of them is called.
    plural: what others are called, where it is not the noun and an s.

  >>> count(1, 'round'), count(2345, 'epoch'), count(2, 'batch', 'batches')
  ('1 round', '2,345 epochs', '2 batches')
  """
  return f'{number:,} {noun if number == 1 else plural or f"{noun}s"}'


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
