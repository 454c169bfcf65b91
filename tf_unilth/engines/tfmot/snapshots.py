"""Snapshots: weights and optimizer state of one moment, to rewind to."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_unilth.engines.tfmot.keras_access import PythonState


class Snapshot(PythonState):
  """The values of a list of variables, kept on the host.

  It is a part of TensorFlow checkpoints (a `PythonState`), so that a resumed
  run can still rewind, and it takes no memory of an accelerator. The values
  are kept as the variables' own bytes: bit for bit, in any dtype.
  """

  def __init__(self):
    self.epoch = -1
    self._values: list[bytes] = []

  @property
  def taken(self) -> bool:
    """Whether there is anything to rewind to."""
    return bool(self._values)

  def take(self, variables: Sequence[Any], epoch: int) -> None:
    """Keeps the variables' values.

    Args:
      variables: what to keep.
      epoch: how many epochs were completed; 0 is the start.
    """
    self._values = [variable.numpy().tobytes() for variable in variables]
    self.epoch = epoch

  def restore(self, variables: Sequence[Any]) -> list[np.ndarray]:
    """Puts the values back into the variables that they were taken from.

    Returns:
      The values, in the memory that is here, not to be written.
    """
    arrays = [
      np.frombuffer(value, v.dtype.as_numpy_dtype).reshape(v.shape)
      for v, value in zip(variables, self._values, strict=True)
    ]
    for variable, array in zip(variables, arrays, strict=True):
      variable.assign(array)
    return arrays

  def replace_from(self, index: int, variables: Sequence[Any]) -> None:
    """Puts other variables in the place of those from an index on.

    Args:
      index: of the first value that goes.
      variables: those whose present values come.
    """
    if self._values:
      new = [variable.numpy().tobytes() for variable in variables]
      self._values = [*self._values[:index], *new]

  def clear(self) -> None:
    """Lets the memory go, but for what `restore` returned."""
    self._values = []

  def serialize(self) -> bytes:
    """Returns all of it as bytes: a line of JSON, then the values."""
    header = {'epoch': self.epoch, 'sizes': [len(v) for v in self._values]}
    return b'\n'.join([json.dumps(header).encode(), b''.join(self._values)])

  def deserialize(self, string_value: bytes) -> None:
    """Reads what `serialize` wrote."""
    header, _, payload = string_value.partition(b'\n')
    fields = json.loads(header)
    self.epoch = fields['epoch']
    ends = np.cumsum([0, *fields['sizes']])
    self._values = [
      payload[begin:end] for begin, end in itertools.pairwise(ends)
    ]
