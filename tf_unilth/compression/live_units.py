"""Which units of a model contribute to its outputs.

A unit is live if it cannot be removed, or if a live unit reads it: by a part of
a kernel that is not zero, and not as a constant that fits into the reader's
bias. All other units are dead; nothing changes if they go together.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from tf_unilth.compression import channel_values
from tf_unilth.compression.channel_values import Values
from tf_unilth.compression.weight_values import WeightValues
from tf_unilth.engines.channel_units import ChannelGroups
from tf_unilth.engines.tfmot.channel_trace import ChannelTrace, Step


@dataclasses.dataclass(frozen=True, eq=False)
class Reader:
  """A kernel that reads channels.

  Args:
    layer: its layer.
    kernel: the attribute with the kernel.
    inputs: the units of its input channels.
    outputs: the units of its output channels.
    reads: a matrix (inputs, outputs): whether the kernel reads a channel other
      than as a constant that can be folded into the bias.
    constants: the units of the input channels that are constants other than
      zero.
    shifts: a matrix (constants, outputs): what the bias gains if these channels
      are removed.
  """

  layer: Any
  kernel: str
  inputs: np.ndarray
  outputs: np.ndarray
  reads: np.ndarray
  constants: np.ndarray
  shifts: np.ndarray

  def bias_shift(self, live: np.ndarray) -> np.ndarray:
    """Returns what is added to the bias when dead units are not read.

    Args:
      live: for each unit, whether it is live.

    Returns:
      A value for each output channel of the whole kernel, 0 for dead ones.
    """
    removed = ~live[self.constants]
    return self.shifts[removed].sum(0) * live[self.outputs]


def find_readers(
  trace: ChannelTrace, weights: WeightValues
) -> tuple[Reader, ...]:
  """Returns the kernels of a model that read channels.

  Args:
    trace: the traced model.
    weights: its weights.
  """
  values = channel_values.constant_values(trace, weights)
  calls: dict[tuple[int, str], list[Step]] = {}
  for step in trace.steps:
    if step.kind == 'create' and step.in_axis is not None:
      calls.setdefault((id(step.layer), step.kernel), []).append(step)
  units = trace.ids.units()
  return tuple(
    _reader(steps, trace, weights, values, units) for steps in calls.values()
  )


def _reader(
  steps: list[Step],
  trace: ChannelTrace,
  weights: WeightValues,
  values: Values,
  units: np.ndarray,
) -> Reader:
  """Returns the reader of all calls of one kernel."""
  first = steps[0]
  sums, is_nonzero = channel_values.kernel_matrices(first, weights)
  constants = [values[step.inputs[0]] for step in steps]
  # A constant that differs between calls does not fit into one bias.
  foldable = functools.reduce(
    np.logical_and,
    [
      channel_values.usable(step, value) & (value == constants[0])
      for step, value in zip(steps, constants, strict=True)
    ],
  )
  inputs = units[trace.channels(first.inputs[0])]
  rows = np.flatnonzero(foldable & (constants[0] != 0))
  return Reader(
    first.layer,
    first.kernel,
    inputs,
    units[trace.channels(first.output)],
    is_nonzero & ~foldable[:, np.newaxis],
    inputs[rows],
    constants[0][rows, np.newaxis] * sums[rows],
  )


def live_units(
  groups: ChannelGroups, readers: tuple[Reader, ...]
) -> np.ndarray:
  """Returns for each unit whether it is live.

  Args:
    groups: the units of the model.
    readers: its kernels.
  """
  live = ~groups.removable
  # Readers mostly come after what they read, so that few passes are needed.
  while True:
    before = live.sum()
    for reader in reversed(readers):
      columns = live[reader.outputs]
      is_read = reader.reads[:, columns].any(1)
      live[reader.inputs[is_read]] = True
    if live.sum() == before:
      return live


def fill_widths(
  groups: ChannelGroups, live: np.ndarray, multiple_of: int
) -> np.ndarray:
  """Returns for each unit whether it stays: the live ones, and some dead ones.

  Each layer keeps at least one unit.

  Args:
    groups: the units of the model.
    live: for each unit, whether it is live.
    multiple_of: what the number of output channels of each kernel is rounded
      up to a multiple of, or to its present number if that is less.
  """
  kept = live.copy()
  while True:
    # One unit of each layer at a time, which may widen other layers too.
    added = [_missing_unit(kept, a.units, multiple_of) for a in groups.creators]
    units = [unit for unit in added if unit is not None]
    if not units:
      return kept
    kept[units] = True


def _missing_unit(
  kept: np.ndarray, units: np.ndarray, multiple_of: int
) -> int | None:
  """Returns a unit that a layer must keep too; `None` if its width is right."""
  count = int(kept[units].sum())
  others = units[~kept[units]]
  if not others.size or (count and not count % multiple_of):
    return None
  return int(others[0])
