"""prune_low_magnitude: tfmot's, for more models."""

import difflib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from tf_unilth import arguments, compat, kernel_axes, prunable, structure
from tf_unilth.compat import PruningSchedule, keras, tfmot
from tf_unilth.fixed_mask import FixedMask
from tf_unilth.sparsity_schedule import IterativeSparsity
from tf_unilth.wrapper import PruneLowMagnitude

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
  skip: Sequence[str | Layer] = (),
  targets: Mapping[str | Layer, float | PruningSchedule] | None = None,
  **kwargs: Any,
) -> Any:
  """Wraps a model, a layer or a list of layers for pruning.

  As tfmot's function of the same name, with a wrapper that repairs tfmot's
  (`tf_unilth.PruneLowMagnitude`). Of a model it wraps the layers that have
  kernels, and leaves the others as they are, where tfmot fails on the first
  one that it does not know. What is left dense, `sparsity_summary` lists.

  Args:
    to_prune: a Sequential or functional tf_keras model, a layer, or a list of
      layers. The layers of a subclassed model are wrapped one by one, where it
      makes them.
    pruning_schedule: an `IterativeSparsity`, a `FixedMask`, or any of tfmot's.
    block_size: (height, width) of the blocks of a matrix that go together.
    block_pooling_type: `'AVG'` or `'MAX'`: what of |w| ranks a block.
    pruning_policy: one of tfmot's; it decides among the layers with kernels.
    sparsity_m_by_n: (m, n) for m zeros in each n consecutive weights.
    skip: layers, or names of layers, of a model that stay dense; the name of a
      model inside means all of its layers.
    targets: what single layers of a model are pruned to, apart from the
      others: by name or layer, a target sparsity in [0, 1), for which
      `pruning_schedule` must be an `IterativeSparsity`, or a schedule.
    **kwargs: as of a Keras layer, where `to_prune` is one.

  Returns:
    A model with wrapped layers, to be compiled again, that shares weights with
    the one given; a wrapped layer; or a list of layers.

  Raises:
    TypeError: something that is not tf_keras's; for an object of Keras 3 it
      says how to build it with tf_keras. A schedule that is none.
    ValueError: nothing to prune; `skip` or `targets` name what the model does
      not have.

  >>> layers = [keras.layers.Rescaling(1 / 255, name='rescaling'),
  ...           keras.layers.Dense(8, name='hidden'),
  ...           keras.layers.Dense(2, name='head')]
  >>> model = prune_low_magnitude(keras.Sequential(layers),
  ...                             IterativeSparsity(0.9), skip=['head'])
  >>> [layer.name for layer in model.layers]
  ['rescaling', 'prune_low_magnitude_hidden', 'head']
  """
  for thing in to_prune if isinstance(to_prune, list) else [to_prune]:
    compat.check_keras(thing, 'to_prune', Layer)
  if not isinstance(pruning_schedule, PruningSchedule):
    raise TypeError(
      'pruning_schedule must be an IterativeSparsity or another '
      f'PruningSchedule of tfmot, but is {pruning_schedule!r}.'
    )
  pooling = arguments.one_of(
    'block_pooling_type', block_pooling_type, structure.POOLINGS
  )
  units: dict[str, Any] = {
    'block_size': block_size,
    'block_pooling_type': pooling,
    'sparsity_m_by_n': sparsity_m_by_n,
  }
  if kwargs and isinstance(to_prune, keras.Model | list):
    raise TypeError(
      f'{sorted(kwargs)} are of a single layer, but to_prune is a '
      f'{type(to_prune).__name__}.'
    )
  if isinstance(to_prune, keras.Model):
    own = _own_schedules(to_prune, pruning_schedule, targets or {})
    wrapped = wrap_model(
      to_prune,
      pruning_policy,
      _left_dense(to_prune, skip, own, units),
      lambda layer: PruneLowMagnitude(
        layer, own.get(layer, pruning_schedule), **units
      ),
    )
    _warn_of_empty_masks(wrapped)
    return wrapped
  if skip or targets:
    raise ValueError(
      'skip and targets are for models, but to_prune is a '
      f'{type(to_prune).__name__}.'
    )
  if isinstance(to_prune, list):
    return [
      prune_low_magnitude(layer, pruning_schedule, **units)
      if isinstance(layer, keras.Model) or _is_to_wrap(layer)
      else layer
      for layer in to_prune
    ]
  if not prunable.is_prunable(to_prune):
    raise ValueError(
      f'to_prune is a {type(to_prune).__name__}, which has no kernel to prune: '
      'leave it unwrapped, or give its class a get_prunable_weights method.'
    )
  wrapper = PruneLowMagnitude(to_prune, pruning_schedule, **units, **kwargs)
  _warn_of_empty_masks(wrapper)
  return wrapper


def _warn_of_empty_masks(layer: Layer) -> None:
  """Warns of kernels that a `FixedMask` has found to be nothing but zeros."""
  for wrapper in compat.flatten_layers(layer, include_self=True):
    if (
      isinstance(wrapper, compat.PruneLowMagnitude)
      and isinstance(wrapper.pruning_schedule, FixedMask)
      and not all(mask.numpy().any() for _, mask, _ in wrapper.pruning_vars)
    ):
      warnings.warn(
        f'FixedMask of layer {wrapper.layer.name!r} holds nothing but zeros: '
        'it will never train.',
        stacklevel=3,
      )


def _left_dense(
  model: keras.Model,
  skip: Any,
  own: Mapping[Layer, PruningSchedule],
  units: Mapping[str, Any],
) -> set[Layer]:
  """Returns the layers to leave; raises if one has a target of its own."""
  left = set(find_layers(model, skip, 'skip'))
  if both := [layer.name for layer in own if layer in left]:
    raise ValueError(f'skip and targets must differ, but both name {both}.')
  unfit = _unfit(model, units, left)
  if both := [layer.name for layer in own if layer in unfit]:
    raise ValueError(
      f'targets names {both}, whose kernels do not have units of {units}.'
    )
  return left | unfit


def wrap_model(
  model: keras.Model,
  policy: Any,
  left: set[Layer],
  wrap: Callable[[Layer], Layer],
) -> keras.Model:
  """Returns a model whose layers with kernels are wrapped, but for `left`."""
  if not compat.is_network(model):
    raise ValueError(
      f'to_prune is a {type(model).__name__}, a subclassed model, which cannot '
      'be copied with other layers: wrap its layers where it makes them, '
      'self.dense = prune_low_magnitude(Dense(8), schedule).'
    )
  if policy is not None:
    if not isinstance(policy, tfmot.sparsity.keras.PruningPolicy):
      raise TypeError(
        f'pruning_policy must be one of tfmot, but is {policy!r}.'
      )
    policy.ensure_model_supports_pruning(model)

  def wrap_or_leave(layer: Layer) -> Layer:
    if layer in left:
      return layer
    if compat.is_network(layer):
      _check_repeats(layer)
      return keras.models.clone_model(layer, clone_function=wrap_or_leave)
    if isinstance(layer, compat.PruneLowMagnitude):
      already.append(layer.name)
    if not _is_to_wrap(layer) or not (
      policy is None or policy.allow_pruning(layer)
    ):
      return layer
    return wrap(layer)

  already: list[str] = []
  wrapped = wrap_or_leave(model)
  if already:
    warnings.warn(
      f'these layers are wrapped already and keep their schedules: {already}.',
      stacklevel=3,
    )
  if not compat.has_wrappers(wrapped):
    raise ValueError(
      f'to_prune has nothing to prune: no layer of {model.name!r} has a kernel '
      'that skip, pruning_policy, block_size and sparsity_m_by_n leave.'
    )
  compat.check_when_compiled(wrapped)
  return wrapped


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


def _is_to_wrap(layer: Layer) -> bool:
  """Returns whether to wrap it; warns of kernels that it cannot prune."""
  if isinstance(layer, compat.PruneLowMagnitude):
    return False
  if prunable.is_prunable(layer):
    return True
  # Keras's own layers without kernels are no news, those of a user may be,
  # also inside of one of Keras's, such as the cell of an RNN.
  theirs = [
    type(inner).__name__
    for inner in [layer, *compat.flatten_layers(layer)]
    if not type(inner).__module__.startswith('tf_keras.')
  ]
  has_matrix = any(len(weight.shape) > 1 for weight in layer.trainable_weights)
  if theirs and has_matrix and not compat.has_wrappers(layer):
    warnings.warn(
      f'layer {layer.name!r} stays dense: a {theirs[0]} does not tell its '
      'kernels. Give it a get_prunable_weights method, or wrap the layers '
      'inside of it where it makes them.',
      stacklevel=2,
    )
  return False


def _unfit(
  model: keras.Model, given: Mapping[str, Any], left: set[Layer]
) -> set[Layer]:
  """Returns the layers whose kernels do not have such units; warns of them."""
  units = structure.from_arguments(**given)
  found = [
    layer
    for layer in _named_layers(model)
    if layer.built
    and layer not in left
    and not isinstance(layer, compat.PruneLowMagnitude)
    for weight in prunable.prunable_weights(layer)
    if not structure.from_arguments(
      **given, axis=kernel_axes.input_axis(layer, weight)
    ).fits(tuple(weight.shape))
  ]
  if found:
    names = ', '.join(repr(layer.name) for layer in dict.fromkeys(found))
    warnings.warn(
      f'{units.needs}; these layers stay dense: {names}.', stacklevel=3
    )
  return set(found)


def unwrapped(layer: Layer) -> Layer:
  """Returns the layer inside of a wrapper, any other as it is."""
  return layer.layer if isinstance(layer, compat.PruneLowMagnitude) else layer


def _named_layers(model: keras.Model) -> Iterator[Layer]:
  """Returns the layers of a model and of the models inside."""
  for layer in model.layers:
    yield layer
    if isinstance(layer, keras.Model):
      yield from _named_layers(layer)


def find_layers(
  model: keras.Model, wanted: Any, argument: str, wrapped: bool = False
) -> list[Layer]:
  """Returns the layers that names, or layers, mean; a name may mean several.

  Args:
    model: whose layers, and those of the models inside.
    wanted: names or layers.
    argument: what they were given as, for errors.
    wrapped: whether wrapped layers may be meant too, by their own names or
      by those of their wrappers; the layers inside are returned.

  Raises:
    TypeError: something that is neither a layer nor a name.
    ValueError: no layer of the model, or one that is wrapped.
  """
  if isinstance(wanted, str | Layer):
    wanted = [wanted]
  if not isinstance(wanted, Iterable) or isinstance(wanted, bytes):
    raise TypeError(
      f'{argument} must be layers or names of layers, but is {wanted!r}.'
    )
  found: list[Layer] = []
  layers = list(_named_layers(model))
  if wrapped:
    layers = [i for layer in layers for i in {layer: 0, unwrapped(layer): 0}]
  for one in wanted:
    if compat.is_keras_3(one):
      compat.check_keras(one, argument, Layer)
    if not isinstance(one, str | Layer):
      raise TypeError(
        f'{argument} must be layers or names of layers, but has {one!r}.'
      )
    matches = [layer for layer in layers if one in (layer, layer.name)]
    if not matches:
      name = one if isinstance(one, str) else one.name
      near = difflib.get_close_matches(name, [la.name for la in layers])
      raise ValueError(
        f'{argument} names {name!r}, which is no layer of {model.name!r}'
        + (f': do you mean one of {near}?' if near else '.')
      )
    for layer in matches:
      if isinstance(layer, compat.PruneLowMagnitude) and not wrapped:
        raise ValueError(
          f'{argument} names {layer.name!r}, which is wrapped already.'
        )
    found += map(unwrapped, matches)
  return found


def _own_schedules(
  model: keras.Model,
  schedule: PruningSchedule,
  targets: Mapping[str | Layer, float | PruningSchedule],
) -> dict[Layer, PruningSchedule]:
  """Returns the schedules of the layers that `targets` names."""
  if not isinstance(targets, Mapping):
    raise TypeError(
      f'targets must be a dict from layers to targets, but is {targets!r}.'
    )
  own: dict[Layer, PruningSchedule] = {}
  for key, target in targets.items():
    for layer in find_layers(model, [key], 'targets'):
      if layer in own:
        raise ValueError(f'targets names {layer.name!r} twice.')
      own[layer] = _own_schedule(layer, schedule, target)
  return own


def _own_schedule(
  layer: Layer, schedule: PruningSchedule, target: float | PruningSchedule
) -> PruningSchedule:
  if not prunable.is_prunable(layer):
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
