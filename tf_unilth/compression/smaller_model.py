"""Makes the model that has only some of the units of another."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_unilth.compression import block_alignment
from tf_unilth.compression.analysis import Analysis
from tf_unilth.engines.tfmot import model_layers, prunable_weights
from tf_unilth.engines.tfmot.channel_graph import inner_layer
from tf_unilth.engines.tfmot.keras_access import keras

layers = keras.layers

# The argument of a layer with its width, by the attribute of its kernel.
_WIDTHS = {'embeddings': 'output_dim'}
# Their functions or tables may be missing from their configuration. They have
# no weights, so both models may have them.
_SHARED = (
  *(layers.Lambda, layers.StringLookup, layers.IntegerLookup),
  layers.TextVectorization,
)
# They compute what they need from their weights.
_FINALIZED = (layers.Normalization, layers.Discretization)


@dataclasses.dataclass(frozen=True, eq=False)
class SmallerModel:
  """Builds a model without the units that are removed.

  Dead units that stay, to make up a width, compute nothing and are not read.

  Args:
    analysis: the units of the model.
    kept: for each unit, whether it stays.
  """

  analysis: Analysis
  kept: np.ndarray
  _clones: dict[int, tuple[Any, Any]] = dataclasses.field(default_factory=dict)

  def build(self, model: keras.Model) -> keras.Model:
    """Returns the smaller model, with weights of its own.

    Args:
      model: the model whose units they are.

    Raises:
      ValueError: Keras cannot make a layer from its configuration.
    """
    smaller = self._clone(model)
    for layer, clone in self._clones.values():
      if clone is not layer and not model_layers.runs_its_graph(layer):
        self._set_weights(layer, clone)
    block_alignment.warn_if_lost(self._matrices())
    return smaller

  def _matrices(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yields the name of each Dense layer, its old and its new kernel."""
    for layer, clone in self._clones.values():
      kernel = self.analysis.weights.of(layer, 'kernel')
      if type(layer) is layers.Dense and kernel is not None:
        yield layer.name, kernel, clone.kernel.numpy()

  def _clone(self, layer: Any) -> Any:
    """Returns the copy of a layer, the same one at each call."""
    layer = inner_layer(layer)
    if id(layer) not in self._clones:
      if model_layers.runs_its_graph(layer):
        clone = self._clone_network(layer)
      else:
        clone = self._clone_layer(layer)
      self._clones[id(layer)] = layer, clone
    return self._clones[id(layer)][1]

  def _clone_network(self, network: Any) -> Any:
    inputs = [
      self._input(network, i, tensor) for i, tensor in enumerate(network.inputs)
    ]
    clone = keras.models.clone_model(
      network,
      input_tensors=inputs if len(inputs) > 1 else inputs[0],
      clone_function=self._clone,
    )
    if not network.trainable:
      clone.trainable = False
    return clone

  def _input(self, network: Any, index: int, tensor: Any) -> Any:
    """Returns the input of a network's copy."""
    config = tensor._keras_history.layer.get_config()
    for axis in self.analysis.groups.shapes:
      if axis.layer is network and axis.weight == f'input_shape_{index}':
        shape = (*config['batch_input_shape'][:-1], self._width(axis))
        config['batch_input_shape'] = shape
    return layers.InputLayer.from_config(config).output

  def _width(self, axis: Any) -> int:
    return int(self.kept[axis.units].sum())

  def _clone_layer(self, layer: Any) -> Any:
    if isinstance(layer, _SHARED):
      return layer
    try:
      config = layer.get_config()
      self._set_widths(layer, config)
      with _known_classes(layer):
        clone = type(layer).from_config(config)
    except Exception as error:
      raise ValueError(
        f'model has layer {layer.name!r} ({type(layer).__name__}), which Keras '
        f'cannot make again from its configuration: {error}'
      ) from error
    if isinstance(layer, _FINALIZED) and layer.built:
      # The layer may know its shape from its data, and the model may not.
      clone.build_from_config(layer.get_build_config())
    return clone

  def _set_widths(self, layer: Any, config: dict[str, Any]) -> None:
    """Changes the arguments of a layer that have widths or shapes."""
    for axis in self.analysis.groups.layer_axes(layer):
      if axis.role == 'creates':
        name = 'units' if isinstance(layer, layers.Dense) else 'filters'
        config[_WIDTHS.get(axis.weight, name)] = self._width(axis)
    for axis in self.analysis.groups.shapes:
      if axis.layer is layer:  # A Reshape layer.
        config['target_shape'] = (*layer.target_shape[:-1], self._width(axis))
    if self.analysis.bias_shift(layer) is not None:
      config['use_bias'] = True
    # An initializer may have values for the old shape; weights are set anyway.
    for name, value in config.items():
      if name.endswith('_initializer') and _has_shape(value):
        config[name] = 'zeros'

  def _set_weights(self, layer: Any, clone: Any) -> None:
    """Gives a copy the weights of its layer, without what is removed."""
    unwrap = prunable_weights.unwrap_autocast
    axes: dict[int, list[Any]] = {}
    layer_axes = self.analysis.groups.layer_axes(layer)
    for axis in layer_axes:
      weight = unwrap(getattr(layer, axis.weight))
      axes.setdefault(id(weight), []).append(axis)
    values = []
    bias, shift = getattr(layer, 'bias', None), self.analysis.bias_shift(layer)
    for weight in layer.weights:
      value = self.analysis.weights.read(weight)
      if shift is not None and unwrap(weight) is unwrap(bias):
        value = (value + shift).astype(value.dtype)
      for axis in axes.get(id(unwrap(weight)), ()):
        value = self._slice(axis, value)
      values.append(value)
    if shift is not None and bias is None:
      (axis,) = [axis for axis in layer_axes if axis.role == 'creates']
      values.append(shift[self.kept[axis.units]])
    clone.set_weights(values)
    for inner in model_layers.flatten_layers(clone, include_self=True):
      if isinstance(inner, _FINALIZED):
        inner.finalize_state()

  def _slice(self, axis: Any, value: np.ndarray) -> np.ndarray:
    """Returns a weight without the units along one axis that are removed."""
    if axis.role in ('creates', 'reads'):
      live = self.analysis.live[axis.units]
      shape = [1] * value.ndim
      shape[axis.axis] = live.size
      value = np.where(live.reshape(shape), value, np.zeros_like(value))
    return np.compress(self.kept[axis.units], value, axis.axis)


@contextlib.contextmanager
def _known_classes(layer: Any) -> Iterator[None]:
  """Lets Keras find the classes of the layers inside of a layer.

  Keras's wrappers, such as TimeDistributed, look for them by their bare names,
  and for functions in Lambda layers only if these are trusted.
  """
  inside = model_layers.flatten_layers(layer)
  classes = {type(inner).__name__: type(inner) for inner in inside}
  trusted = keras.src.saving.serialization_lib.SafeModeScope(False)
  with trusted, keras.utils.custom_object_scope(classes):
    yield


def _has_shape(config: Any) -> bool:
  """Returns whether an initializer has an array of values."""
  if not isinstance(config, dict) or config.get('class_name') != 'Constant':
    return False
  value = config['config'].get('value')
  return isinstance(value, dict) or np.ndim(value) > 0
