"""The state of one run, as plain data; an engine saves it with the model.

Time is counted in three units. Training steps count the batches of this `fit`
from 0, also across rewinds. Iterations are the optimizer's counter, and rewind
with it. Epochs are completed epochs: 0 is the start, 9 the end of the ninth.
"""

import dataclasses
import itertools
import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_unilth.run.snapshot import Snapshot
from tf_unilth.wording import version_mismatch

# The format version of the state in files. Those of 0.1.0 do not state it.
VERSION, VERSION_KEY = 2, 'format_version'
_OLDEST_VERSION = 1
# Files of version 0.1.0 have the CRC of an algorithm's name.
_NAMES_BY_CRC = {
  zlib.crc32(name.encode()): name
  for name in ('LTH', 'DLTH', 'UniLTH', 'UniDLTH')
}
# The stages, as in the epoch logs.
NOT_BEGUN, DENSE, PRUNING, FINETUNING = range(4)


@dataclasses.dataclass(eq=False)
class RunState:
  """Stage, round, plateau, ramp and snapshots of a run.

  Two states are equal only if they are the same object: engines and timelines
  hold references to it.

  Args:
    stage: `NOT_BEGUN`, `DENSE`, `PRUNING` or `FINETUNING`.
    algorithm: the name of the algorithm; `''` before the first run.
    round: the number of completed rounds.
    rounds: the number of planned rounds.
    zeros: the zeros in the masks after the last round.
    first_epoch: the epoch at which the run began.
    next_epoch: the number of completed epochs of the `fit`.
    epochs: the epoch at which the run ends.
    steps_per_epoch: training steps; 0 if not known yet.
    rewind_step: the training step of LTH's snapshot.
    rounds_begin: the training step at which round 1 began.
    best: the best monitored value, up to `min_delta`, for the patience.
    best_epoch: its epoch.
    lowest: the strict minimum of the monitored value, for the rewind.
    plateau_epoch: the epoch of the plateau; -1 for none.
    rewound_to_epoch: the epoch that was rewound to; -1 for none.
    ramp_begin: the iteration at which the ramp began.
    ramp_steps: the number of steps over which lambda rises, at least 1.
    ramp_limit: the largest lambda; 0 for no penalty.
    decay_begin: the iteration at which the learning rate's decay began.
    decay_steps: the length of the decay.
    iterations: the optimizer's iterations after the last epoch.
    snapshots: what the run can rewind to.
  """

  stage: int = NOT_BEGUN
  algorithm: str = ''
  round: int = 0
  rounds: int = 0
  zeros: int = 0
  first_epoch: int = 0
  next_epoch: int = 0
  epochs: int = 0
  steps_per_epoch: int = 0
  rewind_step: int = 0
  rounds_begin: int = 0
  best: float = math.inf
  best_epoch: int = 0
  lowest: float = math.inf
  plateau_epoch: int = -1
  rewound_to_epoch: int = -1
  ramp_begin: int = 0
  ramp_steps: int = 1
  ramp_limit: float = 0.0
  decay_begin: int = 0
  decay_steps: int = 0
  iterations: int = 0
  snapshots: list[Snapshot] = dataclasses.field(default_factory=list)

  @property
  def begun(self) -> bool:
    """Whether there is a run to continue."""
    return self.stage != NOT_BEGUN

  def reset(self, snapshots: int) -> None:
    """Resets the state of an earlier run, except for its budget.

    Args:
      snapshots: how many snapshots the run keeps at the same time.
    """
    self.stage = NOT_BEGUN
    self.round = self.rounds = 0
    self.best = self.lowest = math.inf
    self.best_epoch = self.first_epoch
    self.plateau_epoch = self.rewound_to_epoch = -1
    self.ramp_limit = 0.0
    self.snapshots = [Snapshot() for _ in range(snapshots)]

  def shift_iterations(self, by: int) -> None:
    """Moves the begin of ramp and decay, if the optimizer's counter jumped.

    Args:
      by: the change of the optimizer's iterations.
    """
    self.ramp_begin += by
    self.decay_begin += by

  def clear_snapshots(self) -> None:
    """Frees the memory of the snapshots."""
    for snapshot in self.snapshots:
      snapshot.clear()

  def numbers(self) -> dict[str, Any]:
    """Returns all fields but the snapshots, by name."""
    return {
      field.name: getattr(self, field.name)
      for field in dataclasses.fields(self)
      if field.name != 'snapshots'
    }

  def set_numbers(self, numbers: Mapping[str, Any]) -> None:
    """Sets fields by name.

    Args:
      numbers: what `numbers` returned.
    """
    for name, present in self.numbers().items():
      value = numbers.get(name, present)
      if name == 'algorithm' and isinstance(value, int):
        value = _NAMES_BY_CRC.get(value, '')
      setattr(self, name, type(present)(value))

  def to_bytes(self) -> bytes:
    """Returns the state as bytes: a line of JSON, then the snapshots."""
    snapshots = [
      {'epoch': snapshot.epoch, 'sizes': [len(v) for v in snapshot.values]}
      for snapshot in self.snapshots
    ]
    header = {
      VERSION_KEY: VERSION,
      'numbers': self.numbers(),
      'snapshots': snapshots,
    }
    values = (value for s in self.snapshots for value in s.values)
    return b''.join([json.dumps(header).encode(), b'\n', *values])

  def restore(self, serialized: bytes) -> None:
    """Restores the state in place.

    Args:
      serialized: what `to_bytes` returned.

    Raises:
      ValueError: it has another format version.
    """
    header, _, payload = serialized.partition(b'\n')
    fields = json.loads(header)
    check_version(fields)
    self.set_numbers(fields['numbers'])
    self.snapshots = []
    begin = 0
    for entry in fields['snapshots']:
      ends = np.cumsum([begin, *entry['sizes']]).tolist()
      values = [payload[i:j] for i, j in itertools.pairwise(ends)]
      snapshot = Snapshot()
      snapshot.take(values, entry['epoch'])
      self.snapshots.append(snapshot)
      begin = ends[-1]


def check_version(saved: Mapping[str, Any]) -> None:
  """Checks the format version of a saved state.

  Args:
    saved: the state, with the version under `VERSION_KEY`.

  Raises:
    ValueError: it has another version than those that are read.
  """
  found = saved.get(VERSION_KEY, _OLDEST_VERSION)
  message = version_mismatch(found, _OLDEST_VERSION, VERSION)
  if message is not None:
    raise ValueError(f'the state of a pruning run cannot be read: {message}')
