"""Snapshots of weights and optimizer state, for rewinding."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_unilth.engines.tfmot.keras_access import PythonState


class Snapshot(PythonState):
  """The values of a list of variables, stored in host memory.

  It uses no accelerator memory. TensorFlow checkpoints save it (as a
  `PythonState`), so a resumed run can still rewind. The values are stored as
  the bytes of the variables, so they are exact in any dtype.
  """

  def __init__(self):
    self.epoch = -1  # Completed epochs when it was taken; -1: not taken.
    self._values: list[bytes] = []

  @property
  def taken(self) -> bool:
    """Whether the snapshot has values to rewind to."""
    return bool(self._values)

  def take(self, variables: Sequence[Any], epoch: int) -> None:
    """Stores the values of variables.

    Args:
      variables: the variables.
      epoch: the number of completed epochs; 0 is the start.
    """
    self._values = [variable.numpy().tobytes() for variable in variables]
    self.epoch = epoch

  def restore(self, variables: Sequence[Any]) -> list[np.ndarray]:
    """Assigns the stored values to the variables that they were taken from.

    Args:
      variables: the variables, as passed to `take`.

    Returns:
      The values, as read-only arrays that share the snapshot's memory.
    """
    arrays = [
      np.frombuffer(value, v.dtype.as_numpy_dtype).reshape(v.shape)
      for v, value in zip(variables, self._values, strict=True)
    ]
    for variable, array in zip(variables, arrays, strict=True):
      variable.assign(array)
    return arrays

  def replace_from(self, index: int, variables: Sequence[Any]) -> None:
    """Replaces the values from an index on; does nothing without values.

    Args:
      index: the index of the first value to replace.
      variables: the variables whose current values replace them.
    """
    if self._values:
      new = [variable.numpy().tobytes() for variable in variables]
      self._values = [*self._values[:index], *new]

  def clear(self) -> None:
    """Frees the values, except for arrays that `restore` returned."""
    self._values = []

  def serialize(self) -> bytes:
    """Returns the snapshot as bytes: a line of JSON, then the values."""
    header = {'epoch': self.epoch, 'sizes': [len(v) for v in self._values]}
    return b'\n'.join([json.dumps(header).encode(), b''.join(self._values)])

  def deserialize(self, string_value: bytes) -> None:
    """Restores the snapshot from the bytes that `serialize` returned."""
    header, _, payload = string_value.partition(b'\n')
    fields = json.loads(header)
    self.epoch = fields['epoch']
    ends = np.cumsum([0, *fields['sizes']])
    self._values = [
      payload[begin:end] for begin, end in itertools.pairwise(ends)
    ]
