"""The functions for models of any engine; each chooses the engine.

They import no framework: the class of a model says which engine it needs, and
only that engine is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tf_unilth.engines import engine_choice
from tf_unilth.engines.kernel_sparsity import SparsitySummary
from tf_unilth.engines.pruning_target import PruningTarget

if TYPE_CHECKING:
  from tf_unilth.engines.layer_selection import Selector
  from tf_unilth.engines.tfmot.keras_access import PruningSchedule, keras


class _TfmotDefault:
  """Stands for the default of tfmot's function, which needs tfmot."""

  def __repr__(self) -> str:
    return 'ConstantSparsity(0.5, 0)'


_TFMOT_DEFAULT = _TfmotDefault()


def prune_low_magnitude(
  to_prune: Any,
  pruning_schedule: PruningSchedule = _TFMOT_DEFAULT,
  block_size: tuple[int, int] = (1, 1),
  block_pooling_type: str = 'AVG',
  pruning_policy: Any = None,
  sparsity_m_by_n: tuple[int, int] | None = None,
  *,
  skip: Selector | Iterable[Selector] = (),
  targets: Mapping[Selector, float | PruningSchedule] | None = None,
  structure: str | None = None,
  **kwargs: Any,
) -> Any:
  """Prepares a model, a layer or a list of layers for pruning.

  With tf_keras, it wraps layers, and extends tfmot's function of the same name.
  The wrapper, `tf_unilth.PruneLowMagnitude`, fixes faults of tfmot's wrapper.
  In a model, all layers with kernels are wrapped and other layers stay as they
  are, where tfmot raises an error for a layer type that it does not support.
  `sparsity_summary` lists the layers that stay dense.

  With Keras 3, `to_prune` is a model of any kind, also a subclassed one. No
  layer is wrapped: the plan is noted on the model, which is returned, and its
  optimizer holds the masks in any training until `strip_pruning`. Layers inside
  of a user's own layer are pruned too.

  Biases, depthwise kernels and the scales of normalization layers are never
  pruned by themselves. If any other layer with a trainable matrix stays dense,
  at any depth, a warning names it. Layers in `skip` cause no warning.

  With `structure='channels'`, whole output channels of the layers of a tf_keras
  model go, with their biases, gammas and betas, and with the inputs of the
  layers that read them. Layers whose outputs are added lose the same channels.
  A layer keeps its width if it makes an output of the model, is in `skip`, or
  meets a layer whose channels are not known; `sparsity_summary` lists these.
  The callbacks have the same defaults there as for single weights: on units of
  LeNet-300-100 another strength or form of the L2 ramp, fewer rounds and
  another scope made no difference that five seeds tell apart
  (docs/channels_accuracy.md).

  Args:
    to_prune: a Sequential or functional tf_keras model, a layer, or a list of
      layers and models. In a subclassed model of tf_keras, wrap each layer
      where the model creates it. Or a Keras 3 model.
    pruning_schedule: an `IterativeSparsity`, a `FixedMask` or, with tf_keras,
      any tfmot schedule.
    block_size: (height, width) of the blocks in which a matrix is pruned.
    block_pooling_type: `'AVG'` or `'MAX'`, which pools the |w| of a block into
      its score.
    pruning_policy: a tfmot `PruningPolicy` that selects among the layers with
      kernels. It must allow a layer that is given by itself. `None` with
      Keras 3.
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
    structure: `'channels'` to prune whole channels of a Sequential or
      functional tf_keras model, under any of the four ticket callbacks. One
      target holds for all layers. Excludes `block_size`, `sparsity_m_by_n` and
      `targets`.
    **kwargs: Keras's arguments of a layer, such as `name`, if `to_prune` is a
      single layer.

  Returns:
    For a tf_keras model, a new model with wrapped layers that shares its
    weights and must be compiled; for a layer, the wrapped layer; for a list, a
    list. A Keras 3 model is returned itself.

  Raises:
    TypeError: `to_prune` is of no Keras, or of Keras 3 and not a model, or an
      argument has a wrong type.
    ValueError: there is nothing to prune; a Keras 3 model was passed before;
      whole channels of `to_prune` cannot be pruned;
      `skip` or `targets` select no layer of the model; two keys of `targets`,
      or `skip` and `targets`, select the same layer; or a layer in `targets` is
      not wrapped.

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

  Whole channels, to a quarter of the FLOPs:

  >>> layers = [keras.layers.Dense(8, input_shape=(4,), name='hidden'),
  ...           keras.layers.Dense(2, name='head')]
  >>> model = prune_low_magnitude(
  ...   keras.Sequential(layers), IterativeSparsity(0.75, of='flops'),
  ...   structure='channels')
  >>> print(sparsity_summary(model).channels)
  channels: 0 of 8 are removed, 0.000% of 96 FLOPs
  keep their width: head (output of the model)
  """
  layers = to_prune if isinstance(to_prune, list) else [to_prune]
  for layer in layers:
    engine_choice.check_keras(layer, 'to_prune', 'Layer')
  if not layers:
    raise ValueError('to_prune must have a layer, but is an empty list.')
  if pruning_schedule is not _TFMOT_DEFAULT:
    kwargs['pruning_schedule'] = pruning_schedule
  module = engine_choice.module_for(
    layers[0], 'to_prune', 'Layer', 'prune_low_magnitude'
  )
  return module.prune_low_magnitude(
    to_prune,
    block_size=block_size,
    block_pooling_type=block_pooling_type,
    pruning_policy=pruning_policy,
    sparsity_m_by_n=sparsity_m_by_n,
    skip=skip,
    targets=targets,
    structure=structure,
    **kwargs,
  )


def strip_pruning(model: keras.Model) -> keras.Model:
  """Removes the pruning wrappers or plan; returns a plain sparse model.

  Extends tfmot's function of the same name to subclassed models and to custom
  layers with wrapped layers inside. These are changed in place, because Keras
  cannot clone them, and so is a Keras 3 model: all that `prune_low_magnitude`
  put on it is taken back, and a `StagedLearningRate` of its optimizer becomes a
  number, its present value. Pruned weights are first set to zero, also in
  tfmot's wrappers, because other code may have changed them. If a target
  sparsity above 0 was set but the masks have no zeros, a warning says so.

  Args:
    model: a tf_keras model with layers that this library or tfmot wrapped, or a
      Keras 3 model.

  Returns:
    A new model that shares the layers of `model`, or `model` itself if it is
    subclassed or of Keras 3.

  Raises:
    TypeError: `model` is not a Keras model.
    RuntimeError: `model` is changed in place, and `fit` is training it with a
      ticket callback.

  >>> layers = [keras.layers.Dense(2, input_shape=(3,), name='small')]
  >>> model = prune_low_magnitude(keras.Sequential(layers), FixedMask())
  >>> [layer.name for layer in strip_pruning(model).layers]
  ['small']
  """
  module = engine_choice.module_for(model, 'model', 'Model', 'strip_pruning')
  return module.strip_pruning(model)


def sparsity_summary(model: keras.Model) -> SparsitySummary:
  """Counts the zeros of each kernel of a model.

  For a wrapped model, it counts the wrapped kernels with their masks applied,
  and lists the layers that are not wrapped. For an unwrapped or stripped model,
  it counts all prunable kernels. Biases are never pruned and never counted.

  Args:
    model: a built Keras model.

  Returns:
    A `SparsitySummary`, which prints as a table.

  Raises:
    TypeError: `model` is not a Keras model.

  >>> layers = [keras.layers.Dense(2, input_shape=(3,), name='small')]
  >>> print(sparsity_summary(keras.Sequential(layers)))
  layer  shape  weights  zeros  sparsity
  --------------------------------------
  small  3 x 2        6      0    0.000%
  --------------------------------------
  total               6      0    0.000%
  """
  module = engine_choice.module_for(model, 'model', 'Model', 'sparsity_summary')
  return module.sparsity_summary(model)


def pruning_target(model: Any) -> PruningTarget:
  """Returns what tells whether a model has reached its target sparsity.

  Args:
    model: a Keras model.

  Raises:
    TypeError: `model` is not a Keras model.
    ValueError: a Keras 3 model was not passed to `prune_low_magnitude`.
  """
  module = engine_choice.module_for(model, 'model', 'Model', 'pruning_target')
  return module.pruning_target(model)
