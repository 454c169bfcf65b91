"""prune_low_magnitude for Keras 3: notes on a model how it is to be pruned."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tf_unilth.engines import layer_selection
from tf_unilth.engines.keras3 import (
  dense_layers,
  kernel_table,
  layer_tree,
  pruning_plan,
)
from tf_unilth.engines.keras3.model_hooks import ModelHooks
from tf_unilth.engines.keras3.pruning_plan import PruningPlan
from tf_unilth.engines.layer_targets import layer_schedules
from tf_unilth.engines.unit_arguments import check_units
from tf_unilth.schedules.fixed_mask import FixedMask
from tf_unilth.schedules.iterative_sparsity import IterativeSparsity
from tf_unilth.selection import pruning_units
from tf_unilth.user_warning import warn_user


def prune_low_magnitude(
  to_prune: Any,
  pruning_schedule: Any = None,
  block_size: tuple[int, int] = (1, 1),
  block_pooling_type: str = 'AVG',
  pruning_policy: Any = None,
  sparsity_m_by_n: tuple[int, int] | None = None,
  *,
  skip: Any = (),
  targets: Mapping[Any, Any] | None = None,
  structure: str | None = None,
  **kwargs: Any,
) -> keras.Model:
  """Does what `tf_unilth.prune_low_magnitude` documents, for Keras 3."""
  _check_types(to_prune, pruning_schedule, pruning_policy, kwargs)
  units = check_units(
    block_size, block_pooling_type, sparsity_m_by_n, structure
  )
  _check_no_channels(structure, pruning_schedule)
  schedules = layer_schedules(
    lambda selector: find_layers(to_prune, [selector], 'targets'),
    pruning_schedule,
    {} if targets is None else targets,
    _has_kernels_of_its_own,
    keras.layers.Layer,
    IterativeSparsity,
  )
  skipped = _skipped_layers(to_prune, skip, schedules, units)
  plan = PruningPlan(to_prune, pruning_schedule, units, skipped, schedules)
  _check_something_to_prune(plan)
  ModelHooks(plan).attach()
  if kernel_table.is_built(to_prune):
    dense_layers.warn(plan)
    _warn_of_empty_masks(plan)
  return to_prune


def _check_no_channels(
  structure: str | None, schedule: IterativeSparsity
) -> None:
  if structure is not None:
    raise ValueError(
      f'structure={structure!r} needs a tf_keras model, but to_prune is a '
      'Keras 3 model: whole channels of it cannot be pruned yet. Leave '
      'structure None, or build the model with tf_keras.'
    )
  if schedule.of == 'flops':
    raise ValueError(
      "of='flops' of pruning_schedule needs structure='channels' and a "
      'tf_keras model, but to_prune is a Keras 3 model.'
    )


def hold_zeros(model: keras.Model, skipped: Sequence[Any]) -> None:
  """Puts a plan with one `FixedMask` on a model, whose masks a ticket sets.

  Args:
    model: a built model without a plan.
    skipped: the layers that stay dense. They cause no warning.
  """
  plan = PruningPlan(
    model, FixedMask(), check_units((1, 1), 'AVG', None), skipped, {}
  )
  plan.has_warned = True
  ModelHooks(plan).attach()


def _check_types(
  to_prune: Any, schedule: Any, policy: Any, kwargs: Mapping[str, Any]
) -> None:
  if not isinstance(to_prune, keras.Model):
    raise TypeError(
      'to_prune must be a model, but is a '
      f'{type(to_prune).__name__}: with Keras 3, pass the model, and choose '
      'its layers by skip and targets.'
    )
  if pruning_plan.plan_of(to_prune) is not None:
    raise ValueError(
      f'to_prune, model {to_prune.name!r}, was passed to prune_low_magnitude '
      'before: call strip_pruning first.'
    )
  if not isinstance(schedule, IterativeSparsity):
    raise TypeError(
      'pruning_schedule must be an IterativeSparsity or a FixedMask for a '
      f'Keras 3 model, but is {schedule!r}.'
    )
  if policy is not None:
    raise TypeError(
      'pruning_policy must be None for a Keras 3 model, since its class is '
      f"tfmot's, but is a {type(policy).__name__}: use skip."
    )
  if kwargs:
    raise TypeError(f'unknown arguments {sorted(kwargs)} for a Keras 3 model.')


def find_layers(model: keras.Model, selectors: Any, argument: str) -> list[Any]:
  """Returns the layers of a model that an argument selects, each once.

  Args:
    model: the model. Layers of nested models are included.
    selectors: as in `layer_selection.find_layers`.
    argument: the name of the argument, for error messages.
  """
  return layer_selection.find_layers(
    list(layer_tree.named_layers(model)),
    selectors,
    argument,
    model.name,
    keras.layers.Layer,
  )


def _has_kernels_of_its_own(layer: keras.layers.Layer) -> bool:
  is_container = layer_tree.is_container(layer)
  return not is_container and layer_tree.is_prunable(layer)


def _skipped_layers(
  model: keras.Model,
  skip: Any,
  schedules: Mapping[Any, Any],
  units: Mapping[str, Any],
) -> list[Any]:
  """Returns the layers to leave dense; raises if `targets` names one."""
  skipped = find_layers(model, skip, 'skip')
  inside = {id(i) for layer in skipped for i in layer_tree.inside(layer)}
  if both := [layer.name for layer in schedules if id(layer) in inside]:
    raise ValueError(f'skip and targets must differ, but both name {both}.')
  fixed = _layers_with_fixed_kernels(model, inside)
  if both := [layer.name for layer in schedules if layer in fixed]:
    raise ValueError(
      'targets must name layers whose kernels can still be pruned, but names '
      f'{both}: prune before quantize and enable_lora.'
    )
  inside |= set(map(id, fixed))
  unfit = _layers_without_units(model, units, inside)
  if both := [layer.name for layer in schedules if layer in unfit]:
    raise ValueError(
      f'targets must name layers whose kernels divide into units of {units}, '
      f'but names {both}.'
    )
  return [*skipped, *fixed, *unfit]


def _layers_with_fixed_kernels(
  model: keras.Model, skipped: set[int]
) -> list[Any]:
  """Returns the layers with quantized or LoRA kernels, and warns of them.

  Args:
    model: the model.
    skipped: the ids of layers to ignore.
  """
  found: dict[Any, str] = {}
  for _, kernel, layer in layer_tree.model_kernels(model):
    why = kernel_table.why_fixed(kernel)
    if why is not None and id(layer) not in skipped:
      found.setdefault(layer, why)
  for layer, why in found.items():
    warn_user(
      f'layer {layer.name!r} stays as it is: its kernel is {why}. Prune '
      'before quantize and enable_lora.',
    )
  return list(found)


def _layers_without_units(
  model: keras.Model, arguments: Mapping[str, Any], skipped: set[int]
) -> list[Any]:
  """Returns the layers with a kernel that does not divide, and warns of them.

  Args:
    model: the model. If it is unbuilt, training checks its kernels.
    arguments: the arguments that determine the units.
    skipped: the ids of layers to ignore.
  """
  found = [
    layer
    for _, kernel, layer in layer_tree.model_kernels(model)
    if id(layer) not in skipped
    and not pruning_units.from_arguments(
      **arguments, axis=kernel_table.input_axis(kernel)
    ).fits(tuple(kernel.variable.shape))
  ]
  if found:
    names = ', '.join(repr(layer.name) for layer in dict.fromkeys(found))
    needs = pruning_units.from_arguments(**arguments).needs
    warn_user(f'{needs}; these layers stay dense: {names}.')
  return list(dict.fromkeys(found))


def _check_something_to_prune(plan: PruningPlan) -> None:
  """Raises a `ValueError` if no layer has a kernel that may be pruned."""
  skipped = {id(i) for s in plan.skipped for i in layer_tree.inside(s)}
  layers = layer_tree.kernel_layers(plan.model)
  if all(id(layer) in skipped for layer in layers):
    reasons = dict.fromkeys(
      dense_layers.reason(owner) for _, owner in dense_layers.dense_owners(plan)
    )
    raise ValueError(
      f'to_prune has nothing to prune: no layer of {plan.model.name!r} has a '
      'kernel that skip, block_size and sparsity_m_by_n allow to prune.'
      + ''.join(f' Note: {reason}' for reason in reasons)
    )


def _warn_of_empty_masks(plan: PruningPlan) -> None:
  """Warns of kernels that a `FixedMask` masks completely."""
  for kernel, mask in zip(plan.kernels, plan.masks, strict=True):
    if isinstance(kernel.schedule, FixedMask) and not np.any(mask):
      warn_user(
        f'FixedMask of layer {kernel.name!r} masks all weights of a kernel: '
        'it will never train.',
      )
