"""The layers of a Keras 3 model, in the order in which they are pruned.

A model and a user's layer with layers inside are containers: each layer inside
is pruned for itself. Keras's own layers with layers inside, such as
`MultiHeadAttention` and `Bidirectional`, are pruned as one layer, as they are
in tf_keras.
"""

from collections.abc import Iterator
from typing import Any

import keras

from tf_unilth.engines.keras3 import kernel_table
from tf_unilth.engines.kernel_names import kernel_names


def is_container(layer: keras.layers.Layer) -> bool:
  """Returns whether the layers inside of a layer are pruned for themselves."""
  if kernel_table.declares_kernels(layer):
    return False
  if isinstance(layer, keras.Model):
    return True
  nearest = next(k for k in type(layer).mro() if kernel_table.is_of_keras(k))
  return nearest is keras.layers.Layer


def named_layers(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
  """Yields the layers inside of a model that arguments may name, each once.

  Args:
    layer: the model. One that declares its kernels has no such layers.
  """
  seen: set[int] = set()

  def visit(outer: Any) -> Iterator[Any]:
    for inner in kernel_table.inner_layers(outer):
      if id(inner) not in seen:
        seen.add(id(inner))
        yield inner
        if is_container(inner):
          yield from visit(inner)

  return visit(layer) if is_container(layer) else iter(())


def kernel_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
  """Yields the layers that are pruned for themselves, each once.

  Args:
    model: the model, built or unbuilt.
  """
  if not is_container(model):
    yield model
    return
  for layer in named_layers(model):
    if not is_container(layer) and is_prunable(layer):
      yield layer


def is_prunable(layer: keras.layers.Layer) -> bool:
  """Returns whether a layer, built or unbuilt, has kernels to prune.

  >>> is_prunable(keras.layers.Bidirectional(keras.layers.LSTM(4)))
  True
  >>> is_prunable(keras.layers.Rescaling(1 / 255))
  False
  """
  return kernel_table.has_own_kernels(layer) or any(
    map(is_prunable, kernel_table.inner_layers(layer))
  )


def inside(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
  """Yields a layer and all layers inside of it, at any depth."""
  yield layer
  for inner in kernel_table.inner_layers(layer):
    yield from inside(inner)


def model_kernels(
  model: keras.Model,
) -> Iterator[tuple[str, kernel_table.LayerKernel, keras.layers.Layer]]:
  """Yields name, kernel and layer of each kernel of a built model, each once.

  Args:
    model: the model.
  """
  seen: set[int] = set()
  for layer in kernel_layers(model):
    kernels = list(kernel_table.kernels_of(layer))
    paths = [kernel_table.kernel_path(kernel) for kernel in kernels]
    names = kernel_names(layer.name, paths)
    for name, kernel in zip(names, kernels, strict=True):
      if id(kernel.variable) not in seen:
        seen.add(id(kernel.variable))
        yield name, kernel, layer
