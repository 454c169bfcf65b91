"""Warns of the layers of a Keras 3 model that stay dense, by name.

Each layer with a trainable matrix, at any depth, is pruned, named in a warning
or named by the user in `skip`. Biases, depthwise kernels and the scales of
normalization layers are documented to stay dense and cause no warning.
"""

from collections.abc import Iterator
from typing import Any

import keras

from tf_unilth.engines.keras3 import kernel_table, layer_tree
from tf_unilth.engines.keras3.pruning_plan import PruningPlan
from tf_unilth.user_warning import warn_user

layers = keras.layers

_NORMALIZATIONS = (
  layers.BatchNormalization,
  layers.GroupNormalization,
  layers.LayerNormalization,
  layers.RMSNormalization,
)


def warn(plan: PruningPlan) -> None:
  """Warns of the layers of a built model that stay dense.

  Args:
    plan: the plan of the model.
  """
  plan.has_warned = True
  groups: dict[str, list[str]] = {}
  for layer, owner in dense_owners(plan):
    names = groups.setdefault(reason(owner), [])
    if repr(layer.name) not in names:
      names.append(repr(layer.name))
  for why, names in groups.items():
    one = len(names) == 1
    warn_user(
      f'layer{"" if one else "s"} {", ".join(names)} '
      f'{"stays" if one else "stay"} dense: {why}',
    )


def remind(plan: PruningPlan) -> None:
  """Warns when training starts, if the model was not built before."""
  if not plan.has_warned:
    warn(plan)


def dense_owners(plan: PruningPlan) -> list[tuple[Any, Any]]:
  """Returns the layers with dense matrices: as listed, and the one inside.

  Args:
    plan: the plan of a built model.
  """
  pruned = {id(kernel.variable) for kernel in plan.kernels}
  skipped = {id(i) for s in plan.skipped for i in layer_tree.inside(s)}
  found = []
  listed = [plan.model, *layer_tree.named_layers(plan.model)]
  for layer in listed:
    if id(layer) in skipped:
      continue
    is_container = layer_tree.is_container(layer)
    for owner in [layer] if is_container else _undeclared(layer):
      if id(owner) not in skipped and any(
        id(variable) not in pruned for variable in matrices(owner)
      ):
        found.append((layer, owner))
  return found


def _undeclared(layer: Any) -> Iterator[Any]:
  """Yields a layer and those inside, except in one that declares kernels."""
  if not kernel_table.declares_kernels(layer):
    yield layer
    for inner in kernel_table.inner_layers(layer):
      yield from _undeclared(inner)


def matrices(layer: Any) -> list[Any]:
  """Returns a layer's own trainable matrices that might be pruned."""
  if isinstance(layer, _NORMALIZATIONS):
    return []
  exempt = [getattr(layer, 'depthwise_kernel', None)]
  if isinstance(layer, layers.DepthwiseConv1D | layers.DepthwiseConv2D):
    exempt.append(getattr(layer, 'kernel', None))
  return [
    variable
    for variable in layer._trainable_variables
    if variable.trainable
    and len(variable.shape) > 1
    and not variable.name.endswith('bias')
    and not any(variable is other for other in exempt)
  ]


def reason(owner: Any) -> str:
  """Returns why a layer's matrices stay dense, and how to prune them."""
  kind = type(owner).__name__
  if kernel_table.is_of_keras(type(owner)):
    return f'the weights of a {kind} are not pruned.'
  return (
    f'a {kind} does not declare its kernels. Give it a get_prunable_weights '
    'method that returns variables.'
  )
