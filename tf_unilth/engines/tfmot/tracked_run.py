"""The state of a run in TensorFlow checkpoints and in files of models."""

import base64
import math
import zlib
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines.tfmot.keras_access import PythonState
from tf_unilth.engines.tfmot.ramp_variables import RampVariables
from tf_unilth.run import run_state
from tf_unilth.run.run_state import RunState
from tf_unilth.run.snapshot import Snapshot


class TrackedRun(tf.Module):
  """The state of a run and what graphs read of it, tracked by TensorFlow.

  It is an attribute of the `IterativeSparsity` that the wrapped layers share,
  so every TensorFlow checkpoint of the model contains it.
  """

  def __init__(self):
    super().__init__(name='run')
    self.carrier = _StateCarrier()
    self.ramp = RampVariables()
    # Whether a ticket callback has used the schedule. Graphs that were traced
    # without one read it.
    self.has_begun = tf.Variable(False, trainable=False)

  @property
  def state(self) -> RunState:
    """The state of the run, always the same object."""
    return self.carrier.state

  def get_config(self) -> dict[str, Any]:
    """Returns the exact state as values that JSON can represent."""
    return {
      run_state.VERSION_KEY: run_state.VERSION,
      'numbers': self.state.numbers(),
      'candidates': [_pack_bits(chosen) for chosen in self.ramp.candidates],
      'snapshots': [
        base64.b64encode(snapshot.serialize()).decode()
        for snapshot in self.state.snapshots
      ],
    }

  def load(self, config: dict[str, Any]) -> None:
    """Restores the state that `get_config` returned.

    Args:
      config: the state.
    """
    state = self.state
    state.set_numbers(config['numbers'])
    self.ramp.set_numbers(state.ramp_begin, state.ramp_steps, state.ramp_limit)
    self.ramp.add_candidates(_unpack_bits(c) for c in config['candidates'])
    for serialized in config['snapshots']:
      snapshot = Snapshot()
      snapshot.deserialize(base64.b64decode(serialized))
      state.snapshots.append(snapshot)
    self.has_begun.assign(state.begun)


class _StateCarrier(PythonState):
  """Saves a `RunState` in TensorFlow checkpoints, and restores it in place."""

  def __init__(self):
    self.state = RunState()

  def serialize(self) -> bytes:
    """Returns the state as bytes: a line of JSON, then the snapshots."""
    return self.state.to_bytes()

  def deserialize(self, string_value: bytes) -> None:
    """Restores the state from the bytes that `serialize` returned."""
    self.state.restore(string_value)


def _pack_bits(chosen: tf.Variable) -> dict[str, Any]:
  bits = zlib.compress(np.packbits(chosen.numpy()).tobytes())
  return {
    'shape': chosen.shape.as_list(),
    'bits': base64.b64encode(bits).decode(),
  }


def _unpack_bits(packed: dict[str, Any]) -> np.ndarray:
  shape = packed['shape']
  bits = zlib.decompress(base64.b64decode(packed['bits']))
  values = np.unpackbits(np.frombuffer(bits, np.uint8), count=math.prod(shape))
  return values.astype(bool).reshape(shape)
