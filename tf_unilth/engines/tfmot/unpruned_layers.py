"""What stays dense although it could be pruned, and the warning that says so.

Every layer with a trainable matrix, at any depth, is pruned or named. Biases,
depthwise kernels and the scales of normalization layers are never pruned, which
is documented, and need no warning.
"""

import dataclasses
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tf_unilth.engines.tfmot import keras_access, model_layers, prunable_weights
from tf_unilth.engines.tfmot.keras_access import keras

layers = keras.layers

_NORMALIZATIONS = (
  layers.BatchNormalization,
  layers.GroupNormalization,
  layers.LayerNormalization,
)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
# Keras's other layers that make matrices; a test compares it with Keras.
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
    layer: it.
    cause: the layer that has them, itself or inside, or that hides them.
    wrapped: whether other weights of the layer are pruned.
    built: whether the matrices are there, and not only expected by the class.
  """

  layer: keras.layers.Layer
  cause: Any
  wrapped: bool
  built: bool


def find(
  layer: keras.layers.Layer, wrapped: bool, kernels: Iterable[Any] = ()
) -> list[Unpruned]:
  """Returns what of a layer stays dense, by the layer inside that causes it.

  Args:
    layer: built or not. Of what is not built, the class tells.
    wrapped: whether its own kernels are pruned.
    kernels: what else is pruned, such as weights that it shares with others.

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
  done = {weight.ref() for weight in kernels}
  for one in pruned:
    done.update(w.ref() for w in _kernels_so_far(one))
  told = {id(i) for one in pruned for i in _inside_of_telling(one)}
  rest = [inner for inner in inside if id(inner) not in told]
  reached = {id(s) for one in pruned for s in prunable_weights.sources(one)}
  has_kernels = wrapped and bool(_kernels_so_far(layer) or not layer.built)
  owners = [(owner, True) for owner in _owners(layer, inside, rest, done)] + [
    (inner, False) for inner in rest if _may_make_matrices(inner, reached)
  ]
  found = {}
  for owner, built in owners:
    cause = _cause(inside, owner)
    if id(cause) not in found:
      found[id(cause)] = Unpruned(layer, cause, has_kernels, built)
  return list(found.values())


def warn(found: Sequence[Unpruned], stacklevel: int) -> None:
  """Warns of layers that stay dense, now and when they begin to train."""
  for one in found:
    one.layer.stays_dense = True
  _warn(found, stacklevel + 1)


def forget(model: keras.Model) -> None:
  """Forgets what was warned of in a model that is wrapped anew."""
  for layer in model_layers.flatten_layers(model):
    vars(layer).pop('stays_dense', None)


def remind(model: keras.Model) -> None:
  """Warns once more of what `warn` told, of a model that is about to train.

  It may be long ago, and by now all layers are built.
  """
  inside = model_layers.flatten_layers(model)
  wrapped = [
    i.layer for i in inside if isinstance(i, keras_access.PruneLowMagnitude)
  ]
  kernels = [k for layer in wrapped for k in _kernels_so_far(layer)]
  found = []
  for layer in inside:
    if getattr(layer, 'stays_dense', False):
      is_wrapped = any(layer is one for one in wrapped)
      found += find(layer, is_wrapped, kernels)
  _warn(found, stacklevel=2)


def _warn(found: Sequence[Unpruned], stacklevel: int) -> None:
  """Warns of layers, of those with one cause together."""
  groups: dict[tuple[bool, bool, str], list[str]] = {}
  for one in found:
    key = one.built, one.wrapped, why(one.cause)
    names = groups.setdefault(key, [])
    if repr(one.layer.name) not in names:
      names.append(repr(one.layer.name))
  for (built, wrapped, reason), names in groups.items():
    stay = 'may stay' if not built else 'stays' if len(names) == 1 else 'stay'
    warnings.warn(
      f'layer{"s" if len(names) > 1 else ""} {", ".join(names)} {stay} dense'
      f'{" in part" if wrapped else ""}: {reason}',
      stacklevel=stacklevel + 1,
    )


def why(cause: Any) -> str:
  """Returns why a layer's matrices stay dense, and what to do about it."""
  kind = type(cause).__name__
  if prunable_weights.stores_unused_weights(cause):
    return (
      f'a {kind} with implementation=2 stores a kernel of which most entries '
      'are never used. One with implementation=1 or 3 is pruned.'
    )
  if _is_of_keras(type(cause)):
    return f'the weights of a {kind} are not pruned.'
  return (
    f'a {kind} does not tell its kernels. Give it a get_prunable_weights '
    'method that returns variables, or wrap the layers inside of it where it '
    'makes them.'
  )


def _kernels_so_far(layer: keras.layers.Layer) -> list[Any]:
  """Returns the kernels, none if they are still to be made."""
  if not layer.built:
    return []
  try:
    return prunable_weights.prunable_weights(layer)
  except AttributeError:
    return []


def _inside_of_telling(layer: keras.layers.Layer) -> Iterator[Any]:
  """Yields the layers whose user told which of their weights are kernels."""
  for source in prunable_weights.sources(layer):
    if prunable_weights.tells_variables(source):
      yield from [source, *model_layers.flatten_layers(source)]


def _owners(
  layer: keras.layers.Layer,
  inside: Sequence[Any],
  rest: Sequence[Any],
  done: set[Any],
) -> Iterator[Any]:
  """Yields the layers of the matrices that are neither pruned nor exempt."""
  owner, exempt = {}, set(done)
  for inner in inside:
    for weight in inner._trainable_weights:
      owner[prunable_weights.unwrap_autocast(weight).ref()] = inner
    exempt.update(
      prunable_weights.unwrap_autocast(weight).ref()
      for weight in _exempt(inner)
    )
  kept = {id(inner) for inner in rest}
  for weight in _trainable_weights(layer, inside):
    ref = prunable_weights.unwrap_autocast(weight).ref()
    inner = owner.get(ref, layer)
    if ref not in exempt and len(weight.shape) > 1 and id(inner) in kept:
      yield inner


def _trainable_weights(layer: Any, inside: Sequence[Any]) -> list[Any]:
  try:
    return layer.trainable_weights
  except ValueError:  # There is a model inside that is not built yet.
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


def _may_make_matrices(layer: Any, reached: set[int]) -> bool:
  """Returns whether what is not built yet is of a class that has matrices."""
  if layer.built or not layer.trainable or id(layer) in reached:
    return False
  if isinstance(
    layer, (*_NORMALIZATIONS, *_DEPTHWISE, keras_access.PruneLowMagnitude)
  ):
    return False
  if inner := prunable_weights.sources(layer):
    return not reached.issuperset(id(source) for source in inner)
  return (
    isinstance(layer, _NEVER_PRUNED)
    or prunable_weights.stores_unused_weights(layer)
    or _has_build_of_its_own(type(layer))
  )


def _has_build_of_its_own(kind: type) -> bool:
  return any(
    'build' in vars(base) for base in kind.mro() if not _is_of_keras(base)
  )


def _is_of_keras(kind: type) -> bool:
  return kind.__module__.startswith(('tf_keras.', 'tensorflow.'))


def _cause(inside: Sequence[Any], owner: Any) -> Any:
  """Returns the outermost layer that hides another one's kernels."""
  for layer in inside:
    if prunable_weights.parts(layer) or model_layers.is_network(layer):
      continue  # It is looked into.
    if isinstance(layer, keras_access.PruneLowMagnitude):
      continue
    if any(
      inner is owner for inner in [layer, *model_layers.flatten_layers(layer)]
    ):
      return layer
  return owner
