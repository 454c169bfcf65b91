"""strip_pruning: removes the pruning wrappers of a model."""

from typing import Any

from tf_unilth.engines import fit_checks, patches
from tf_unilth.engines.tfmot import (
  forward_masking,
  keras_3_errors,
  keras_access,
  model_layers,
  prunable_weights,
  unpruned_layers,
)
from tf_unilth.engines.tfmot.fixed_mask import FixedMask
from tf_unilth.engines.tfmot.forward_masking import HeldEvaluations
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.engines.tfmot.train_hook import armed_hook
from tf_unilth.user_warning import warn_user


def strip_pruning(model: keras.Model) -> keras.Model:
  """Does what `tf_unilth.strip_pruning` documents, for tf_keras."""
  keras_3_errors.check_keras(model, 'model', keras.Model)
  in_place = not model_layers.is_network(model)
  layers = PrunedLayers(model)
  if in_place:
    _detach_hooks(model, layers)
  _warn_if_dense(layers)
  for wrapper in layers.wrappers:
    forward_masking.zero_pruned(wrapper)
  unpruned_layers.clear_dense_flags(model)
  if not in_place:
    model = _strip_network(model)
  for layer in [model, *model_layers.flatten_layers(model)]:
    if not model_layers.is_network(layer):
      _unwrap_attributes(layer)
  return model


def _warn_if_dense(layers: PrunedLayers) -> None:
  """Warns of a model with a target sparsity above 0 but no pruned weights."""
  to_prune = [
    kernel
    for kernel in layers.kernels
    if getattr(kernel.schedule, 'target_sparsity', 1) > 0
    and not isinstance(kernel.schedule, FixedMask)
  ]
  if to_prune and all(kernel.mask.numpy().all() for kernel in to_prune):
    warn_user(fit_checks.DENSE_WHEN_STRIPPED)


def _detach_hooks(model: keras.Model, layers: PrunedLayers) -> None:
  """Removes the hooks of a run from a model that is stripped in place."""
  inside = [
    i for i in model_layers.flatten_layers(model) if isinstance(i, keras.Model)
  ]
  for network in [model, *inside]:
    hook = armed_hook(network)
    if hook is not None:
      if hook.watch.is_alive():
        raise RuntimeError(
          'model is being trained with a ticket callback, and a subclassed '
          'model is stripped in place: call strip_pruning after fit.'
        )
      hook.detach()
    HeldEvaluations.take_off(network)
    # It was traced with masks.
    network.train_function = None
  for wrapper in layers.wrappers:
    patches.take_back(wrapper)
    if wrapper.pruning_obj is not None:
      patches.take_back(wrapper.pruning_obj)
    wrapper.was_stripped = True  # Models that contain this one check it.


def _inner(wrapper: Any) -> keras.layers.Layer:
  """Returns the inner layer without the method that its wrapper added."""
  layer = wrapper.layer
  getter = vars(layer).get('get_prunable_weights')
  if getattr(getter, 'func', None) is prunable_weights.prunable_weights:
    del layer.get_prunable_weights
  return layer


def _strip_network(layer: keras.layers.Layer) -> keras.layers.Layer:
  """Clones a network without wrappers.

  tfmot's function fails on nested subclassed models.
  """
  if model_layers.is_network(layer):
    return keras.models.clone_model(layer, clone_function=_strip_network)
  if not isinstance(layer, keras_access.PruneLowMagnitude):
    return layer
  inner, shape = _inner(layer), '_batch_input_shape'
  if hasattr(layer, shape) and not hasattr(inner, shape):
    setattr(inner, shape, getattr(layer, shape))
  return inner


def _unwrap_attributes(layer: keras.layers.Layer) -> None:
  """Replaces wrappers by their layers in the attributes of a layer."""
  for name, value in list(vars(layer).items()):
    if name.startswith(('_self_', '_obj_')):
      continue  # Keras updates its internal attributes itself.
    stripped = _stripped(value)
    if stripped is not value:
      setattr(layer, name, stripped)


def _stripped(value: Any) -> Any:
  """Returns a value with wrappers replaced, also in lists, dicts and models.

  A value without wrappers is returned itself.
  """
  if isinstance(value, keras_access.PruneLowMagnitude):
    return _inner(value)
  if isinstance(value, list | tuple):
    items = [_stripped(item) for item in value]
    unchanged = all(a is b for a, b in zip(items, value, strict=True))
    return value if unchanged else items
  if isinstance(value, dict):
    entries = {key: _stripped(item) for key, item in value.items()}
    return value if all(entries[k] is value[k] for k in value) else entries
  if isinstance(value, keras.Model) and model_layers.is_network(value):
    return _strip_network(value) if model_layers.has_wrappers(value) else value
  return value
