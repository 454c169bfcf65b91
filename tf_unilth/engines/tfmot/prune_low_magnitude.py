"""prune_low_magnitude: tfmot's, for more models."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from tf_unilth.argument_checks import check_option, format_value
from tf_unilth.engines.tfmot import (
  keras_3_errors,
  keras_access,
  kernel_axes,
  layer_lookup,
  model_layers,
  prunable_weights,
  unpruned_layers,
)
from tf_unilth.engines.tfmot.fixed_mask import FixedMask
from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
from tf_unilth.engines.tfmot.keras_access import PruningSchedule, keras, tfmot
from tf_unilth.engines.tfmot.layer_lookup import Selector
from tf_unilth.engines.tfmot.pruning_wrapper import PruneLowMagnitude
from tf_unilth.selection import blocks, pruning_units

Layer: TypeAlias = keras.layers.Layer
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
    return _wrap_model(
      to_prune, pruning_schedule, pruning_policy, units, skip, targets
    )
  if skip or targets:
    raise ValueError(
      'skip and targets are for models, but to_prune is a '
      f'{type(to_prune).__name__}.'
    )
  wrapping = _Wrapping(
    pruning_policy,
    set(),
    lambda layer: PruneLowMagnitude(layer, pruning_schedule, **units, **kwargs),
  )
  if isinstance(to_prune, list):
    result: Any = []
    for thing in to_prune:
      result.append(
        _wrap_model(thing, pruning_schedule, pruning_policy, units)
        if isinstance(thing, keras.Model)
        else wrapping.layer(thing)
      )
  else:
    _check_single(to_prune, pruning_policy)
    result = wrapping.layer(to_prune)
  wrapping.warn(stacklevel=3)
  for thing in result if isinstance(result, list) else [result]:
    _warn_of_empty_masks(thing)
  return result


def _wrap_model(
  model: keras.Model,
  schedule: PruningSchedule,
  policy: Any,
  units: Mapping[str, Any],
  skip: Any = (),
  targets: Any = None,
) -> keras.Model:
  """Returns a model whose layers with kernels are wrapped, but for some."""
  unpruned_layers.forget(model)
  own = _own_schedules(model, schedule, {} if targets is None else targets)
  wrapping = _Wrapping(
    policy,
    _left_dense(model, skip, own, units),
    lambda layer: PruneLowMagnitude(layer, own.get(layer, schedule), **units),
  )
  wrapped = wrapping.model(model)
  wrapping.check_targets(own)
  wrapping.warn(stacklevel=4)
  _warn_of_empty_masks(wrapped)
  return wrapped


def hold_zeros(model: keras.Model, left: Iterable[Layer]) -> keras.Model:
  """Wraps a model with one `FixedMask`, but for some layers.

  Unlike `prune_low_magnitude` it does not warn of kernels of nothing but zeros:
  the masks are still to come.

  Args:
    model: a Sequential or functional model.
    left: the layers to leave without a word.
  """
  fixed = FixedMask()
  return _Wrapping(
    None, set(left), lambda layer: PruneLowMagnitude(layer, fixed)
  ).model(model)


def _warn_of_empty_masks(layer: Layer) -> None:
  """Warns of kernels that a `FixedMask` has found to be nothing but zeros."""
  for wrapper in [layer, *model_layers.flatten_layers(layer)]:
    if (
      isinstance(wrapper, keras_access.PruneLowMagnitude)
      and isinstance(wrapper.pruning_schedule, FixedMask)
      and wrapper.pruning_obj is not None
      and not all(mask.numpy().any() for _, mask, _ in wrapper.pruning_vars)
    ):
      warnings.warn(
        f'FixedMask of layer {wrapper.layer.name!r} holds nothing but zeros: '
        'it will never train.',
        stacklevel=4,
      )


def _left_dense(
  model: keras.Model,
  skip: Any,
  own: Mapping[Layer, PruningSchedule],
  units: Mapping[str, Any],
) -> set[Layer]:
  """Returns the layers to leave; raises if one has a target of its own."""
  left = set(layer_lookup.find_layers(model, skip, 'skip'))
  if both := [layer.name for layer in own if layer in left]:
    raise ValueError(f'skip and targets must differ, but both name {both}.')
  unfit = _unfit(model, units, left)
  if both := [layer.name for layer in own if layer in unfit]:
    raise ValueError(
      f'targets names {both}, whose kernels do not have units of {units}.'
    )
  return left | unfit


class _Wrapping:
  """Wraps layers, and keeps a record of what became of each.

  Args:
    policy: one of tfmot's, or `None`.
    left: the layers to leave without a word.
    wrap: wraps one.
  """

  def __init__(
    self, policy: Any, left: set[Layer], wrap: Callable[[Layer], Any]
  ):
    self._policy = policy
    self._left = left
    self._wrap = wrap
    self._already: list[str] = []
    self._dense: list[Layer] = []
    self._wrapped: dict[Layer, Any] = {}

  def model(self, model: keras.Model) -> keras.Model:
    """Returns a model whose layers with kernels are wrapped."""
    if not model_layers.is_network(model):
      raise ValueError(
        f'to_prune is a {type(model).__name__}, a subclassed model, which '
        'cannot be copied with other layers: wrap its layers where it makes '
        'them, self.dense = prune_low_magnitude(Dense(8), schedule).'
        + _hint_on_premade(model)
      )
    if self._policy is not None:
      self._policy.ensure_model_supports_pruning(model)
    wrapped = self.layer(model)
    if not model_layers.has_wrappers(wrapped):
      raise ValueError(
        f'to_prune has nothing to prune: no layer of {model.name!r} has a '
        'kernel that skip, pruning_policy, block_size and sparsity_m_by_n '
        'leave.' + self._why_dense()
      )
    keras_3_errors.check_when_compiled(wrapped)
    return wrapped

  def layer(self, layer: Layer) -> Layer:
    """Returns a layer wrapped, or as it is."""
    if layer in self._left:
      return layer
    if model_layers.is_network(layer):
      _check_repeats(layer)
      return keras.models.clone_model(layer, clone_function=self.layer)
    if isinstance(layer, keras_access.PruneLowMagnitude):
      self._already.append(layer.name)
    elif not prunable_weights.is_prunable(layer):
      self._dense.append(layer)
    elif _allows(self._policy, layer):
      wrapper = self._wrapped[layer] = self._wrap(layer)
      # What is not built yet is looked at by its wrapper, once it is.
      wrapper.is_checked = layer.built
      return wrapper
    return layer

  def _why_dense(self) -> str:
    """Returns why layers with matrices are not wrapped, for errors."""
    causes = [
      found.cause
      for la in self._dense
      for found in unpruned_layers.find(la, False)
    ]
    reasons = dict.fromkeys(unpruned_layers.why(cause) for cause in causes)
    return ''.join(f' Note: {reason}' for reason in reasons)

  def check_targets(self, own: Iterable[Layer]) -> None:
    """Raises if a layer with a target of its own was not wrapped."""
    for layer in own:
      if layer not in self._wrapped:
        raise ValueError(
          f'targets names {layer.name!r}, which is not wrapped: '
          + (
            'it is in a subclassed model, whose layers are wrapped where it '
            'makes them.'
            if _allows(self._policy, layer)
            else 'pruning_policy does not allow it.'
          )
        )

  def warn(self, stacklevel: int) -> None:
    """Warns of what is wrapped already, and of matrices that stay dense."""
    if self._already:
      warnings.warn(
        'these layers are wrapped already and keep their schedules: '
        f'{self._already}.',
        stacklevel=stacklevel,
      )
    kernels = [
      kernel
      for layer in self._wrapped
      if layer.built
      for kernel in prunable_weights.prunable_weights(layer)
    ]
    found = [
      f for la in self._dense for f in unpruned_layers.find(la, False, kernels)
    ]
    for layer, wrapper in self._wrapped.items():
      dense = unpruned_layers.find(layer, True, kernels)
      if dense:
        wrapper.is_checked = True
      found += dense
    unpruned_layers.warn(found, stacklevel)


def _check_policy(policy: Any) -> None:
  if policy is not None and not isinstance(
    policy, tfmot.sparsity.keras.PruningPolicy
  ):
    raise TypeError(
      f'pruning_policy must be one of tfmot, but is {format_value(policy)}.'
    )


def _allows(policy: Any, layer: Layer) -> bool:
  return policy is None or policy.allow_pruning(layer)


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
  if not _allows(policy, layer):
    raise ValueError(
      f'pruning_policy, a {type(policy).__name__}, must allow to prune '
      f'to_prune, but does not allow layer {layer.name!r}: leave that layer '
      'unwrapped.'
    )


def _hint_on_premade(model: keras.Model) -> str:
  """Returns what to do about a model of which Keras makes the layers."""
  if isinstance(model, keras.experimental.WideDeepModel):
    return ' Prune the models that a WideDeepModel is made of.'
  if isinstance(model, keras.experimental.LinearModel):
    return ' A Sequential model of a Dense layer does what a LinearModel does.'
  return ''


def _check_repeats(model: keras.Model) -> None:
  """Raises for what Keras drops when it copies or loads a model."""
  if isinstance(model, keras.Sequential):
    nodes = getattr(model, '_network_nodes', ())  # Such as 'dense_ib-0'.
    names = [node.rpartition('_ib-')[0] for node in nodes]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
      raise ValueError(
        f'to_prune has layers that a Sequential model, {model.name!r}, applies '
        f'more than once, {repeated}: Keras would copy them once. Build it as '
        'a functional model.'
      )


def _unfit(
  model: keras.Model, given: Mapping[str, Any], left: set[Layer]
) -> set[Layer]:
  """Returns the layers whose kernels do not have such units; warns of them."""
  units = pruning_units.from_arguments(**given)
  found = [
    layer
    for layer in layer_lookup.named_layers(model)
    if layer.built
    and layer not in left
    and not isinstance(layer, keras_access.PruneLowMagnitude)
    for weight in prunable_weights.prunable_weights(layer)
    if not pruning_units.from_arguments(
      **given, axis=kernel_axes.input_axis(layer, weight)
    ).fits(tuple(weight.shape))
  ]
  if found:
    names = ', '.join(repr(layer.name) for layer in dict.fromkeys(found))
    warnings.warn(
      f'{units.needs}; these layers stay dense: {names}.', stacklevel=5
    )
  return set(found)


def _own_schedules(
  model: keras.Model,
  schedule: PruningSchedule,
  targets: Mapping[Selector, float | PruningSchedule],
) -> dict[Layer, PruningSchedule]:
  """Returns the schedules of the layers that `targets` names."""
  if not isinstance(targets, Mapping):
    raise TypeError(
      f'targets must be a dict from layers to targets, but is {targets!r}.'
    )
  own: dict[Layer, PruningSchedule] = {}
  for key, target in targets.items():
    for layer in _with_kernels(model, key):
      if layer in own:
        raise ValueError(
          f'targets names {layer.name!r} twice: a layer must have one target.'
        )
      own[layer] = _own_schedule(layer, schedule, target)
  return own


def _with_kernels(model: keras.Model, selector: Selector) -> list[Layer]:
  """Returns the layers that a key of `targets` means."""
  layers = layer_lookup.find_layers(model, [selector], 'targets')
  if layer_lookup.names_one(selector):
    return layers
  found = [layer for layer in layers if prunable_weights.is_prunable(layer)]
  if not found:
    raise ValueError(
      f'targets has {selector!r}, which means no layer with a kernel to prune, '
      f'but {[layer.name for layer in layers]}.'
    )
  return found


def _own_schedule(
  layer: Layer, schedule: PruningSchedule, target: float | PruningSchedule
) -> PruningSchedule:
  if not prunable_weights.is_prunable(layer):
    raise ValueError(
      f'targets names {layer.name!r}, a {type(layer).__name__}, which has no '
      'kernel to prune of its own.'
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
