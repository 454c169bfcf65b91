"""The schedules of layers that the argument `targets` selects."""

from collections.abc import Callable, Mapping
from typing import Any

from tf_unilth.engines import layer_selection
from tf_unilth.engines.layer_selection import Selector
from tf_unilth.schedules.iterative_sparsity import IterativeSparsity


def layer_schedules(
  find_layers: Callable[[Any], list[Any]],
  schedule: Any,
  targets: Mapping[Selector, Any],
  is_prunable: Callable[[Any], bool],
  base: type,
  schedule_class: type,
) -> dict[Any, Any]:
  """Returns the schedules of the layers that `targets` selects.

  Args:
    find_layers: returns the layers of the model that a selector matches.
    schedule: the schedule of all other layers, copied for numeric targets.
    targets: as in `prune_low_magnitude`.
    is_prunable: whether a layer has kernels to prune.
    base: the class `Layer` of the model's Keras.
    schedule_class: the class of the schedules that the engine accepts.

  Raises:
    TypeError: `targets` is not a mapping.
    ValueError: a key selects no layer with a kernel, or a target is invalid.
  """
  if not isinstance(targets, Mapping):
    raise TypeError(
      f'targets must be a dict from layers to targets, but is {targets!r}.'
    )
  schedules: dict[Any, Any] = {}
  for selector, target in targets.items():
    layers = find_layers(selector)
    if not layer_selection.is_layer_or_name(selector, base):
      layers = _with_kernels(layers, selector, is_prunable)
    for layer in layers:
      if layer in schedules:
        raise ValueError(
          f'targets names {layer.name!r} twice: a layer must have one target.'
        )
      if not is_prunable(layer):
        raise ValueError(
          f'targets names {layer.name!r}, a {type(layer).__name__}, which has '
          'no kernel of its own to prune.'
        )
      schedules[layer] = (
        target
        if isinstance(target, schedule_class)
        else _with_target(layer, schedule, target)
      )
  return schedules


def _with_kernels(
  layers: list[Any], selector: Selector, is_prunable: Callable[[Any], bool]
) -> list[Any]:
  found = [layer for layer in layers if is_prunable(layer)]
  if not found:
    raise ValueError(
      f'targets has {selector!r}, which must match a layer with a kernel to '
      f'prune, but matches only {[layer.name for layer in layers]}.'
    )
  return found


def _with_target(layer: Any, schedule: Any, target: Any) -> Any:
  """Returns a copy of the schedule with another target."""
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
