"""Snapshot: weights and optimizer state of one moment, for rewinding."""

import itertools
import json
from collections.abc import Sequence

import numpy as np


class Snapshot:
  """The values of a list of variables, as their bytes in host memory.

  The bytes are exact in any dtype. An engine reads and writes the variables.
  """

  def __init__(self):
    self.epoch = -1  # Completed epochs when it was taken; -1: not taken.
    self.values: list[bytes] = []

  @property
  def taken(self) -> bool:
    """Whether the snapshot has values to rewind to."""
    return bool(self.values)

  def take(self, values: Sequence[bytes], epoch: int) -> None:
    """Stores values.

    Args:
      values: the bytes of the variables, in their order.
      epoch: the number of completed epochs; 0 is the start.
    """
    self.values = list(values)
    self.epoch = epoch

  def replace_from(self, index: int, values: Sequence[bytes]) -> None:
    """Replaces the values from an index on; does nothing without values.

    Args:
      index: the index of the first value to replace.
      values: the values that replace them.
    """
    if self.values:
      self.values = [*self.values[:index], *values]

  def clear(self) -> None:
    """Frees the values."""
    self.values = []

  def serialize(self) -> bytes:
    """Returns the snapshot as bytes: a line of JSON, then the values."""
    header = {'epoch': self.epoch, 'sizes': [len(v) for v in self.values]}
    return b'\n'.join([json.dumps(header).encode(), b''.join(self.values)])

  def deserialize(self, serialized: bytes) -> None:
    """Restores the snapshot from the bytes that `serialize` returned.

    Args:
      serialized: the bytes.
    """
    header, _, payload = serialized.partition(b'\n')
    fields = json.loads(header)
    self.epoch = fields['epoch']
    ends = np.cumsum([0, *fields['sizes']])
    self.values = [
      payload[begin:end] for begin, end in itertools.pairwise(ends)
    ]
