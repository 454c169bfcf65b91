"""The kernels of each Keras 3 layer type: the table to extend for a new one."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from tf_unilth.engines.einsum_axis import summed_axis

layers = keras.layers

# The attributes with the kernels of a layer, by its class or its nearest
# ancestor. Depthwise kernels are small and important; tfmot leaves them dense
# too.
_ATTRIBUTES: dict[type, tuple[str, ...]] = {
  layers.Dense: ('kernel',),
  layers.EinsumDense: ('kernel',),
  layers.Conv1D: ('kernel',),
  layers.Conv2D: ('kernel',),
  layers.Conv3D: ('kernel',),
  layers.Conv1DTranspose: ('kernel',),
  layers.Conv2DTranspose: ('kernel',),
  layers.Conv3DTranspose: ('kernel',),
  layers.DepthwiseConv1D: (),
  layers.DepthwiseConv2D: (),
  layers.SeparableConv1D: ('pointwise_kernel',),
  layers.SeparableConv2D: ('pointwise_kernel',),
  layers.Embedding: ('embeddings',),
  layers.SimpleRNNCell: ('kernel', 'recurrent_kernel'),
  layers.GRUCell: ('kernel', 'recurrent_kernel'),
  layers.LSTMCell: ('kernel', 'recurrent_kernel'),
}
# By name, because Keras does not export it.
_CONV_LSTM_CELL = 'ConvLSTMCell'
_OUTPUTS_FIRST = (
  layers.Conv1DTranspose,
  layers.Conv2DTranspose,
  layers.Conv3DTranspose,
)


class LayerKernel(NamedTuple):
  """A kernel and the layer that has it.

  Args:
    variable: the Keras variable.
    owner: the layer, which may be inside of the layer that a model lists.
  """

  variable: keras.Variable
  owner: keras.layers.Layer


def has_own_kernels(layer: keras.layers.Layer) -> bool:
  """Returns whether a layer's class has kernels, without layers inside.

  >>> has_own_kernels(keras.layers.Dense(2))
  True
  >>> has_own_kernels(keras.layers.LSTM(2))
  False
  """
  return declares_kernels(layer) or bool(_attributes(layer))


def declares_kernels(layer: keras.layers.Layer) -> bool:
  """Returns whether a layer has a `get_prunable_weights` method."""
  return hasattr(layer, 'get_prunable_weights')


def kernels_of(layer: keras.layers.Layer) -> Iterator[LayerKernel]:
  """Yields the kernels of a built layer and of the layers inside, in order.

  Args:
    layer: the layer. One that declares its kernels has no others.
  """
  if declares_kernels(layer):
    for variable in _declared(layer):
      if isinstance(variable, keras.Variable):
        yield LayerKernel(variable, layer)
    return
  for inner in inner_layers(layer):
    yield from kernels_of(inner)
  for name in _attributes(layer):
    variable = _variable(layer, name)
    if variable is not None:
      yield LayerKernel(variable, layer)


def is_built(layer: keras.layers.Layer) -> bool:
  """Returns whether a layer and all layers inside of it are built.

  Args:
    layer: the layer or model. `build` of a subclassed model builds no layer
      inside, unless the user wrote it.
  """
  return layer.built and all(map(is_built, inner_layers(layer)))


def _declared(layer: Any) -> list[Any]:
  """Returns what `get_prunable_weights` returns; nothing while it cannot."""
  if not layer.built:
    return []
  try:
    return list(layer.get_prunable_weights())
  except AttributeError:  # As Keras raises where a layer inside is unbuilt.
    if is_built(layer):
      raise
    return []


def inner_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
  """Returns the layers directly inside of a layer or model, in order.

  Args:
    layer: the layer, built or unbuilt.
  """
  if isinstance(layer, keras.Sequential):
    return list(layer.layers)  # Without the input.
  # `layers` of a functional model lacks those of its subclasses' attributes.
  return list(layer._layers)


def kernel_path(kernel: LayerKernel) -> str:
  """Returns the path of a kernel, with slashes, as tf_keras has it."""
  parts = kernel.variable.path.split('/')
  if _is_conv_lstm_cell(type(kernel.owner)):
    del parts[-2:-1]  # In tf_keras, this cell's name is not in the path.
  return '/'.join(parts)


def effective_value(kernel: LayerKernel) -> Any:
  """Returns the variable, or the tensor that the layer uses in its place.

  That tensor is unpacked if the variable has two int4 weights in a byte, and
  includes the LoRA matrices.

  Args:
    kernel: the kernel.
  """
  for name in _attributes(kernel.owner):
    if _variable(kernel.owner, name) is kernel.variable:
      return getattr(kernel.owner, name)
  return kernel.variable


def why_fixed(kernel: LayerKernel) -> str | None:
  """Returns why a kernel cannot be pruned any more; `None` if it can.

  Args:
    kernel: the kernel.
  """
  if 'int' in kernel.variable.dtype:
    return f'quantized to {kernel.variable.dtype}'
  if getattr(kernel.owner, 'lora_enabled', False):
    return 'frozen, and LoRA matrices are added to it'
  return None


def _attributes(layer: keras.layers.Layer) -> tuple[str, ...]:
  """Returns the attributes with a layer's own kernels."""
  for kind in type(layer).mro():
    if kind in _ATTRIBUTES:
      return _ATTRIBUTES[kind]
    if _is_conv_lstm_cell(kind):
      return ('kernel', 'recurrent_kernel')
  return ()


def _is_conv_lstm_cell(kind: type) -> bool:
  return any(
    base.__name__ == _CONV_LSTM_CELL and is_of_keras(base)
    for base in kind.mro()
  )


def _variable(layer: keras.layers.Layer, name: str) -> keras.Variable | None:
  """Returns the variable of a kernel; `None` before the layer is built."""
  # Some layers have the variable in `_kernel`. Their `kernel` is a property,
  # whose value is a tensor under LoRA.
  for attribute in (f'_{name}', name):
    value = vars(layer).get(attribute)
    if isinstance(value, keras.Variable):
      return value
  return None


def is_of_keras(kind: type) -> bool:
  """Returns whether a class is Keras's own."""
  return kind.__module__.split('.')[0] == 'keras'


def input_axis(kernel: LayerKernel) -> int:
  """Returns the innermost axis of a kernel that its layer sums over.

  Along this axis, N:M sparsity groups the weights.

  Args:
    kernel: the kernel.

  Returns:
    A negative axis: -2 for the shape [..., inputs, outputs] of most layers.
  """
  if isinstance(kernel.owner, _OUTPUTS_FIRST):
    return -1
  if isinstance(kernel.owner, keras.layers.EinsumDense):
    return summed_axis(kernel.owner.equation)
  return -2
