"""Keras3Model: the kernels and weights of a Keras 3 model, for tickets."""

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tf_unilth.engines.keras3 import (
  backend_values,
  layer_tree,
  prune_low_magnitude,
  pruning_plan,
)
from tf_unilth.engines.keras3.pruning_plan import PlannedKernel
from tf_unilth.engines.model_access import ModelWeight
from tf_unilth.run.run_state import RunState


class Keras3Model:
  """See `engines.model_access.ModelAccess`.

  Args:
    model: a built Keras 3 model.
  """

  def __init__(self, model: keras.Model):
    backend_values.sync(model)
    self.model = model
    self._plan = pruning_plan.plan_of(model)
    self._variables: dict[Hashable, Any] = {}

  @property
  def kernels(self) -> list[ModelWeight]:
    """All prunable kernels, in the model's order."""
    return [
      self._weight(kernel.variable, name)
      for name, kernel, _ in layer_tree.model_kernels(self.model)
    ]

  @property
  def weights(self) -> list[ModelWeight]:
    """All weights and statistics, in the order of `get_weights()`."""
    return [self._weight(v, v.path) for v in self.model.weights]

  def _weight(self, variable: Any, name: str) -> ModelWeight:
    self._variables[id(variable)] = variable
    shape = tuple(variable.shape)
    return ModelWeight(name, shape, variable.dtype, id(variable))

  @property
  def pruned(self) -> dict[Hashable, PlannedKernel]:
    """The kernels of the plan, by key."""
    kernels = [] if self._plan is None else self._plan.kernels
    return {id(kernel.variable): kernel for kernel in kernels}

  @property
  def masks(self) -> dict[Hashable, np.ndarray]:
    """The mask of each of `pruned`."""
    masks = [] if self._plan is None else self._plan.masks
    return dict(zip(self.pruned, (m.copy() for m in masks), strict=True))

  @property
  def state(self) -> RunState | None:
    """The state of the run of the plan, `None` without a plan."""
    return None if self._plan is None else self._plan.state

  @property
  def versions(self) -> dict[str, str]:
    """The version of Keras, and its backend."""
    return {'keras': keras.__version__, 'backend': keras.backend.backend()}

  def read(self, weight: ModelWeight) -> np.ndarray:
    """Returns the value of a weight."""
    return backend_values.read(self._variables[weight.key])

  def without_masks(self, values: Sequence[Any]) -> Sequence[Any]:
    """Returns the values: a plan adds no weights."""
    return values

  def find_layers(self, selectors: Any) -> list[Any]:
    """Returns the layers that the argument `skip` selects."""
    return prune_low_magnitude.find_layers(self.model, selectors, 'skip')

  def keys_in(self, layers: Iterable[Any]) -> set[Hashable]:
    """Returns the keys of all weights of some layers."""
    weights = itertools.chain.from_iterable(layer.weights for layer in layers)
    return {id(weight) for weight in weights}

  def hold_zeros(self, skipped: Sequence[Any]) -> 'Keras3Model':
    """Puts a plan with a `FixedMask` on the model."""
    prune_low_magnitude.hold_zeros(self.model, skipped)
    return Keras3Model(self.model)

  def assign(self, key: Hashable, value: np.ndarray) -> None:
    """Sets a weight."""
    variables: dict[Hashable, Any] = {id(v): v for v in self.model.weights}
    variables[key].assign(value)

  def check_masks(self, masks: Mapping[Hashable, np.ndarray]) -> None:
    """Does nothing: kernels are pruned one by one."""

  def assign_masks(self, masks: Mapping[Hashable, np.ndarray]) -> None:
    """Sets masks, and the weights that they prune to zero."""
    assert self._plan is not None
    present = self.masks
    self._plan.set_masks([masks.get(key, present[key]) for key in present])


def access(model: keras.Model) -> Keras3Model:
  """Returns the access to a model."""
  return Keras3Model(model)
