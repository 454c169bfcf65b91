"""strip_pruning: tfmot's, for subclassed models and custom layers too."""

import warnings
from typing import Any

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


def strip_pruning(model: keras.Model) -> keras.Model:
  """Takes the wrappers away; what stays is a plain sparse model.

  As tfmot's function of the same name, and for subclassed models and custom
  layers with wrapped layers inside too: there tfmot's does not look. Those are
  changed in place, since Keras cannot copy them. Pruned weights are set to
  zero first, whatever has trained or written them since the masks were made,
  also in tfmot's own wrappers. A model that was to be pruned and has no zeros
  gets a warning.

  Args:
    model: a tf_keras model with wrapped layers, from tfmot's or our function.

  Returns:
    A model that shares its layers with the one given; the same one if it is
    subclassed.

  Raises:
    TypeError: not a tf_keras model.
    RuntimeError: the model is subclassed, and a ticket callback's `fit` of it
      is running.

  >>> layers = [keras.layers.Dense(2, input_shape=(3,), name='small')]
  >>> model = prune_low_magnitude(keras.Sequential(layers), FixedMask())
  >>> [layer.name for layer in strip_pruning(model).layers]
  ['small']
  """
  keras_3_errors.check_keras(model, 'model', keras.Model)
  in_place = not model_layers.is_network(model)
  layers = PrunedLayers(model)
  if in_place:
    _release(model, layers)
  _warn_if_dense(layers)
  for wrapper in layers.wrappers:
    forward_masking.zero_pruned(wrapper)
  unpruned_layers.forget(model)
  if not in_place:
    model = _strip_network(model)
  for layer in [model, *model_layers.flatten_layers(model)]:
    if not model_layers.is_network(layer):
      _unwrap_attributes(layer)
  return model


def _warn_if_dense(layers: PrunedLayers) -> None:
  """Warns of a model that was to be pruned, but was not."""
  wanted = [
    kernel
    for kernel in layers.kernels
    if getattr(kernel.schedule, 'target_sparsity', 1) > 0
    and not isinstance(kernel.schedule, FixedMask)
  ]
  if wanted and all(kernel.mask.numpy().all() for kernel in wanted):
    warnings.warn(
      'strip_pruning: the model was wrapped to be pruned, but is dense: its '
      'masks have no zeros, and its target sparsity was not met. Train it with '
      'fit and a ticket callback, such as tf_unilth.UniLTH(), to the end.',
      stacklevel=3,
    )


def _release(model: keras.Model, layers: PrunedLayers) -> None:
  """Takes away what a run has left on a model that is changed in place."""
  inside = [
    i for i in model_layers.flatten_layers(model) if isinstance(i, keras.Model)
  ]
  for one in [model, *inside]:
    hook = armed_hook(one)
    if hook is not None:
      if hook.watch.is_alive():
        raise RuntimeError(
          'model is being trained by a ticket callback, and a subclassed model '
          'is stripped in place: call strip_pruning after fit.'
        )
      hook.detach()
    HeldEvaluations.take_off(one)
    # They were traced with masks.
    one.train_function = None
  for wrapper in layers.wrappers:
    wrapper.was_stripped = True  # For models around this one.


def _inner(wrapper: Any) -> keras.layers.Layer:
  """Returns the layer of a wrapper, without what the wrapper put onto it."""
  layer = wrapper.layer
  getter = vars(layer).get('get_prunable_weights')
  if getattr(getter, 'func', None) is prunable_weights.prunable_weights:
    del layer.get_prunable_weights
  return layer


def _strip_network(layer: keras.layers.Layer) -> keras.layers.Layer:
  """Copies a network without wrappers; tfmot's fails on subclassed models."""
  if model_layers.is_network(layer):
    return keras.models.clone_model(layer, clone_function=_strip_network)
  if not isinstance(layer, keras_access.PruneLowMagnitude):
    return layer
  inner, shape = _inner(layer), '_batch_input_shape'
  if hasattr(layer, shape) and not hasattr(inner, shape):
    setattr(inner, shape, getattr(layer, shape))
  return inner


def _unwrap_attributes(layer: keras.layers.Layer) -> None:
  """Puts layers in the place of wrappers in the attributes of a layer."""
  for name, value in list(vars(layer).items()):
    if name.startswith(('_self_', '_obj_')):
      continue  # Keras's own books, which follow by themselves.
    stripped = _stripped(value)
    if stripped is not value:
      setattr(layer, name, stripped)


def _stripped(value: Any) -> Any:
  """Returns the layer of a wrapper, also in lists, dicts and models."""
  if isinstance(value, keras_access.PruneLowMagnitude):
    return _inner(value)
  if isinstance(value, list | tuple):
    items = [_stripped(item) for item in value]
    same = all(a is b for a, b in zip(items, value, strict=True))
    return value if same else items
  if isinstance(value, dict):
    entries = {key: _stripped(item) for key, item in value.items()}
    return value if all(entries[k] is value[k] for k in value) else entries
  if isinstance(value, keras.Model) and model_layers.is_network(value):
    return _strip_network(value) if model_layers.has_wrappers(value) else value
  return value
