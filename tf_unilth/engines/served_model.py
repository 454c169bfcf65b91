"""ServedModel: what exports need of a built model of either Keras.

Exports are made with TensorFlow, but this file does not import it: the checks
before an export run where TensorFlow is not installed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from tf_unilth.engines import engine_choice


class Call(NamedTuple):
  """The call of a layer in a functional model, with its symbolic tensors.

  Args:
    layer: the layer.
    inputs: the symbolic tensors among its arguments.
    outputs: its outputs.
    node: for tf_keras, Keras's node, which has all arguments.
  """

  layer: Any
  inputs: list[Any]
  outputs: list[Any]
  node: Any = None


class ServedModel(Protocol):
  """A built model that is not prepared for pruning."""

  @property
  def keras(self) -> Any:
    """The module of the model's Keras."""

  @property
  def model(self) -> Any:
    """The model."""

  @property
  def runs_in_tensorflow(self) -> bool:
    """Whether the model itself computes with TensorFlow."""

  @property
  def variables(self) -> Sequence[Any]:
    """The model's variables in its order, as TensorFlow's."""

  @property
  def trainable_variables(self) -> Sequence[Any]:
    """Those of `variables` that are trainable."""

  @property
  def resources(self) -> Sequence[Any]:
    """The lookup tables of the model, which a SavedModel must track."""

  def values(self) -> list[np.ndarray]:
    """Returns the values of the model's own variables, in its order."""

  def signature(self) -> Any:
    """Returns the specs of the inputs, such as `TensorSpec`, as a nest.

    Raises:
      ValueError: the model was never called and has no known inputs.
    """

  def call(self, inputs: Any) -> Any:
    """Returns the outputs in inference mode, as tensors of TensorFlow.

    Args:
      inputs: tensors, nested as `signature()`; symbolic ones in a graph.
    """

  def compute(self, inputs: Any) -> Any:
    """Returns what the model itself computes in inference mode.

    Args:
      inputs: tensors or arrays, nested as `signature()`.

    Returns:
      Tensors of TensorFlow, or arrays if it computes with something else.
    """

  def flatten_layers(self, layer: Any) -> list[Any]:
    """Returns all layers inside of a layer or model, at any depth."""

  def is_network(self, layer: Any) -> bool:
    """Returns whether a layer is a Sequential or functional model."""

  def network_calls(self, layer: Any) -> list[Call] | None:
    """Returns the calls of the layers of a built network, in order.

    `None` for anything else, such as a subclassed model.
    """


def of_model(model: Any) -> ServedModel:
  """Returns a model as exports need it.

  Args:
    model: a built model of either Keras.

  Raises:
    TypeError: `model` is not a Keras model.
  """
  module = engine_choice.module_for(model, 'model', 'Model', 'served_model')
  return module.ServedModel(model)


def check(model: Any, function: str) -> None:
  """Raises an error unless a model can be exported; needs no TensorFlow.

  Args:
    model: the argument of an export.
    function: the name of the export, for messages.

  Raises:
    TypeError: `model` is not a Keras model.
    ValueError: the model is still prepared for pruning, or its backend cannot
      export.
  """
  module = engine_choice.module_for(model, 'model', 'Model', 'export_checks')
  if module.is_prepared(model):
    raise ValueError(
      'model is still wrapped: export tf_unilth.strip_pruning(model).'
    )
  module.check_backend(function)
