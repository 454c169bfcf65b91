"""Finds layers that stay dense although they have matrices, and warns of them.

Each layer with a trainable matrix, at any depth, is either pruned or named in a
warning. Biases, depthwise kernels and the scales of normalization layers are
documented to stay dense and cause no warning.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tf_unilth.engines.tfmot import keras_access, model_layers, prunable_weights
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.user_warning import warn_user

layers = keras.layers

_NORMALIZATIONS = (
  layers.BatchNormalization,
  layers.GroupNormalization,
  layers.LayerNormalization,
)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
# Keras's other layers with matrices. A test compares the list with Keras.
_NEVER_PRUNED = (
  layers.PReLU,
  layers.DenseFeatures,
  layers.experimental.DynamicEmbedding,
  keras.experimental.LinearModel,
  keras.experimental.SequenceFeatures,
)


@dataclasses.dataclass(frozen=True)
class Unpruned:
  """A layer with trainable matrices that stay dense.

  Args:
    layer: the layer, as its model lists it.
    cause: the layer that prevents pruning: `layer` or a layer inside, which
      has the matrices or contains the layer that has them.
    wrapped: whether other weights of `layer` are pruned.
    built: whether the matrices exist. If not, the class is expected to create
      some.
  """

  layer: keras.layers.Layer
  cause: Any
  wrapped: bool
  built: bool


def find(
  layer: keras.layers.Layer, wrapped: bool, kernels: Iterable[Any] = ()
) -> list[Unpruned]:
  """Returns the dense parts of a layer, one for each cause.

  Args:
    layer: the layer. If it is unbuilt, its class decides.
    wrapped: whether its own kernels are pruned.
    kernels: other pruned weights, which the layer may share.

  >>> prelu = keras.layers.PReLU()
  >>> _ = prelu(np.ones((1, 4, 4, 3)))
  >>> [type(found.cause).__name__ for found in find(prelu, wrapped=False)]
  ['PReLU']
  >>> find(keras.layers.Dense(2), wrapped=True)
  []
  """
  inside = [layer, *model_layers.flatten_layers(layer)]
  pruned = [
    i.layer for i in inside if isinstance(i, keras_access.PruneLowMagnitude)
  ]
  if wrapped:
    pruned.append(layer)
  pruned_refs = {weight.ref() for weight in kernels}
  for pruned_layer in pruned:
    pruned_refs.update(w.ref() for w in _existing_kernels(pruned_layer))
  declared = {
    id(inner)
    for pruned_layer in pruned
    for inner in _layers_of_declared_kernels(pruned_layer)
  }
  undeclared = [inner for inner in inside if id(inner) not in declared]
  kernel_layers = {
    id(inner)
    for pruned_layer in pruned
    for inner in prunable_weights.kernel_layers(pruned_layer)
  }
  has_kernels = wrapped and bool(_existing_kernels(layer) or not layer.built)
  owners = [
    (owner, True) for owner in _owners(layer, inside, undeclared, pruned_refs)
  ] + [
    (inner, False)
    for inner in undeclared
    if _may_create_matrices(inner, kernel_layers)
  ]
  found = {}
  for owner, built in owners:
    cause = _outermost_cause(inside, owner)
    if id(cause) not in found:
      found[id(cause)] = Unpruned(layer, cause, has_kernels, built)
  return list(found.values())


def warn(found: Sequence[Unpruned]) -> None:
  """Warns of dense layers, and flags them for `remind`.

  Args:
    found: the dense parts.
  """
  for unpruned in found:
    unpruned.layer.stays_dense = True
  _warn(found)


def clear_dense_flags(model: keras.Model) -> None:
  """Removes the flags that `warn` set, before a model is wrapped again.

  Args:
    model: the model.
  """
  for layer in model_layers.flatten_layers(model):
    vars(layer).pop('stays_dense', None)


def remind(model: keras.Model) -> None:
  """Repeats the warnings of `warn` when the training of a model starts.

  By then all layers are built, so the warnings are complete.

  Args:
    model: the wrapped model.
  """
  inside = model_layers.flatten_layers(model)
  wrapped = [
    i.layer for i in inside if isinstance(i, keras_access.PruneLowMagnitude)
  ]
  kernels = [k for layer in wrapped for k in _existing_kernels(layer)]
  found = []
  for layer in inside:
    if getattr(layer, 'stays_dense', False):
      is_wrapped = any(layer is inner for inner in wrapped)
      found += find(layer, is_wrapped, kernels)
  _warn(found)


def _warn(found: Sequence[Unpruned]) -> None:
  """Gives one warning for each reason."""
  groups: dict[tuple[bool, bool, str], list[str]] = {}
  for unpruned in found:
    key = unpruned.built, unpruned.wrapped, reason(unpruned.cause)
    names = groups.setdefault(key, [])
    if repr(unpruned.layer.name) not in names:
      names.append(repr(unpruned.layer.name))
  for (built, wrapped, why), names in groups.items():
    stay = 'may stay' if not built else 'stays' if len(names) == 1 else 'stay'
    warn_user(
      f'layer{"s" if len(names) > 1 else ""} {", ".join(names)} {stay} dense'
      f'{" in part" if wrapped else ""}: {why}',
    )


def reason(cause: Any) -> str:
  """Returns why a layer's matrices stay dense, and how to prune them.

  Args:
    cause: the `cause` of an `Unpruned`.
  """
  kind = type(cause).__name__
  if prunable_weights.stores_unused_weights(cause):
    return (
      f'a {kind} with implementation=2 never uses most entries of its '
      'kernel. Use implementation=1 or 3, which is pruned.'
    )
  if _is_of_keras(type(cause)):
    return f'the weights of a {kind} are not pruned.'
  return (
    f'a {kind} does not declare its kernels. Give it a get_prunable_weights '
    'method that returns variables, or wrap its inner layers where it creates '
    'them.'
  )


def _existing_kernels(layer: keras.layers.Layer) -> list[Any]:
  """Returns the kernels, or an empty list if they do not exist yet."""
  if not layer.built:
    return []
  try:
    return prunable_weights.prunable_weights(layer)
  except AttributeError:
    return []


def _layers_of_declared_kernels(layer: keras.layers.Layer) -> Iterator[Any]:
  """Yields the layers that declare their kernels, and all layers inside."""
  for owner in prunable_weights.kernel_layers(layer):
    if prunable_weights.declares_variables(owner):
      yield from [owner, *model_layers.flatten_layers(owner)]


def _owners(
  layer: keras.layers.Layer,
  inside: Sequence[Any],
  undeclared: Sequence[Any],
  pruned_refs: set[Any],
) -> Iterator[Any]:
  """Yields the layers of the matrices that are neither pruned nor exempt."""
  owner, exempt = {}, set(pruned_refs)
  for inner in inside:
    for weight in inner._trainable_weights:
      owner[prunable_weights.unwrap_autocast(weight).ref()] = inner
    exempt.update(
      prunable_weights.unwrap_autocast(weight).ref()
      for weight in _exempt(inner)
    )
  reported = {id(inner) for inner in undeclared}
  for weight in _trainable_weights(layer, inside):
    ref = prunable_weights.unwrap_autocast(weight).ref()
    inner = owner.get(ref, layer)
    if ref not in exempt and len(weight.shape) > 1 and id(inner) in reported:
      yield inner


def _trainable_weights(layer: Any, inside: Sequence[Any]) -> list[Any]:
  try:
    return layer.trainable_weights
  except ValueError:  # A model inside is unbuilt.
    trainable = [inner for inner in inside if inner.trainable]
    return [w for inner in trainable for w in inner._trainable_weights]


def _exempt(layer: Any) -> Iterator[Any]:
  """Yields the weights of a layer that are documented to stay dense."""
  for weight in layer._trainable_weights:
    if weight.name.split(':')[0].endswith('bias') or isinstance(
      layer, _NORMALIZATIONS
    ):
      yield weight
  if isinstance(layer, _DEPTHWISE + _SEPARABLE) and layer.built:
    yield layer.depthwise_kernel


def _may_create_matrices(layer: Any, kernel_layers: set[int]) -> bool:
  """Returns whether the class of an unbuilt layer may create dense matrices.

  `kernel_layers` has the ids of the layers whose kernels are pruned.
  """
  if layer.built or not layer.trainable or id(layer) in kernel_layers:
    return False
  if isinstance(
    layer, (*_NORMALIZATIONS, *_DEPTHWISE, keras_access.PruneLowMagnitude)
  ):
    return False
  if owners := prunable_weights.kernel_layers(layer):
    return not kernel_layers.issuperset(id(owner) for owner in owners)
  return (
    isinstance(layer, _NEVER_PRUNED)
    or prunable_weights.stores_unused_weights(layer)
    or _overrides_build(type(layer))
  )


def _overrides_build(kind: type) -> bool:
  """Returns whether a class that is not Keras's defines `build`."""
  return any(
    'build' in vars(base) for base in kind.mro() if not _is_of_keras(base)
  )


def _is_of_keras(kind: type) -> bool:
  return kind.__module__.startswith(('tf_keras.', 'tensorflow.'))


def _outermost_cause(inside: Sequence[Any], owner: Any) -> Any:
  """Returns the outermost layer that prevents pruning the owner's matrices."""
  for layer in inside:
    if prunable_weights.inner_kernel_layers(layer) or model_layers.is_network(
      layer
    ):
      continue  # Wrapping finds kernels inside such a layer.
    if isinstance(layer, keras_access.PruneLowMagnitude):
      continue
    if any(
      inner is owner for inner in [layer, *model_layers.flatten_layers(layer)]
    ):
      return layer
  return owner
