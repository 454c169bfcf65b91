"""Analysis: the units of a model, and which of them contribute to outputs."""

from typing import Any

import numpy as np

from tf_unilth.compression import live_units
from tf_unilth.compression.weight_values import WeightValues
from tf_unilth.engines.tfmot import (
  channel_graph,
  channel_groups,
  keras_3_errors,
)
from tf_unilth.engines.tfmot.keras_access import keras


class Analysis:
  """What `shrink` and `shrink_report` know of a model.

  Attributes:
    groups: its units.
    pins: why units cannot be removed, by their number.
    opaque_reasons: why layers are not traced, by the id of the layer.
    weights: its weights.
    readers: the kernels that read channels.
    live: for each unit, whether it contributes to the outputs.

  Args:
    model: a built Sequential or functional tf_keras model.

  Raises:
    TypeError: `model` is not a tf_keras model.
    ValueError: `model` is subclassed or not built.
  """

  def __init__(self, model: keras.Model):
    keras_3_errors.check_keras(model, 'model', keras.Model)
    trace = channel_graph.trace_model(model)
    self.pins = trace.ids.pins()
    self.opaque_reasons = {
      key: reason for key, (_, reason) in trace.opaque_layers.items()
    }
    self.groups = channel_groups.groups_of_trace(trace)
    self.weights = WeightValues(model)
    self.readers = live_units.find_readers(trace, self.weights)
    self.live = live_units.live_units(self.groups, self.readers)

  def kept(self, multiple_of: int = 1) -> np.ndarray:
    """Returns for each unit whether it stays.

    Args:
      multiple_of: what widths are rounded up to a multiple of.
    """
    return live_units.fill_widths(self.groups, self.live, multiple_of)

  def bias_shift(self, layer: Any) -> np.ndarray | None:
    """Returns what is added to the bias of a layer, which it may not have yet.

    Args:
      layer: the layer; of a wrapped layer the inner one.

    Returns:
      A value for each of its present output channels; `None` if nothing is
      added.
    """
    for reader in self.readers:
      if reader.layer is layer:
        shift = reader.bias_shift(self.live)
        return shift if shift.any() else None
    return None
