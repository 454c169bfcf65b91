"""prune_low_magnitude: tfmot's, for more models."""

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

# tfmot's own default.
_HALF = tfmot.sparsity.keras.ConstantSparsity(0.5, 0)


def prune_low_magnitude(
  to_prune: Any,
  pruning_schedule: PruningSchedule = _HALF,
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

  As tfmot's function of the same name, with a wrapper that repairs tfmot's
  (`tf_unilth.PruneLowMagnitude`). Of a model it wraps the layers that have
  kernels, and leaves the others as they are, where tfmot fails on the first
  one that it does not know. What is left dense, `sparsity_summary` lists.

  Biases, depthwise kernels and the scales of normalization layers are never
  pruned. Any other layer with a trainable matrix that stays dense, at any
  depth, is named in a warning; to name it in `skip` says that it is meant.

  Args:
    to_prune: a Sequential or functional tf_keras model, a layer, or a list of
      layers and models. The layers of a subclassed model are wrapped one by
      one, where it makes them.
    pruning_schedule: an `IterativeSparsity`, a `FixedMask`, or any of tfmot's.
    block_size: (height, width) of the blocks of a matrix that go together.
    block_pooling_type: `'AVG'` or `'MAX'`: what of |w| ranks a block.
    pruning_policy: one of tfmot's; it decides among the layers with kernels.
      A single layer that it does not allow is an error.
    sparsity_m_by_n: (m, n) for m zeros in each n consecutive weights; it
      excludes `block_size`.
    skip: the layers of a model that stay dense. Each is a layer; the exact
      name of one; a compiled regular expression, which is looked for in the
      names; or a function that is given a layer and returns whether to skip
      it. A model inside means all of its layers.
    targets: what single layers of a model are pruned to, apart from the
      others. The keys are as in `skip`; patterns and functions mean the layers
      with kernels only. The values are target sparsities in [0, 1), for which
      `pruning_schedule` must be an `IterativeSparsity`, or schedules.
    **kwargs: as of a Keras layer, where `to_prune` is one.

  Returns:
    A model with wrapped layers, to be compiled again, that shares weights with
    the one given; a wrapped layer; or a list of layers.

  Raises:
    TypeError: something that is not tf_keras's; for an object of Keras 3 it
      says how to build it with tf_keras. A schedule that is none.
    ValueError: nothing to prune; `skip` or `targets` mean no layer of the
      model; two of `targets`, or `skip` and `targets`, mean the same layer; a
      layer of `targets` is one that is not wrapped.

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
  for thing in to_prune if isinstance(to_prune, list) else [to_prune]:
    keras_3_errors.check_keras(thing, 'to_prune', Layer)
  if not isinstance(pruning_schedule, PruningSchedule):
    raise TypeError(
      'pruning_schedule must be an IterativeSparsity or another '
      f'PruningSchedule of tfmot, but is {pruning_schedule!r}.'
    )
  pooling = check_option(
    'block_pooling_type', block_pooling_type, blocks.POOLINGS
  )
  _check_policy(pruning_policy)
  units: dict[str, Any] = {
    'block_size': block_size,
    'block_pooling_type': pooling,
    'sparsity_m_by_n': sparsity_m_by_n,
  }
  _check_units(block_size, sparsity_m_by_n)
  if kwargs and isinstance(to_prune, keras.Model | list):
    raise TypeError(
      f'{sorted(kwargs)} are of a single layer, but to_prune is a '
      f'{type(to_prune).__name__}.'
    )
  if isinstance(to_prune, keras.Model):
    return wrap_model(
      to_prune, pruning_schedule, pruning_policy, units, skip, targets
    )
  if skip or targets:
    raise ValueError(
      'skip and targets are for models, but to_prune is a '
      f'{type(to_prune).__name__}.'
    )
  wrapping = LayerWrapping(
    pruning_policy,
    set(),
    lambda layer: PruneLowMagnitude(layer, pruning_schedule, **units, **kwargs),
  )
  if isinstance(to_prune, list):
    result: Any = []
    for thing in to_prune:
      result.append(
        wrap_model(thing, pruning_schedule, pruning_policy, units)
        if isinstance(thing, keras.Model)
        else wrapping.layer(thing)
      )
  else:
    _check_single(to_prune, pruning_policy)
    result = wrapping.layer(to_prune)
  wrapping.warn(stacklevel=3)
  for thing in result if isinstance(result, list) else [result]:
    warn_of_empty_masks(thing)
  return result


def _check_policy(policy: Any) -> None:
  if policy is not None and not isinstance(
    policy, tfmot.sparsity.keras.PruningPolicy
  ):
    raise TypeError(
      f'pruning_policy must be one of tfmot, but is {format_value(policy)}.'
    )


def _check_units(block_size: Any, sparsity_m_by_n: Any) -> None:
  """Raises if there are two kinds of units."""
  pruning_units.from_arguments(block_size, 'AVG', None)
  if sparsity_m_by_n is not None:
    pruning_units.from_arguments((1, 1), 'AVG', sparsity_m_by_n)
    if tuple(block_size) != (1, 1):
      raise ValueError(
        'block_size and sparsity_m_by_n exclude each other, but are '
        f'{block_size} and {sparsity_m_by_n}: give one of them.'
      )


def _check_single(layer: Layer, policy: Any) -> None:
  """Raises if a layer that is given by itself cannot be wrapped."""
  if isinstance(layer, keras_access.PruneLowMagnitude):
    return
  if not prunable_weights.is_prunable(layer):
    causes = [
      found.cause for found in unpruned_layers.find(layer, wrapped=False)
    ]
    reasons = ''.join(
      f' Note: {unpruned_layers.why(cause)}' for cause in causes[:1]
    )
    raise ValueError(
      f'to_prune is a {type(layer).__name__}, which has no kernel to prune: '
      'leave it unwrapped, or give its class a get_prunable_weights method.'
      + reasons
    )
  if not is_allowed(policy, layer):
    raise ValueError(
      f'pruning_policy, a {type(policy).__name__}, must allow to prune '
      f'to_prune, but does not allow layer {layer.name!r}: leave that layer '
      'unwrapped.'
    )
