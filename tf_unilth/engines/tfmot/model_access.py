"""TfmotModel: the kernels and weights of a tf_keras model, for tickets."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines.model_access import ModelWeight
from tf_unilth.engines.tfmot import (
  channel_plan,
  keras_3_errors,
  layer_lookup,
  model_wrapping,
  prunable_weights,
)
from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
from tf_unilth.engines.tfmot.keras_access import keras, tfmot
from tf_unilth.engines.tfmot.pruned_kernel import PrunedKernel
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.run.run_state import RunState


class TfmotModel:
  """See `engines.model_access.ModelAccess`.

  Args:
    model: a built tf_keras model.
  """

  def __init__(self, model: keras.Model):
    keras_3_errors.check_keras(model, 'model', keras.Model)
    self.model = model
    self._layers = PrunedLayers(model)

  @property
  def kernels(self) -> list[ModelWeight]:
    """All prunable kernels, in the model's order."""
    return [
      _weight(variable, name)
      for name, variable in prunable_weights.model_kernels(self.model)
    ]

  @property
  def weights(self) -> list[ModelWeight]:
    """All weights and statistics, in the order of `get_weights()`."""
    return [_weight(variable) for variable in self._layers.model_weights]

  @property
  def pruned(self) -> dict[Hashable, PrunedKernel]:
    """The wrapped kernels, by key."""
    return {k.weight.ref(): k for k in self._layers.kernels if k.is_counted}

  @property
  def masks(self) -> dict[Hashable, np.ndarray]:
    """The mask of each of `pruned`."""
    return {
      key: kernel.mask.numpy().astype(bool)
      for key, kernel in self.pruned.items()
    }

  @property
  def state(self) -> RunState | None:
    """The state of the run that pruned the model, `None` without one."""
    schedules = self._layers.schedules
    ours = (s for s in schedules if isinstance(s, IterativeSparsity))
    first = next(ours, None)
    return None if first is None else first.run.state

  @property
  def versions(self) -> dict[str, str]:
    """The versions of TensorFlow, tf_keras and tfmot."""
    return {
      'tensorflow': tf.__version__,
      'tf_keras': keras.__version__,
      'tensorflow_model_optimization': tfmot.__version__,
    }

  def read(self, weight: ModelWeight) -> np.ndarray:
    """Returns the value of a weight."""
    return _variable(weight.key).numpy()

  def without_masks(self, values: Sequence[Any]) -> Sequence[Any]:
    """Returns the result of `get_weights()` without the wrappers' variables."""
    weights = self.model.weights
    if len(values) != len(weights):
      return values
    own = {weight.key for weight in self.weights}
    keys = [prunable_weights.unwrap_autocast(w).ref() for w in weights]
    pairs = zip(keys, values, strict=True)
    return [value for key, value in pairs if key in own]

  def find_layers(self, selectors: Any) -> list[Any]:
    """Returns the layers that the argument `skip` selects."""
    return layer_lookup.find_layers(self.model, selectors, 'skip', wrapped=True)

  def keys_in(self, layers: Iterable[Any]) -> set[Hashable]:
    """Returns the keys of all weights of some layers."""
    return {
      prunable_weights.unwrap_autocast(weight).ref()
      for layer in layers
      for weight in layer.weights
    }

  def hold_zeros(self, skipped: Sequence[Any]) -> 'TfmotModel':
    """Returns a copy whose layers share a `FixedMask`."""
    return TfmotModel(model_wrapping.hold_zeros(self.model, skipped))

  def assign(self, key: Hashable, value: np.ndarray) -> None:
    """Sets a weight."""
    _variable(key).assign(value)

  def assign_masks(self, masks: Mapping[Hashable, np.ndarray]) -> None:
    """Sets masks, and the weights that they prune to zero."""
    self._layers.assign_masks(self._all_masks(masks))

  def check_masks(self, masks: Mapping[Hashable, np.ndarray]) -> None:
    """Raises a `ValueError` if masks split coupled channels."""
    kernels = self._layers.kernels
    for kernel, mask in zip(kernels, self._all_masks(masks), strict=True):
      asked = masks.get(kernel.weight.ref(), mask)
      if not np.array_equal(mask, asked):
        raise ValueError(
          f"model {self.model.name!r} is wrapped with structure='channels', "
          f"but the ticket's mask of {kernel.name!r} does not prune the same "
          'channels as those of the layers around it: apply the ticket before '
          'the model is wrapped.'
        )

  def _all_masks(
    self, masks: Mapping[Hashable, np.ndarray]
  ) -> list[np.ndarray]:
    """Returns the masks of all masked weights, also of biases and gammas."""
    kernels = self._layers.kernels
    result = [
      masks.get(kernel.weight.ref(), present)
      for kernel, present in zip(
        kernels, self._layers.read_masks(), strict=True
      )
    ]
    channels = channel_plan.find_channels(self.model, kernels)
    if channels is None:
      return result
    return channels.masks(channels.kept_units(result))


def _weight(variable: Any, name: str | None = None) -> ModelWeight:
  variable = prunable_weights.unwrap_autocast(variable)
  return ModelWeight(
    name or variable.name.split(':')[0],
    tuple(variable.shape),
    variable.dtype.name,
    variable.ref(),
  )


def _variable(key: Any) -> Any:
  return key.deref()


def access(model: keras.Model) -> TfmotModel:
  """Returns the access to a model."""
  return TfmotModel(model)
