"""ModelAccess: kernels and weights of a model of either Keras, for tickets."""

import dataclasses
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tf_unilth.engines import engine_choice
from tf_unilth.engines.engine import Kernel
from tf_unilth.run.run_state import RunState


@dataclasses.dataclass(frozen=True)
class ModelWeight:
  """A kernel or another weight of a model.

  Args:
    name: its name, with the name of its layer.
    shape: its shape.
    dtype: the name of its dtype.
    key: identifies it within the model.
  """

  name: str
  shape: tuple[int, ...]
  dtype: str
  key: Hashable


class ModelAccess(Protocol):
  """Reads and writes a built model, which may be prepared for pruning."""

  @property
  def model(self) -> Any:
    """The model."""

  @property
  def kernels(self) -> Sequence[ModelWeight]:
    """All prunable kernels, in the model's order."""

  @property
  def weights(self) -> Sequence[ModelWeight]:
    """All weights and statistics, in the order of `get_weights()`."""

  @property
  def pruned(self) -> Mapping[Hashable, Kernel]:
    """The kernels that are prepared for pruning, by key."""

  @property
  def masks(self) -> Mapping[Hashable, np.ndarray]:
    """The mask of each of `pruned`, True where a weight is kept."""

  @property
  def state(self) -> RunState | None:
    """The state of the run that pruned the model, `None` without one."""

  @property
  def versions(self) -> dict[str, str]:
    """The versions of the packages that the model needs."""

  def read(self, weight: ModelWeight) -> np.ndarray:
    """Returns the value of a weight."""

  def without_masks(self, values: Sequence[Any]) -> Sequence[Any]:
    """Returns the result of `get_weights()` without what pruning has added."""

  def find_layers(self, selectors: Any) -> list[Any]:
    """Returns the layers that the argument `skip` selects."""

  def keys_in(self, layers: Iterable[Any]) -> set[Hashable]:
    """Returns the keys of all weights of some layers."""

  def hold_zeros(self, skipped: Sequence[Any]) -> 'ModelAccess':
    """Prepares a model for training with fixed masks.

    Args:
      skipped: the layers that stay as they are.
    """

  def assign(self, key: Hashable, value: np.ndarray) -> None:
    """Sets a weight."""

  def check_masks(self, masks: Mapping[Hashable, np.ndarray]) -> None:
    """Raises a `ValueError` if masks split what is pruned together.

    Args:
      masks: masks by key.
    """

  def assign_masks(self, masks: Mapping[Hashable, np.ndarray]) -> None:
    """Sets masks, and the weights that they prune to zero.

    Args:
      masks: masks by key. A kernel without one keeps its mask.
    """


def of_model(model: Any) -> ModelAccess:
  """Returns the kernels and weights of a model.

  Args:
    model: a built model of either Keras.

  Raises:
    TypeError: `model` is not a Keras model.
  """
  module = engine_choice.module_for(model, 'model', 'Model', 'model_access')
  return module.access(model)
