"""The state of one run: where it stands, in variables that a checkpoint holds.

Steps are of three kinds. Training steps count the batches of this `fit` from
0, whatever is rewound. Iterations are the optimizer's own and go back with it.
Epochs count completed epochs: 0 is the start, 9 the end of the ninth.
"""

import base64
import math
import zlib
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines.tfmot.snapshots import Snapshot
from tf_unilth.schedules.l2_ramp import L2Ramp

# The stages, as the epoch logs show them.
NOT_BEGUN, DENSE, PRUNING, FINETUNING = range(4)


def _integer(value: int = 0) -> tf.Variable:
  return tf.Variable(value, trainable=False, dtype=tf.int64)


def _real(value: float = 0.0) -> tf.Variable:
  # As precise as what is compared with it, or an equal loss looks lower.
  return tf.Variable(value, trainable=False, dtype=tf.float64)


class RunState(tf.Module):
  """Stage, round, plateau, ramp and snapshots of a run.

  It hangs on the `IterativeSparsity` that the wrapped layers share, and so is
  in every TensorFlow checkpoint of the model.
  """

  def __init__(self):
    super().__init__(name='run_state')
    self.stage = _integer(NOT_BEGUN)
    self.algorithm = _integer()  # Which one the state is of.
    self.round = _integer()  # Completed rounds.
    self.rounds = _integer()  # All that are planned.
    self.zeros = _integer()  # Of the masks, as the last round left them.
    # The budget.
    self.first_epoch = _integer()
    self.next_epoch = _integer()
    self.epochs = _integer()
    self.steps_per_epoch = _integer()  # 0: not known yet.
    self.rewind_step = _integer()  # Training step of LTH's snapshot.
    self.rounds_begin = _integer()  # Training step at which round 1 began.
    # The plateau.
    self.best = _real(math.inf)  # Up to min_delta; patience looks at it.
    self.best_epoch = _integer()
    self.lowest = _real(math.inf)  # Strictly; the rewind looks at it.
    self.plateau_epoch = _integer(-1)
    self.rewound_to_epoch = _integer(-1)
    # The ramp: read in the graph at every step.
    self.ramp_begin = _integer()  # Iterations.
    self.ramp_steps = _integer(1)
    self.ramp_limit = tf.Variable(0.0, trainable=False)  # 0: no penalty.
    self.candidates: list[tf.Variable] = []  # True where a weight is one.
    # The learning rate's decay.
    self.decay_begin = _integer()  # Iterations.
    self.decay_steps = _integer()
    self.iterations = _integer()  # The optimizer's, at the last epoch's end.
    self.snapshots: list[Snapshot] = []

  def get(self, name: str) -> Any:
    """Returns a variable's value as a Python number."""
    return getattr(self, name).numpy().item()

  def set(self, **values: Any) -> None:
    """Assigns variables by name."""
    for name, value in values.items():
      getattr(self, name).assign(value)

  def reset(self) -> None:
    """Forgets an earlier run, but for its budget."""
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
    """Whether there is a run to go on with."""
    return self.get('stage') != NOT_BEGUN

  def get_config(self) -> dict[str, Any]:
    """Returns all of it, bit for bit, as what JSON can hold."""
    numbers = {
      name: variable.numpy().item()
      for name, variable in vars(self).items()
      if isinstance(variable, tf.Variable)
    }
    return {
      'numbers': numbers,
      'candidates': [_packed(chosen) for chosen in self.candidates],
      'snapshots': [
        base64.b64encode(snapshot.serialize()).decode()
        for snapshot in self.snapshots
      ],
    }

  def load(self, config: dict[str, Any]) -> None:
    """Takes over what `get_config` returned."""
    self.set(**config['numbers'])
    self.candidates = [_unpacked(chosen) for chosen in config['candidates']]
    for serialized in config['snapshots']:
      self.add_snapshot()
      self.snapshots[-1].deserialize(base64.b64decode(serialized))

  def add_snapshot(self) -> None:
    """Makes room for one; a checkpoint that is being restored fills it."""
    self.snapshots.append(Snapshot())

  def clear_snapshots(self) -> None:
    """Lets the snapshots' memory go."""
    for snapshot in self.snapshots:
      snapshot.clear()

  def l2_lambda(self, ramp: L2Ramp, iterations: Any) -> tf.Tensor:
    """Returns the penalty's coefficient now; exactly 0 off the ramp."""
    step = tf.maximum(tf.cast(iterations, tf.int64) - self.ramp_begin, 0)
    return ramp.coefficient(step, self.ramp_limit, self.ramp_steps)


def _packed(chosen: tf.Variable) -> dict[str, Any]:
  bits = zlib.compress(np.packbits(chosen.numpy()).tobytes())
  return {
    'shape': chosen.shape.as_list(),
    'bits': base64.b64encode(bits).decode(),
  }


def _unpacked(packed: dict[str, Any]) -> tf.Variable:
  shape = packed['shape']
  bits = zlib.decompress(base64.b64decode(packed['bits']))
  values = np.unpackbits(np.frombuffer(bits, np.uint8), count=math.prod(shape))
  return tf.Variable(values.astype(bool).reshape(shape), trainable=False)
