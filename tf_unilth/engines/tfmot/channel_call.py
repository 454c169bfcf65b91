"""LayerCall: a call of a layer, and the checks that handlers share."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_unilth.engines.tfmot.channel_trace import (
  ChannelTrace,
  OpaqueError,
  Shape,
)


@dataclasses.dataclass(frozen=True)
class LayerCall:
  """A call of a layer, with the numbers of its tensors in the trace.

  Args:
    inputs: the input tensors.
    shape: the shape of the output without the batch axis.
  """

  inputs: tuple[int, ...]
  shape: Shape


Handler = Callable[[ChannelTrace, Any, LayerCall], int]


def need(condition: Any, reason: str) -> None:
  """Raises an `OpaqueError` unless a condition holds.

  Args:
    condition: the condition.
    reason: what the error says.
  """
  if not condition:
    raise OpaqueError(reason)


def single_input(trace: ChannelTrace, call: LayerCall) -> np.ndarray:
  """Returns the ids of the channels of the only input of a call.

  Args:
    trace: what collects the steps.
    call: the call.

  Raises:
    OpaqueError: there are several inputs, or the input has no channels.
  """
  need(len(call.inputs) == 1, 'it is called on several tensors')
  return trace.channels(call.inputs[0])


def check_channels_last(layer: Any) -> None:
  """Raises an `OpaqueError` if the channels are not the last axis.

  Args:
    layer: the layer.
  """
  last = getattr(layer, 'data_format', 'channels_last') == 'channels_last'
  need(last, "data_format='channels_first' is not traced")
