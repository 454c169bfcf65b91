"""PruningTarget: tells whether a model has reached its target sparsity."""

from typing import Protocol


class PruningTarget(Protocol):
  """The part of a pruned model that checkpoints and early stopping need."""

  def check(self) -> None:
    """Raises a `ValueError` if a ticket callback cannot prune the model."""

  def are_at_target(self) -> bool:
    """Returns whether all rounds of pruning are complete."""
