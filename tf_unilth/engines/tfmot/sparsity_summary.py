"""sparsity_summary: counts the zeros of each kernel of a model."""

import collections
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_unilth.engines.kernel_sparsity import (
  ChannelSparsity,
  KernelSparsity,
  SparsitySummary,
)
from tf_unilth.engines.tfmot import (
  channel_plan,
  keras_3_errors,
  keras_access,
  prunable_weights,
  unpruned_layers,
)
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers


def sparsity_summary(model: keras.Model) -> SparsitySummary:
  """Does what `tf_unilth.sparsity_summary` documents, for tf_keras."""
  keras_3_errors.check_keras(model, 'model', keras.Model)
  layers = PrunedLayers(model)
  wrapped = layers.kernels
  rows = [
    KernelSparsity(k.name, tuple(k.weight.shape), _zeros(k.weight, k.mask))
    for k in wrapped
    if k.is_counted
  ] or [
    KernelSparsity(name, tuple(weight.shape), _zeros(weight))
    for name, weight in prunable_weights.model_kernels(model)
  ]
  return SparsitySummary(
    tuple(rows), _unwrapped(model) if wrapped else (), _channels(model, layers)
  )


def _channels(
  model: keras.Model, layers: PrunedLayers
) -> ChannelSparsity | None:
  """Returns what is removed of a model that is pruned by whole channels."""
  channels = channel_plan.find_channels(model, layers.kernels)
  if channels is None:
    return None
  units = channels.kept_units(layers.read_masks())
  removed = units.size - int(np.count_nonzero(units))
  flops = flops_removed = None
  if channels.flops is not None:
    flops = channels.total('flops')
    flops_removed = flops - channels.flops(units)
  return ChannelSparsity(
    units.size, removed, flops, flops_removed, channels.pinned
  )


def _zeros(weight: Any, mask: Any = None) -> int:
  """Returns the number of weights that are zero or masked."""
  zero = weight.numpy() == 0
  if mask is not None:
    zero |= mask.numpy() == 0
  return int(np.sum(zero))


def _unwrapped(model: keras.Model) -> tuple[str, ...]:
  """Returns the entries of `SparsitySummary.left`."""
  kinds: collections.Counter[str] = collections.Counter()
  named = []
  for layer in dict.fromkeys(_unwrapped_layers(model)):
    if prunable_weights.is_prunable(layer) or any(
      found.cause is layer
      for found in unpruned_layers.find(layer, wrapped=False)
    ):
      named.append(f'{layer.name} ({type(layer).__name__})')
    else:
      kinds[type(layer).__name__] += 1
  counted = [f'{kind} x {n}' if n > 1 else kind for kind, n in kinds.items()]
  return tuple(named + _unpruned_parts(model) + counted)


def _unpruned_parts(model: keras.Model) -> list[str]:
  """Returns the parts of wrapped layers that stay dense."""
  return [
    f'{type(found.cause).__name__} of {found.layer.name}'
    for wrapper in PrunedLayers(model).wrappers
    for found in unpruned_layers.find(wrapper.layer, wrapped=True)
  ]


def _unwrapped_layers(layer: Any) -> Iterator[keras.layers.Layer]:
  for inner in layer._flatten_layers(recursive=False, include_self=False):
    if isinstance(
      inner, keras.layers.InputLayer | keras_access.PruneLowMagnitude
    ):
      continue
    if not isinstance(inner, keras.Model):
      yield inner
    if not prunable_weights.is_prunable(inner):
      yield from _unwrapped_layers(inner)
