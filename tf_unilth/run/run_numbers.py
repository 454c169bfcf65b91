"""The interface through which this package reads the state of a run."""

from typing import Any, Protocol


class RunNumbers(Protocol):
  """The numbers of a run, by name; an engine stores them."""

  def get(self, name: str) -> Any:
    """Returns the number with a name."""

  def set(self, **values: Any) -> None:
    """Sets the numbers with the given names."""
