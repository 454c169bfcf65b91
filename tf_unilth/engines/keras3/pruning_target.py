"""Whether a Keras 3 model has reached its target sparsity."""

import keras

from tf_unilth.engines.keras3 import pruning_plan
from tf_unilth.engines.pruning_target import PruningTarget


class _Unplanned:
  """A model that is not to be pruned.

  Args:
    model: the model.
  """

  def __init__(self, model: keras.Model):
    self._model = model

  def check(self) -> None:
    """Raises a `ValueError`: no ticket callback can prune it."""
    pruning_plan.planned(self._model)

  def are_at_target(self) -> bool:
    """Returns True."""
    return True


def pruning_target(model: keras.Model) -> PruningTarget:
  """Returns the plan of a model, which knows it.

  Args:
    model: a Keras 3 model; one without a plan is at its target.
  """
  return pruning_plan.plan_of(model) or _Unplanned(model)
