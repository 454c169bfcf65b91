"""prune_low_magnitude: wraps models, layers and lists of layers for pruning."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from tf_unilth.argument_checks import format_value
from tf_unilth.engines.layer_selection import Selector
from tf_unilth.engines.tfmot import (
  channel_checks,
  keras_3_errors,
  keras_access,
  prunable_weights,
  unpruned_layers,
)
from tf_unilth.engines.tfmot.keras_access import PruningSchedule, keras, tfmot
from tf_unilth.engines.tfmot.model_wrapping import (
  Layer,
  LayerWrapping,
  is_allowed,
  warn_of_empty_masks,
  wrap_model,
)
from tf_unilth.engines.tfmot.pruning_wrapper import PruneLowMagnitude
from tf_unilth.engines.unit_arguments import check_units

# The default of tfmot's function.
_DEFAULT_SCHEDULE = tfmot.sparsity.keras.ConstantSparsity(0.5, 0)


def prune_low_magnitude(
  to_prune: Any,
  pruning_schedule: PruningSchedule = _DEFAULT_SCHEDULE,
  block_size: tuple[int, int] = (1, 1),
  block_pooling_type: str = 'AVG',
  pruning_policy: Any = None,
  sparsity_m_by_n: tuple[int, int] | None = None,
  *,
  skip: Selector | Iterable[Selector] = (),
  targets: Mapping[Selector, float | PruningSchedule] | None = None,
  structure: str | None = None,
  **kwargs: Any,
) -> Any:
  """Does what `tf_unilth.prune_low_magnitude` documents, for tf_keras."""
  _check_types(to_prune, pruning_schedule)
  _check_policy(pruning_policy)
  units = check_units(
    block_size, block_pooling_type, sparsity_m_by_n, structure
  )
  _check_applicable(to_prune, skip, targets, kwargs)
  if structure is not None:
    channel_checks.check_channels(to_prune, pruning_schedule, targets)
  else:
    channel_checks.check_of(pruning_schedule)
  if isinstance(to_prune, keras.Model):
    return wrap_model(
      to_prune, pruning_schedule, pruning_policy, units, skip, targets
    )
  if not isinstance(to_prune, list):
    _check_single_layer(to_prune, pruning_policy)
  layers = to_prune if isinstance(to_prune, list) else [to_prune]
  wrapped = _wrap_layers(
    layers, pruning_schedule, pruning_policy, units, kwargs
  )
  return wrapped if isinstance(to_prune, list) else wrapped[0]


def _wrap_layers(
  layers: list[Any],
  schedule: PruningSchedule,
  policy: Any,
  units: Mapping[str, Any],
  arguments: Mapping[str, Any],
) -> list[Any]:
  """Returns the layers wrapped, the models among them as models.

  Args:
    layers: to wrap.
    schedule: of all of them.
    policy: tfmot's, which says what may be pruned, or `None`.
    units: what is pruned together, as `check_units` returns it.
    arguments: more arguments of the wrapper.
  """
  wrap = functools.partial(
    PruneLowMagnitude, pruning_schedule=schedule, **units, **arguments
  )
  wrapping = LayerWrapping(policy, set(), wrap)
  wrapped = [
    wrap_model(layer, schedule, policy, units)
    if isinstance(layer, keras.Model)
    else wrapping.wrap_layer(layer)
    for layer in layers
  ]
  wrapping.warn()
  warn_of_empty_masks(wrapped)
  return wrapped


def _check_types(to_prune: Any, schedule: Any) -> None:
  for layer in to_prune if isinstance(to_prune, list) else [to_prune]:
    keras_3_errors.check_keras(layer, 'to_prune', Layer)
  if not isinstance(schedule, PruningSchedule):
    raise TypeError(
      'pruning_schedule must be an IterativeSparsity or another tfmot '
      f'PruningSchedule, but is {schedule!r}.'
    )


def _check_policy(policy: Any) -> None:
  if policy is not None and not isinstance(
    policy, tfmot.sparsity.keras.PruningPolicy
  ):
    raise TypeError(
      'pruning_policy must be a tfmot PruningPolicy, but is '
      f'{format_value(policy)}.'
    )


def _check_applicable(
  to_prune: Any, skip: Any, targets: Any, kwargs: Mapping[str, Any]
) -> None:
  """Raises for arguments that do not apply to the type of `to_prune`."""
  kind = type(to_prune).__name__
  if kwargs and isinstance(to_prune, keras.Model | list):
    raise TypeError(
      f'to_prune must be a single layer for the arguments {sorted(kwargs)}, '
      f'but is a {kind}.'
    )
  if not isinstance(to_prune, keras.Model) and (skip or targets):
    raise ValueError(
      f'skip and targets are for models, but to_prune is a {kind}.'
    )


def _check_single_layer(layer: Layer, policy: Any) -> None:
  """Raises if a layer that is given by itself cannot be wrapped."""
  if isinstance(layer, keras_access.PruneLowMagnitude):
    return
  if not prunable_weights.is_prunable(layer):
    found = unpruned_layers.find(layer, wrapped=False)
    note = f' Note: {unpruned_layers.reason(found[0].cause)}' if found else ''
    raise ValueError(
      f'to_prune is a {type(layer).__name__}, which has no kernel to prune: '
      'leave it unwrapped, or give its class a get_prunable_weights method.'
      + note
    )
  if not is_allowed(policy, layer):
    raise ValueError(
      f'pruning_policy, a {type(policy).__name__}, does not allow layer '
      f'{layer.name!r}: to_prune must be a layer that it allows. Leave this '
      'layer unwrapped.'
    )
