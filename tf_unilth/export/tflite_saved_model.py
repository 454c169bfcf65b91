"""Writes the temporary SavedModel that the TFLite converter reads."""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tf_unilth.engines.served_model import ServedModel
from tf_unilth.export.model_inputs import ModelInputs
from tf_unilth.export.tflite_failures import ConversionError
from tf_unilth.export.tflite_verification import SIGNATURE


def save_for_conversion(
  model: Any, path: str, batch: int | None, quantization: str | None
) -> None:
  """Saves a model with one signature, which keeps all input and output names.

  Args:
    model: a built float32 model.
    path: the folder to write.
    batch: the batch size of the signature; `None` for a variable one.
    quantization: as in `export_tflite`.

  Raises:
    ConversionError: the model cannot be traced, saved or calibrated.
  """
  model_inputs = ModelInputs(model)
  specs = {
    name: tf.TensorSpec([batch, *spec.shape[1:]], spec.dtype, name)
    for name, spec in model_inputs.specs.items()
  }
  module = tf.Module()
  # Tracking the model itself would trace each of its layers as well.
  module.variables_of_model = list(model_inputs.served.variables)

  @tf.function(autograph=False)
  def serve(**arrays: tf.Tensor) -> dict[str, tf.Tensor]:
    ordered = {name: arrays[name] for name in specs}
    return _check_dense(model_inputs.call(ordered))

  try:
    with without_fused_recurrence(model_inputs.served):
      concrete = serve.get_concrete_function(**specs)
    if quantization == 'int8' and _has_loops(concrete):
      raise ConversionError(
        'TFLite crashes when it calibrates a loop, as in LSTM and GRU'
      )
    tf.saved_model.save(module, path, signatures={SIGNATURE: concrete})
  except (AssertionError, ValueError, TypeError) as error:
    raise ConversionError(
      f'it cannot be saved: {str(error).strip().splitlines()[0]}'
    ) from error


@contextlib.contextmanager
def without_fused_recurrence(model: ServedModel) -> Iterator[None]:
  """Makes LSTM and GRU layers of tf_keras trace as loops over their cells.

  By default TFLite converts them to a fused operation that starts from the
  final state of the previous call, so outputs are wrong from the second call.
  """
  name = '_could_use_gpu_kernel'
  inside = model.flatten_layers(model.model)
  layers = [layer for layer in inside if getattr(layer, name, False)]
  for layer in layers:
    setattr(layer, name, False)
  try:
    yield
  finally:
    for layer in layers:
      setattr(layer, name, True)


def _check_dense(outputs: dict[str, Any]) -> dict[str, tf.Tensor]:
  for name, value in outputs.items():
    if not isinstance(value, tf.Tensor):
      raise ValueError(
        f'its output {name} is a {type(value).__name__}, but TFLite supports '
        'only dense tensors'
      )
  return outputs


def _has_loops(function: Any) -> bool:
  graph = function.graph.as_graph_def()
  nodes = [
    *graph.node,
    *(n for f in graph.library.function for n in f.node_def),
  ]
  return any(node.op in ('While', 'StatelessWhile') for node in nodes)
