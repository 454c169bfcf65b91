"""Wraps the layers of a model that have kernels, and warns of the others."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

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
from tf_unilth.engines.tfmot.keras_access import PruningSchedule, keras
from tf_unilth.engines.tfmot.layer_lookup import Layer, Selector
from tf_unilth.engines.tfmot.pruning_wrapper import PruneLowMagnitude
from tf_unilth.selection import pruning_units


def wrap_model(
  model: keras.Model,
  schedule: PruningSchedule,
  policy: Any,
  units: Mapping[str, Any],
  skip: Any = (),
  targets: Any = None,
) -> keras.Model:
  """Returns a model whose layers with kernels are wrapped, but for some."""
  unpruned_layers.forget(model)
  own = schedules_of_layers(model, schedule, {} if targets is None else targets)
  wrapping = LayerWrapping(
    policy,
    _left_dense(model, skip, own, units),
    lambda layer: PruneLowMagnitude(layer, own.get(layer, schedule), **units),
  )
  wrapped = wrapping.model(model)
  wrapping.check_targets(own)
  wrapping.warn(stacklevel=4)
  warn_of_empty_masks(wrapped)
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
  return LayerWrapping(
    None, set(left), lambda layer: PruneLowMagnitude(layer, fixed)
  ).model(model)


def warn_of_empty_masks(layer: Layer) -> None:
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
  unfit = why_unfit(model, units, left)
  if both := [layer.name for layer in own if layer in unfit]:
    raise ValueError(
      f'targets names {both}, whose kernels do not have units of {units}.'
    )
  return left | unfit


class LayerWrapping:
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
        + hint_on_premade(model)
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
      check_repeats(layer)
      return keras.models.clone_model(layer, clone_function=self.layer)
    if isinstance(layer, keras_access.PruneLowMagnitude):
      self._already.append(layer.name)
    elif not prunable_weights.is_prunable(layer):
      self._dense.append(layer)
    elif is_allowed(self._policy, layer):
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
            if is_allowed(self._policy, layer)
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


def is_allowed(policy: Any, layer: Layer) -> bool:
  return policy is None or policy.allow_pruning(layer)


def check_repeats(model: keras.Model) -> None:
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


def why_unfit(
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


def schedules_of_layers(
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


def hint_on_premade(model: keras.Model) -> str:
  """Returns what to do about a model of which Keras makes the layers."""
  if isinstance(model, keras.experimental.WideDeepModel):
    return ' Prune the models that a WideDeepModel is made of.'
  if isinstance(model, keras.experimental.LinearModel):
    return ' A Sequential model of a Dense layer does what a LinearModel does.'
  return ''
