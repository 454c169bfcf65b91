"""The schedules of layers that the argument `targets` selects."""

from collections.abc import Mapping

from tf_unilth.engines.tfmot import layer_lookup, prunable_weights
from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
from tf_unilth.engines.tfmot.keras_access import PruningSchedule, keras
from tf_unilth.engines.tfmot.layer_lookup import Layer, Selector


def layer_schedules(
  model: keras.Model,
  schedule: PruningSchedule,
  targets: Mapping[Selector, float | PruningSchedule],
) -> dict[Layer, PruningSchedule]:
  """Returns the schedules of the layers that `targets` selects.

  Args:
    model: a Sequential or functional model.
    schedule: the schedule of all other layers, copied for numeric targets.
    targets: as in `prune_low_magnitude`.

  Raises:
    TypeError: `targets` is not a mapping.
    ValueError: a key selects no layer with a kernel, or a target is invalid.
  """
  if not isinstance(targets, Mapping):
    raise TypeError(
      f'targets must be a dict from layers to targets, but is {targets!r}.'
    )
  schedules: dict[Layer, PruningSchedule] = {}
  for selector, target in targets.items():
    for layer in _targeted_layers(model, selector):
      if layer in schedules:
        raise ValueError(
          f'targets names {layer.name!r} twice: a layer must have one target.'
        )
      schedules[layer] = _layer_schedule(layer, schedule, target)
  return schedules


def _targeted_layers(model: keras.Model, selector: Selector) -> list[Layer]:
  layers = layer_lookup.find_layers(model, [selector], 'targets')
  if layer_lookup.is_layer_or_name(selector):
    return layers
  found = [layer for layer in layers if prunable_weights.is_prunable(layer)]
  if not found:
    raise ValueError(
      f'targets has {selector!r}, which must match a layer with a kernel to '
      f'prune, but matches only {[layer.name for layer in layers]}.'
    )
  return found


def _layer_schedule(
  layer: Layer, schedule: PruningSchedule, target: float | PruningSchedule
) -> PruningSchedule:
  if not prunable_weights.is_prunable(layer):
    raise ValueError(
      f'targets names {layer.name!r}, a {type(layer).__name__}, which has no '
      'kernel of its own to prune.'
    )
  if isinstance(target, PruningSchedule):
    return target
  if not isinstance(schedule, IterativeSparsity):
    raise ValueError(
      f'targets of {layer.name!r} must be a schedule, but is {target}: a '
      'number needs an IterativeSparsity as pruning_schedule, which is a '
      f'{type(schedule).__name__}.'
    )
  try:
    return schedule.with_target(target)
  except ValueError as error:
    raise ValueError(f'targets of {layer.name!r}: {error}') from error
