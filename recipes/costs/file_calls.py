"""Times calls of SavedModels and TFLite files in turn."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from recipes.common import call_times
from recipes.common.call_times import Call


def _values(shape: Sequence[int], dtype: Any) -> np.ndarray:
  if np.issubdtype(dtype, np.floating):
    return np.random.default_rng(0).random(shape).astype(dtype)
  return np.zeros(shape, dtype)  # A valid index in any table.


def _batch_shape(
  path: str, shape: Sequence[int | None], batch: int
) -> list[int] | None:
  """Returns the shape of an input, or `None` if its batch size is another."""
  first, *rest = shape
  if first not in (None, -1, batch):
    return None
  sizes = [size for size in rest if size is not None and size > 0]
  if len(sizes) < len(rest):
    raise ValueError(
      f'{path!r} takes inputs of shape {tuple(shape)}, but only the batch size '
      'may vary.'
    )
  return [batch, *sizes]


def saved_model_call(path: str, batch: int) -> Call | None:
  """Returns a function that calls a SavedModel.

  Args:
    path: of the SavedModel.
    batch: the batch size.

  Returns:
    The function; `None` if the model does not take the batch size.
  """
  loaded = tf.saved_model.load(path)
  serve = loaded.signatures['serving_default']
  _, specs = serve.structured_input_signature
  inputs = {}
  for name, spec in specs.items():
    shape = _batch_shape(path, spec.shape.as_list(), batch)
    if shape is None:
      return None
    inputs[name] = tf.constant(_values(shape, spec.dtype.as_numpy_dtype))

  def call(loaded: Any = loaded) -> Any:  # Its variables live with the model.
    return [value.numpy() for value in serve(**inputs).values()]

  return call


def tflite_call(path: str, batch: int, threads: int) -> Call | None:
  """Returns a function that calls a TFLite file.

  Args:
    path: of the file.
    batch: the batch size.
    threads: of the interpreter.

  Returns:
    The function; `None` if the file does not take the batch size.
  """
  interpreter = tf.lite.Interpreter(model_path=path, num_threads=threads)
  details = interpreter.get_input_details()
  values = {}
  for tensor in details:
    shape = _batch_shape(path, list(tensor['shape_signature']), batch)
    if shape is None:
      return None
    interpreter.resize_tensor_input(tensor['index'], shape)
    values[tensor['index']] = _values(shape, tensor['dtype'])
  interpreter.allocate_tensors()
  for index, value in values.items():
    interpreter.set_tensor(index, value)
  return interpreter.invoke


def tflite_function(path: str) -> Callable[[np.ndarray], np.ndarray]:
  """Returns the function of a TFLite file with one input and one output.

  Args:
    path: of the file, which takes any batch size.

  Raises:
    ValueError: its input is not in float32.
  """
  interpreter = tf.lite.Interpreter(model_path=path)
  (given,) = interpreter.get_input_details()
  (found,) = interpreter.get_output_details()
  if given['dtype'] != np.float32:
    raise ValueError(
      f'{path} takes {np.dtype(given["dtype"])}, but must take float32.'
    )

  def function(inputs: np.ndarray) -> np.ndarray:
    interpreter.resize_tensor_input(given['index'], inputs.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given['index'], inputs.astype(np.float32))
    interpreter.invoke()
    return interpreter.get_tensor(found['index'])

  return function


def _call_of(path: str, batch: int, threads: int) -> Call | None:
  if pathlib.Path(path).is_dir():
    return saved_model_call(path, batch)
  return tflite_call(path, batch, threads)


def measure(
  paths: Sequence[str], batches: Sequence[int], threads: int, repeats: int
) -> dict[str, dict[str, list[float] | None]]:
  """Returns the least times by batch size and path, in seconds.

  Args:
    paths: of SavedModels and TFLite files.
    batches: batch sizes.
    threads: of a TFLite file; SavedModels take those of TensorFlow.
    repeats: how often each is timed.
  """
  found = {}
  for batch in batches:
    calls = {path: _call_of(path, batch, threads) for path in paths}
    timed = {path: call for path, call in calls.items() if call is not None}
    taken = call_times.minima(timed, repeats)
    found[str(batch)] = {path: taken.get(path) for path in paths}
  return found
