"""sparsity_summary for Keras 3: counts the zeros of each kernel of a model."""

import collections
from typing import Any

import keras
import numpy as np

from tf_unilth.engines.keras3 import (
  backend_values,
  dense_layers,
  kernel_table,
  layer_tree,
  pruning_plan,
)
from tf_unilth.engines.kernel_sparsity import KernelSparsity, SparsitySummary


def sparsity_summary(model: keras.Model) -> SparsitySummary:
  """Does what `tf_unilth.sparsity_summary` documents, for Keras 3."""
  backend_values.sync(model)
  plan = pruning_plan.plan_of(model)
  if plan is None:
    rows = [
      _row(name, _read(kernel_table.effective_value(kernel)))
      for name, kernel, _ in layer_tree.model_kernels(model)
    ]
    return SparsitySummary(tuple(rows))
  rows = [
    _row(kernel.name, _read(kernel.variable), mask)
    for kernel, mask in zip(plan.kernels, plan.masks, strict=True)
  ]
  return SparsitySummary(tuple(rows), _not_pruned(plan))


def _read(value: Any) -> np.ndarray:
  if isinstance(value, keras.Variable):
    return backend_values.read(value)
  return keras.ops.convert_to_numpy(value)


def _row(
  name: str, values: np.ndarray, mask: np.ndarray | None = None
) -> KernelSparsity:
  zero = values == 0
  if mask is not None:
    zero |= ~mask
  return KernelSparsity(name, values.shape, int(np.sum(zero)))


def _not_pruned(plan: pruning_plan.PruningPlan) -> tuple[str, ...]:
  """Returns the entries of `SparsitySummary.left`."""
  pruned = {id(layer) for _, _, layer in layer_tree.model_kernels(plan.model)}
  skipped = {id(i) for s in plan.skipped for i in layer_tree.inside(s)}
  dense = {id(layer) for layer, _ in dense_layers.dense_owners(plan)}
  kinds: collections.Counter[str] = collections.Counter()
  named = []
  for layer in layer_tree.named_layers(plan.model):
    kind = type(layer).__name__
    has_kernels = id(layer) in pruned
    if has_kernels and id(layer) not in skipped:
      continue
    if isinstance(layer, keras.layers.InputLayer):
      continue
    if has_kernels or id(layer) in dense:
      named.append(f'{layer.name} ({kind})')
    elif not layer_tree.is_container(layer):
      kinds[kind] += 1
  counted = [f'{kind} x {n}' if n > 1 else kind for kind, n in kinds.items()]
  return tuple(named + counted)
