"""What the rooms below the engines ask of the state of a run."""

from typing import Any, Protocol


class RunNumbers(Protocol):
  """The numbers of a run, by name; an engine keeps them."""

  def get(self, name: str) -> Any:
    """Returns a number."""

  def set(self, **values: Any) -> None:
    """Sets numbers."""
