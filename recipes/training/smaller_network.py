"""The network of a run without its removed channels, and what that saves."""

import pathlib
from typing import Any

import numpy as np

import tf_unilth
from recipes.common import call_times

FILE = 'model.keras'
_BATCHES = (1, 32)
# The dense network is timed for about this long, but in so many calls.
_SECONDS, _LEAST_CALLS, _MOST_CALLS = 2.0, call_times.PARTS, 200


def write(plain: Any, directory: pathlib.Path) -> tuple[Any, dict[str, Any]]:
  """Makes the smaller network, and writes it as `model.keras`.

  Args:
    plain: the stripped model, with removed channels that are zero; of tf_keras.
    directory: of the run.

  Returns:
    The smaller network, not compiled, and what it saves: `parameters`, `flops`
    of a sample, and `latency` by batch size, each beside that of the dense
    network.

  Raises:
    RuntimeError: the outputs of both differ. This is an error of the library.
  """
  smaller = tf_unilth.shrink(plain)
  smaller.save(directory / FILE)  # Not compiled, so it loads without recipes.
  return smaller, {
    'dense_parameters': plain.count_params(),
    'parameters': smaller.count_params(),
    'dense_flops': tf_unilth.shrink_report(plain).flops,
    'flops': tf_unilth.shrink_report(smaller).flops,
    'latency': {
      str(batch): _latency(plain, smaller, batch) for batch in _BATCHES
    },
  }


def flops(model: Any, keras: str) -> int | None:
  """Returns the FLOPs of a sample, those of products with zeros too.

  Args:
    model: a plain or stripped model.
    keras: `'tf_keras'` or `'keras'`, where it is of.

  Returns:
    Two for each multiply-accumulate; `None` for a Keras 3 model, a subclassed
    one, or one whose sizes are not known.
  """
  if keras != 'tf_keras':
    return None
  try:
    return tf_unilth.shrink_report(model).flops
  except ValueError:  # It has no graph to look at.
    return None


def _latency(dense: Any, smaller: Any, batch: int) -> dict[str, float]:
  """Times the calls of two models in turn.

  Args:
    dense: a model.
    smaller: another one with the same inputs.
    batch: the batch size.

  Returns:
    The least seconds of a call of both, the ratio of these, above 1 if
    `smaller` is faster, and the least and largest ratio of the parts of the
    measurement.
  """
  shape = (batch, *dense.input_shape[1:])
  inputs = np.random.default_rng(0).random(shape, np.float32)
  calls = {'dense': _call(dense, inputs), 'smaller': _call(smaller, inputs)}
  (seconds,) = call_times.minima({'dense': calls['dense']}, 1, 1)['dense']
  repeats = int(np.clip(_SECONDS / seconds, _LEAST_CALLS, _MOST_CALLS))
  times = call_times.minima(calls, repeats)
  ratio, least, largest = call_times.ratio(times['smaller'], times['dense'])
  return {
    'dense_seconds': min(times['dense']),
    'seconds': min(times['smaller']),
    'ratio': ratio,
    'least_ratio': least,
    'largest_ratio': largest,
  }


def _call(model: Any, inputs: np.ndarray) -> call_times.Call:
  """Returns a function that calls a model as a SavedModel of it is called."""
  import tensorflow as tf  # Here, because Keras 3 may not need it.

  # A graph that had `training` as an argument would look for it in each call,
  # and write the values of the inputs into an error that it then drops.
  graph = tf.function(
    lambda images: model(images, training=False), autograph=False
  ).get_concrete_function(
    tf.TensorSpec([None, *inputs.shape[1:]], inputs.dtype)
  )
  values = tf.constant(inputs)
  # As an array, so that the result is there when the call ends.
  return lambda: graph(values).numpy()
