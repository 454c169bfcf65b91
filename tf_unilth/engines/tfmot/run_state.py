"""The state of one run, in variables that a checkpoint contains.

Time is counted in three units. Training steps count the batches of this `fit`
from 0, also across rewinds. Iterations are the optimizer's counter, and rewind
with it. Epochs are completed epochs: 0 is the start, 9 the end of the ninth.
"""

import base64
import math
import zlib
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines.tfmot.ramp_coefficient import ramp_coefficient
from tf_unilth.engines.tfmot.snapshots import Snapshot
from tf_unilth.schedules.l2_ramp import L2Ramp

# The stages, as in the epoch logs.
NOT_BEGUN, DENSE, PRUNING, FINETUNING = range(4)


def _integer(value: int = 0) -> tf.Variable:
  return tf.Variable(value, trainable=False, dtype=tf.int64)


def _real(value: float = 0.0) -> tf.Variable:
  # float64, like the losses compared with it; else an equal loss looks lower.
  return tf.Variable(value, trainable=False, dtype=tf.float64)


class RunState(tf.Module):
  """Stage, round, plateau, ramp and snapshots of a run.

  It is an attribute of the `IterativeSparsity` that the wrapped layers share,
  so every TensorFlow checkpoint of the model contains it.
  """

  def __init__(self):
    super().__init__(name='run_state')
    self.stage = _integer(NOT_BEGUN)
    self.algorithm = _integer()  # The algorithm of the run.
    self.round = _integer()  # Completed rounds.
    self.rounds = _integer()  # Planned rounds.
    self.zeros = _integer()  # Zeros in the masks after the last round.
    # The epoch budget.
    self.first_epoch = _integer()
    self.next_epoch = _integer()
    self.epochs = _integer()
    self.steps_per_epoch = _integer()  # 0: not known yet.
    self.rewind_step = _integer()  # Training step of the LTH snapshot.
    self.rounds_begin = _integer()  # Training step where round 1 began.
    # The plateau.
    self.best = _real(math.inf)  # Up to min_delta, for patience.
    self.best_epoch = _integer()
    self.lowest = _real(math.inf)  # Strict minimum, for the rewind.
    self.plateau_epoch = _integer(-1)
    self.rewound_to_epoch = _integer(-1)
    # The ramp, which the graph reads at every step.
    self.ramp_begin = _integer()  # Iterations.
    self.ramp_steps = _integer(1)
    self.ramp_limit = tf.Variable(0.0, trainable=False)  # 0: no penalty.
    self.candidates: list[tf.Variable] = []  # One per kernel, boolean.
    # The decay of the learning rate.
    self.decay_begin = _integer()  # Iterations.
    self.decay_steps = _integer()
    self.iterations = _integer()  # Of the optimizer, after the last epoch.
    self.snapshots: list[Snapshot] = []

  def get(self, name: str) -> Any:
    """Returns a variable's value as a Python number."""
    return getattr(self, name).numpy().item()

  def set(self, **values: Any) -> None:
    """Assigns variables by name."""
    for name, value in values.items():
      getattr(self, name).assign(value)

  def reset(self) -> None:
    """Resets the state of an earlier run, except for its budget."""
    self.set(
      stage=NOT_BEGUN,
      round=0,
      rounds=0,
      best=math.inf,
      best_epoch=self.first_epoch,
      lowest=math.inf,
      plateau_epoch=-1,
      rewound_to_epoch=-1,
      ramp_limit=0.0,
    )
    self.clear_snapshots()

  @property
  def begun(self) -> bool:
    """Whether there is a run to continue."""
    return self.get('stage') != NOT_BEGUN

  def get_config(self) -> dict[str, Any]:
    """Returns the exact state as values that JSON can represent."""
    numbers = {
      name: variable.numpy().item()
      for name, variable in vars(self).items()
      if isinstance(variable, tf.Variable)
    }
    return {
      'numbers': numbers,
      'candidates': [_pack_bits(chosen) for chosen in self.candidates],
      'snapshots': [
        base64.b64encode(snapshot.serialize()).decode()
        for snapshot in self.snapshots
      ],
    }

  def load(self, config: dict[str, Any]) -> None:
    """Restores the state that `get_config` returned."""
    self.set(**config['numbers'])
    self.candidates = [_unpack_bits(chosen) for chosen in config['candidates']]
    for serialized in config['snapshots']:
      self.add_snapshot()
      self.snapshots[-1].deserialize(base64.b64decode(serialized))

  def add_snapshot(self) -> None:
    """Adds an empty snapshot; restoring a checkpoint may fill it."""
    self.snapshots.append(Snapshot())

  def clear_snapshots(self) -> None:
    """Frees the memory of the snapshots."""
    for snapshot in self.snapshots:
      snapshot.clear()

  def l2_lambda(self, ramp: L2Ramp, iterations: Any) -> tf.Tensor:
    """Returns the current penalty coefficient; exactly 0 off the ramp.

    Args:
      ramp: the ramp of the run.
      iterations: the iterations of the optimizer, a scalar.
    """
    step = tf.maximum(tf.cast(iterations, tf.int64) - self.ramp_begin, 0)
    return ramp_coefficient(ramp, step, self.ramp_limit, self.ramp_steps)


def _pack_bits(chosen: tf.Variable) -> dict[str, Any]:
  bits = zlib.compress(np.packbits(chosen.numpy()).tobytes())
  return {
    'shape': chosen.shape.as_list(),
    'bits': base64.b64encode(bits).decode(),
  }


def _unpack_bits(packed: dict[str, Any]) -> tf.Variable:
  shape = packed['shape']
  bits = zlib.decompress(base64.b64decode(packed['bits']))
  values = np.unpackbits(np.frombuffer(bits, np.uint8), count=math.prod(shape))
  return tf.Variable(values.astype(bool).reshape(shape), trainable=False)
