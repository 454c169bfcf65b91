"""Wraps the layers of a model that have kernels, and warns of the others."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tf_unilth.engines.layer_targets import layer_schedules
from tf_unilth.engines.tfmot import (
  channel_plan,
  keras_3_errors,
  keras_access,
  kernel_axes,
  layer_lookup,
  model_layers,
  prunable_weights,
  unpruned_layers,
)
from tf_unilth.engines.tfmot.fixed_mask import FixedMask
from tf_unilth.engines.tfmot.keras_access import PruningSchedule, keras
from tf_unilth.engines.tfmot.layer_lookup import Layer
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.engines.tfmot.pruning_wrapper import PruneLowMagnitude
from tf_unilth.selection import pruning_units
from tf_unilth.user_warning import warn_user


def wrap_model(
  model: keras.Model,
  schedule: PruningSchedule,
  policy: Any,
  units: Mapping[str, Any],
  skip: Any = (),
  targets: Any = None,
) -> keras.Model:
  """Returns a copy of a model with wrapped layers.

  Args:
    model: a Sequential or functional model.
    schedule: the schedule of layers that `targets` does not select.
    policy: a tfmot `PruningPolicy`, or `None`.
    units: the wrapper's arguments `block_size`, `block_pooling_type`,
      `sparsity_m_by_n` and, if it is given, `structure`.
    skip: as in `prune_low_magnitude`.
    targets: as in `prune_low_magnitude`.

  Raises:
    TypeError: `skip` or `targets` has a wrong type.
    ValueError: the model cannot be wrapped with these arguments.
  """
  unpruned_layers.clear_dense_flags(model)
  schedules = layer_schedules(
    lambda selector: layer_lookup.find_layers(model, [selector], 'targets'),
    schedule,
    {} if targets is None else targets,
    prunable_weights.is_prunable,
    Layer,
    PruningSchedule,
  )
  wrapping = LayerWrapping(
    policy,
    _skipped_layers(model, skip, schedules, units),
    lambda layer: PruneLowMagnitude(
      layer, schedules.get(layer, schedule), **units
    ),
    channel_plan.layers_with_units(model) if 'structure' in units else (),
  )
  wrapped = wrapping.wrap_network(model)
  # Raises if no channel can go.
  channel_plan.find_channels(wrapped, PrunedLayers(wrapped).kernels)
  wrapping.check_targets(schedules)
  wrapping.warn()
  warn_of_empty_masks([wrapped])
  return wrapped


def hold_zeros(model: keras.Model, skipped: Iterable[Layer]) -> keras.Model:
  """Returns a copy of a model whose layers share one `FixedMask`.

  Unlike `prune_low_magnitude`, it does not warn of kernels that are all zero,
  because the caller sets the masks later.

  Args:
    model: a Sequential or functional model.
    skipped: the layers that are not wrapped. They cause no warning.
  """
  schedule = FixedMask()
  return LayerWrapping(
    None, set(skipped), lambda layer: PruneLowMagnitude(layer, schedule)
  ).wrap_network(model)


def warn_of_empty_masks(layers: Iterable[Layer]) -> None:
  """Warns of kernels that a `FixedMask` masks completely."""
  inside = [
    inner
    for layer in layers
    for inner in [layer, *model_layers.flatten_layers(layer)]
  ]
  for wrapper in inside:
    if (
      isinstance(wrapper, keras_access.PruneLowMagnitude)
      and isinstance(wrapper.pruning_schedule, FixedMask)
      and wrapper.pruning_obj is not None
      and not all(mask.numpy().any() for _, mask, _ in wrapper.pruning_vars)
    ):
      warn_user(
        f'FixedMask of layer {wrapper.layer.name!r} masks all weights of a '
        'kernel: it will never train.',
      )


def _skipped_layers(
  model: keras.Model,
  skip: Any,
  schedules: Mapping[Layer, PruningSchedule],
  units: Mapping[str, Any],
) -> set[Layer]:
  """Returns the layers to leave dense; raises if `targets` names one."""
  skipped = set(layer_lookup.find_layers(model, skip, 'skip'))
  if both := [layer.name for layer in schedules if layer in skipped]:
    raise ValueError(f'skip and targets must differ, but both name {both}.')
  unfit = layers_without_units(model, units, skipped)
  if both := [layer.name for layer in schedules if layer in unfit]:
    raise ValueError(
      f'targets must name layers whose kernels divide into units of {units}, '
      f'but names {both}.'
    )
  return skipped | unfit


class LayerWrapping:
  """Wraps layers, and records which are wrapped and which stay dense.

  Args:
    policy: a tfmot `PruningPolicy`, or `None`.
    skipped: the layers that are not wrapped. They cause no warning.
    wrap: returns the wrapper of a layer.
    companions: layers to wrap that may have no kernel.
  """

  def __init__(
    self,
    policy: Any,
    skipped: set[Layer],
    wrap: Callable[[Layer], Any],
    companions: Iterable[Layer] = (),
  ):
    self._policy = policy
    self._skipped = skipped
    self._wrap = wrap
    self._companions = set(companions)
    self._already_wrapped: list[str] = []
    self._dense: list[Layer] = []
    self._wrappers: dict[Layer, Any] = {}

  def wrap_network(self, model: keras.Model) -> keras.Model:
    """Returns a copy of a model with wrapped layers.

    Raises:
      ValueError: the model is subclassed or has no layer to wrap.
    """
    if not model_layers.is_network(model):
      raise ValueError(
        f'to_prune is a {type(model).__name__}, a subclassed model, which '
        'Keras cannot clone with wrapped layers: wrap each layer where the '
        'model creates it, as in '
        'self.dense = prune_low_magnitude(Dense(8), schedule).'
        + premade_model_hint(model)
      )
    if self._policy is not None:
      self._policy.ensure_model_supports_pruning(model)
    wrapped = self.wrap_layer(model)
    if not model_layers.has_wrappers(wrapped):
      raise ValueError(
        f'to_prune has nothing to prune: no layer of {model.name!r} has a '
        'kernel that skip, pruning_policy, block_size and sparsity_m_by_n '
        'allow to prune.' + self._dense_reasons()
      )
    keras_3_errors.check_when_compiled(wrapped)
    return wrapped

  def wrap_layer(self, layer: Layer) -> Layer:
    """Returns the wrapped layer, or the layer itself if it stays dense."""
    if layer in self._skipped:
      return layer
    if model_layers.is_network(layer):
      check_repeats(layer)
      return keras.models.clone_model(layer, clone_function=self.wrap_layer)
    if isinstance(layer, keras_access.PruneLowMagnitude):
      self._already_wrapped.append(layer.name)
    elif not prunable_weights.is_prunable(layer):
      if layer in self._companions:
        return self._wrap(layer)
      self._dense.append(layer)
    elif is_allowed(self._policy, layer):
      wrapper = self._wrappers[layer] = self._wrap(layer)
      # The wrapper of an unbuilt layer checks it for dense weights in `build`.
      wrapper.is_checked = layer.built
      return wrapper
    return layer

  def _dense_reasons(self) -> str:
    """Returns why layers with matrices stay dense, for error messages."""
    reasons = dict.fromkeys(
      unpruned_layers.reason(found.cause)
      for layer in self._dense
      for found in unpruned_layers.find(layer, False)
    )
    return ''.join(f' Note: {reason}' for reason in reasons)

  def check_targets(self, targeted: Iterable[Layer]) -> None:
    """Raises a `ValueError` if a layer in `targets` is not wrapped."""
    for layer in targeted:
      if layer not in self._wrappers:
        raise ValueError(
          f'targets names {layer.name!r}, which is not wrapped: '
          + (
            'it is inside a subclassed model, whose layers must be wrapped '
            'where the model creates them.'
            if is_allowed(self._policy, layer)
            else 'pruning_policy does not allow it.'
          )
        )

  def warn(self) -> None:
    """Warns of layers that were wrapped before, and of dense matrices."""
    if self._already_wrapped:
      warn_user(
        'these layers are wrapped already and keep their schedules: '
        f'{self._already_wrapped}.',
      )
    kernels = [
      kernel
      for layer in self._wrappers
      if layer.built
      for kernel in prunable_weights.prunable_weights(layer)
    ]
    unpruned = [
      found
      for layer in self._dense
      for found in unpruned_layers.find(layer, False, kernels)
    ]
    for layer, wrapper in self._wrappers.items():
      dense_parts = unpruned_layers.find(layer, True, kernels)
      if dense_parts:
        wrapper.is_checked = True
      unpruned += dense_parts
    unpruned_layers.warn(unpruned)


def is_allowed(policy: Any, layer: Layer) -> bool:
  """Returns whether a pruning policy, or `None`, allows to prune a layer."""
  return policy is None or policy.allow_pruning(layer)


def check_repeats(model: keras.Model) -> None:
  """Raises a `ValueError` if a Sequential model applies a layer repeatedly.

  Keras drops the repeated calls when it clones or loads such a model.
  """
  if isinstance(model, keras.Sequential):
    nodes = getattr(model, '_network_nodes', ())  # Such as 'dense_ib-0'.
    names = [node.rpartition('_ib-')[0] for node in nodes]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
      raise ValueError(
        f'to_prune has layers that a Sequential model, {model.name!r}, applies '
        f'more than once, {repeated}: Keras would clone only one call of each. '
        'Build a functional model instead.'
      )


def layers_without_units(
  model: keras.Model, arguments: Mapping[str, Any], skipped: set[Layer]
) -> set[Layer]:
  """Returns the layers with a kernel that does not divide into units.

  Warns of these layers.

  Args:
    model: a Sequential or functional model.
    arguments: the wrapper's arguments that determine the units.
    skipped: the layers to ignore.
  """
  arguments = {k: v for k, v in arguments.items() if k != 'structure'}
  units = pruning_units.from_arguments(**arguments)
  found = [
    layer
    for layer in layer_lookup.named_layers(model)
    if layer.built
    and layer not in skipped
    and not isinstance(layer, keras_access.PruneLowMagnitude)
    for weight in prunable_weights.prunable_weights(layer)
    if not pruning_units.from_arguments(
      **arguments, axis=kernel_axes.input_axis(layer, weight)
    ).fits(tuple(weight.shape))
  ]
  if found:
    names = ', '.join(repr(layer.name) for layer in dict.fromkeys(found))
    warn_user(f'{units.needs}; these layers stay dense: {names}.')
  return set(found)


def premade_model_hint(model: keras.Model) -> str:
  """Returns advice for Keras's premade subclassed models, else ''."""
  if isinstance(model, keras.experimental.WideDeepModel):
    return ' Prune the two models inside the WideDeepModel instead.'
  if isinstance(model, keras.experimental.LinearModel):
    return ' A Sequential model of a Dense layer does the same.'
  return ''
