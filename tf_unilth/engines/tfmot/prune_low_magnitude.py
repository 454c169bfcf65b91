"""prune_low_magnitude: wraps models, layers and lists of layers for pruning."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from tf_unilth.argument_checks import check_option, format_value
from tf_unilth.engines.tfmot import (
  keras_3_errors,
  keras_access,
  prunable_weights,
  unpruned_layers,
)
from tf_unilth.engines.tfmot.keras_access import PruningSchedule, keras, tfmot
from tf_unilth.engines.tfmot.layer_lookup import Selector
from tf_unilth.engines.tfmot.model_wrapping import (
  Layer,
  LayerWrapping,
  is_allowed,
  warn_of_empty_masks,
  wrap_model,
)
from tf_unilth.engines.tfmot.pruning_wrapper import PruneLowMagnitude
from tf_unilth.selection import blocks, pruning_units

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
  **kwargs: Any,
) -> Any:
  """Wraps a model, a layer or a list of layers for pruning.

  Extends tfmot's function of the same name. The wrapper,
  `tf_unilth.PruneLowMagnitude`, fixes faults of tfmot's wrapper. In a model,
  all layers with kernels are wrapped and other layers stay as they are, where
  tfmot raises an error for a layer type that it does not support.
  `sparsity_summary` lists the layers that stay dense.

  Biases, depthwise kernels and the scales of normalization layers are never
  pruned. If any other layer with a trainable matrix stays dense, at any depth,
  a warning names it. Layers in `skip` cause no warning.

  Args:
    to_prune: a Sequential or functional tf_keras model, a layer, or a list of
      layers and models. In a subclassed model, wrap each layer where the model
      creates it.
    pruning_schedule: an `IterativeSparsity`, a `FixedMask` or any tfmot
      schedule.
    block_size: (height, width) of the blocks in which a matrix is pruned.
    block_pooling_type: `'AVG'` or `'MAX'`, which pools the |w| of a block into
      its score.
    pruning_policy: a tfmot `PruningPolicy` that selects among the layers with
      kernels. It must allow a layer that is given by itself.
    sparsity_m_by_n: (m, n) to prune m of each n consecutive weights. Excludes
      `block_size`.
    skip: the layers of a model that stay dense, as one selector or several. A
      selector is a layer, the exact name of a layer, a compiled regular
      expression that is searched for in the names, or a function that takes a
      layer and returns a boolean. A nested model selects all of its layers.
    targets: a target for each selected layer of a model, which is then pruned
      separately from the other layers. Keys are selectors as in `skip`;
      patterns and functions select only layers with kernels. Values are
      schedules, or target sparsities in [0, 1) if `pruning_schedule` is an
      `IterativeSparsity`.
    **kwargs: Keras's arguments of a layer, such as `name`, if `to_prune` is a
      single layer.

  Returns:
    For a model, a new model with wrapped layers that shares its weights and
    must be compiled; for a layer, the wrapped layer; for a list, a list.

  Raises:
    TypeError: `to_prune` is not a tf_keras object (for a Keras 3 object, the
      message says how to rebuild it), or an argument has a wrong type.
    ValueError: there is nothing to prune; `skip` or `targets` select no layer
      of the model; two keys of `targets`, or `skip` and `targets`, select the
      same layer; or a layer in `targets` is not wrapped.

  >>> def build():
  ...   layers = [keras.layers.Rescaling(1 / 255, name='rescale')]
  ...   for name in ('hidden_1', 'hidden_2', 'head'):
  ...     layers.append(keras.layers.Dense(4, name=name))
  ...   return keras.Sequential(layers)
  >>> schedule = IterativeSparsity(0.9)
  >>> model = prune_low_magnitude(build(), schedule, skip=['head'])
  >>> [layer.name for layer in model.layers[::3]]
  ['rescale', 'head']

  Patterns and functions:

  >>> import re
  >>> model = prune_low_magnitude(build(), schedule, skip=re.compile('^hidden'))
  >>> [layer.name for layer in model.layers[1:]]
  ['hidden_1', 'hidden_2', 'prune_low_magnitude_head']
  >>> model = prune_low_magnitude(
  ...   build(), schedule, skip=lambda layer: layer.name.endswith('1'),
  ...   targets={re.compile('_2$'): 0.5, 'head': 0.0})
  >>> [layer.pruning_schedule.target_sparsity for layer in model.layers[2:]]
  [0.5, 0.0]
  """
  _check_types(to_prune, pruning_schedule)
  pooling = check_option(
    'block_pooling_type', block_pooling_type, blocks.POOLINGS
  )
  _check_policy(pruning_policy)
  units = _check_units(block_size, pooling, sparsity_m_by_n)
  _check_applicable(to_prune, skip, targets, kwargs)
  if isinstance(to_prune, keras.Model):
    return wrap_model(
      to_prune, pruning_schedule, pruning_policy, units, skip, targets
    )
  if not isinstance(to_prune, list):
    _check_single_layer(to_prune, pruning_policy)
  wrap = functools.partial(
    PruneLowMagnitude, pruning_schedule=pruning_schedule, **units, **kwargs
  )
  wrapping = LayerWrapping(pruning_policy, set(), wrap)
  wrapped: list[Any] = []
  for layer in to_prune if isinstance(to_prune, list) else [to_prune]:
    wrapped.append(
      wrap_model(layer, pruning_schedule, pruning_policy, units)
      if isinstance(layer, keras.Model)
      else wrapping.wrap_layer(layer)
    )
  wrapping.warn(stacklevel=3)
  warn_of_empty_masks(wrapped)
  return wrapped if isinstance(to_prune, list) else wrapped[0]


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


def _check_units(
  block_size: Any, pooling: str, sparsity_m_by_n: Any
) -> dict[str, Any]:
  """Returns the wrapper's arguments; raises if they name two kinds of unit."""
  pruning_units.from_arguments(block_size, 'AVG', None)
  if sparsity_m_by_n is not None:
    pruning_units.from_arguments((1, 1), 'AVG', sparsity_m_by_n)
    if tuple(block_size) != (1, 1):
      raise ValueError(
        'block_size and sparsity_m_by_n exclude each other, but are '
        f'{block_size} and {sparsity_m_by_n}: give one of them.'
      )
  return {
    'block_size': block_size,
    'block_pooling_type': pooling,
    'sparsity_m_by_n': sparsity_m_by_n,
  }


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
