"""What must be true of a pruned model, found without tf_unilth."""

import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tests.testing import random_layers
from tf_unilth.engines.tfmot import keras_access, kernel_axes
from tf_unilth.selection import pruning_units, unit


class Wrong(Exception):
  """A check did not hold."""


def inner_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
  """Returns the layers of a model and of the models inside."""
  for layer in model.layers:
    yield layer
    if isinstance(layer, keras.Model):
      yield from inner_layers(layer)


def wrappers(model: keras.Model) -> list[Any]:
  return [
    layer
    for layer in model._flatten_layers(include_self=False)
    if isinstance(layer, keras_access.PruneLowMagnitude)
  ]


def bare(weight: Any) -> Any:
  """Returns the variable, which mixed precision hides."""
  return getattr(weight, '_variable', weight)


def kernels(layer: keras.layers.Layer) -> set[Any]:
  """Returns references to the kernels, by what Keras calls them."""
  return {
    bare(weight).ref()
    for weight in layer.weights
    if base_name(weight) in random_layers.KERNELS
  }


def base_name(weight: Any) -> str:
  return weight.name.split('/')[-1].split(':')[0]


def pruned(model: keras.Model) -> list[tuple[Any, Any, Any]]:
  """Returns (weight, mask, wrapper), each weight once."""
  found = {}
  for wrapper in wrappers(model):
    for weight, mask, _ in wrapper.pruning_vars:
      found.setdefault(bare(weight).ref(), (weight, mask, wrapper))
  return list(found.values())


def check_sparsity(model: keras.Model, targets: set[float]) -> None:
  """Raises unless each group of layers is at its target, to the weight.

  Args:
    model: a wrapped model that was trained.
    targets: what groups may be pruned to.
  """
  groups: dict[str, list[tuple[Any, Any, Any]]] = {}
  for weight, mask, wrapper in pruned(model):
    group = wrapper.pruning_schedule.group
    groups.setdefault(group, []).append((weight, mask, wrapper))
  for members in groups.values():
    target = members[0][2].pruning_schedule.target_sparsity
    if target not in targets:
      raise Wrong(f'target_sparsity became {target}, none of {targets}.')
    check_group(members)


def check_group(members: list[tuple[Any, Any, Any]]) -> None:
  wanted = members[0][2].pruning_schedule.target_sparsity
  units = cut = 0
  for weight, mask, wrapper in members:
    value, kept = bare(weight).numpy(), bare(mask).numpy() != 0
    if value[~kept].any():
      raise Wrong(f'{weight.name} has pruned weights that are not 0.')
    if (value[kept] == 0).any() and not makes_zeros(weight):
      raise Wrong(f'{weight.name} has zeros that are not pruned.')
    divided = pruning_units.from_arguments(
      wrapper.block_size,
      wrapper.block_pooling_type,
      wrapper.sparsity_m_by_n,
      kernel_axes.input_axis(wrapper.layer, weight),
    )
    pooled = divided.mask_to_units(kept)
    units, cut = units + pooled.size, cut + int(np.sum(~pooled))
    if divided == unit.Single() and pooled.size != value.size:
      raise Wrong(f'{weight.name} is not counted by weights.')
  share = wanted
  if members[0][2].sparsity_m_by_n:
    share = 1.0 if wanted else 0.0
  if cut != round(share * units):
    raise Wrong(
      f'{cut} of {units} are pruned instead of {round(share * units)}.'
    )


def makes_zeros(weight: Any) -> bool:
  return isinstance(
    getattr(bare(weight), 'constraint', None), keras.constraints.NonNeg
  )


def check_logs(model: keras.Model, history: keras.callbacks.History) -> None:
  masks = [bare(mask).numpy() for _, mask, _ in pruned(model)]
  zeros = sum(int(np.sum(mask == 0)) for mask in masks)
  sparsity = zeros / sum(mask.size for mask in masks)
  logged = history.history['sparsity'][-1]
  if abs(logged - sparsity) > 1e-6:
    raise Wrong(f'the logs say a sparsity of {logged}, it is {sparsity}.')


def predict(model: keras.Model, x: Any) -> list[np.ndarray]:
  # Not `predict`, which would trace a function for it.
  outputs = model(x, training=False)
  return [
    tf.convert_to_tensor(output).numpy() for output in tf.nest.flatten(outputs)
  ]


def reload(model: keras.Model) -> keras.Model:
  with tempfile.TemporaryDirectory() as folder:
    model.save(f'{folder}/model.keras')
    return keras.models.load_model(f'{folder}/model.keras', safe_mode=False)


def check_close(
  one: list[np.ndarray],
  other: list[np.ndarray],
  what: str,
  tolerance: float = 1e-4,
) -> None:
  for a, b in zip(one, other, strict=True):
    a, b = a.astype(np.float32), b.astype(np.float32)
    if not np.allclose(a, b, tolerance, tolerance * max(1, np.abs(a).max())):
      raise Wrong(f'{what}: outputs differ by {np.abs(a - b).max()}.')
