"""The wrapped layers of a model: what a run knows of tfmot's insides.

What the rest of the library sees of a wrapped model is a list of kernels, each
a weight with a mask, a structure and the schedule of its layer. Beside
`wrapper.py`, which makes such layers, no other file touches tfmot's insides; a
second file like this one could one day serve Keras 3.
"""

import dataclasses
import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines.tfmot import (
  forward_masking,
  keras_3_errors,
  keras_access,
  kernel_axes,
  model_layers,
  prunable_weights,
)
from tf_unilth.engines.tfmot.fixed_mask import FixedMask
from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruning_wrapper import PruneLowMagnitude
from tf_unilth.engines.tfmot.run_state import FINETUNING, RunState
from tf_unilth.selection import pruning_units
from tf_unilth.selection.unit import Structure


@dataclasses.dataclass(frozen=True, eq=False)
class PrunedKernel:
  """One prunable weight of a wrapped layer."""

  name: str
  weight: Any
  mask: Any
  schedule: Any
  structure: Structure


class PrunedLayers:
  """The layers of a model that tfmot's `prune_low_magnitude` wrapped.

  Args:
    model: a tf_keras model.
  """

  def __init__(self, model: keras.Model):
    keras_3_errors.check_keras(model, 'model', keras.Model)
    self._model = model
    self._wrappers = [
      layer
      for layer in model_layers.flatten_layers(model)
      if isinstance(layer, keras_access.PruneLowMagnitude)
    ]
    self._share_schedules()
    first = next((w.pruning_schedule for w in self._wrappers), None)
    if isinstance(first, IterativeSparsity) and first.has_loaded_run:
      self.save_run_state_in_config(first.state)
    self.kernels = list(_unique(self._all_kernels()))

  def _share_schedules(self) -> None:
    """Gives wrappers of one group one schedule; each was loaded with a copy."""
    first: dict[str, IterativeSparsity] = {}
    for wrapper in self._wrappers:
      schedule = wrapper.pruning_schedule
      if isinstance(schedule, IterativeSparsity):
        shared = first.setdefault(schedule.group, schedule)
        if shared is not schedule:
          wrapper.pruning_schedule = shared
          if wrapper.pruning_obj is not None:
            wrapper.pruning_obj._pruning_schedule = shared

  def _all_kernels(self) -> Iterator[PrunedKernel]:
    for wrapper in self._wrappers:
      weights = [
        prunable_weights.unwrap_autocast(weight)
        for weight, *_ in wrapper.pruning_vars
      ]
      names = prunable_weights.kernel_names(wrapper.layer.name, weights)
      for (_, mask, _), weight, name in zip(
        wrapper.pruning_vars, weights, names, strict=True
      ):
        yield PrunedKernel(
          name,
          weight,
          prunable_weights.unwrap_autocast(mask),
          wrapper.pruning_schedule,
          pruning_units.from_arguments(
            wrapper.block_size,
            wrapper.block_pooling_type,
            wrapper.sparsity_m_by_n,
            kernel_axes.input_axis(wrapper.layer, weight),
          ),
        )

  def save_run_state_in_config(self, state: RunState) -> None:
    """Lets files of the whole model hold the state of its run.

    `.keras`, `.h5` and SavedModel know of a model's configuration and of its
    weights, and snapshots are neither in number nor shape like weights. So the
    configuration of the first wrapper carries them.
    """
    wrapper = next(
      w
      for w in self._wrappers
      if getattr(w.pruning_schedule, 'state', None) is state
    )

    def get_config() -> dict[str, Any]:
      config = type(wrapper).get_config(wrapper)
      config['pruning_schedule']['config']['run_state'] = state.get_config()
      return config

    wrapper.get_config = get_config

  @property
  def schedules(self) -> list[Any]:
    """The schedules of all wrappers, each once, also of those without kernels.

    Those with kernels come first.
    """
    schedules = [kernel.schedule for kernel in self.kernels]
    schedules += [wrapper.pruning_schedule for wrapper in self._wrappers]
    return list(dict.fromkeys(schedules))

  def are_at_target(self) -> bool:
    """Returns whether no round of pruning is still to come."""
    schedules = [s for s in self.schedules if isinstance(s, IterativeSparsity)]
    if not any(schedule.target_sparsity for schedule in schedules):
      return True
    return schedules[0].state.get('stage') == FINETUNING

  def check(self) -> None:
    """Raises a `ValueError` if ticket callbacks cannot prune these layers."""
    if not self._wrappers:
      raise ValueError(
        'model has no wrapped layer: wrap it with tf_unilth.'
        'prune_low_magnitude(model, tf_unilth.IterativeSparsity(...)) and '
        'compile the result.'
      )
    for wrapper in self._wrappers:
      name, schedule = wrapper.layer.name, wrapper.pruning_schedule
      if not isinstance(schedule, IterativeSparsity):
        raise ValueError(
          f'pruning_schedule of layer {name!r} must be a tf_unilth.'
          f'IterativeSparsity, but is a {type(schedule).__name__}.'
        )
      if isinstance(schedule, FixedMask) and not isinstance(
        wrapper, PruneLowMagnitude
      ):
        raise ValueError(
          f'FixedMask of layer {name!r} needs tf_unilth.prune_low_magnitude: '
          "tfmot's own wrapper leaves its mask open."
        )
      if wrapper.pruning_obj is None:
        raise ValueError(
          f'layer {name!r} has no weights yet: give the model an input '
          'shape, or call model.build(input_shape) before fit.'
        )
      if tuple(wrapper.block_size) != (1, 1) and wrapper.sparsity_m_by_n:
        raise ValueError(
          f'block_size and sparsity_m_by_n of layer {name!r} exclude each '
          f'other, but are {tuple(wrapper.block_size)} and '
          f'{wrapper.sparsity_m_by_n}: give one of them.'
        )
    if not self.kernels:
      raise ValueError(
        'model has wrapped layers but none of them has a prunable weight: '
        + ', '.join(repr(w.layer.name) for w in self._wrappers)
      )
    for kernel in self.kernels:
      shape = tuple(kernel.weight.shape)
      if not kernel.structure.fits(shape):
        raise ValueError(
          f'{kernel.structure.needs}, but the kernel of layer '
          f'{kernel.name!r} has shape {shape}: leave that layer unwrapped.'
        )

  def warn_of_open_masks(self) -> None:
    """Warns of a `FixedMask` that was made before its weights were loaded."""
    for kernel in self.kernels:
      if not isinstance(kernel.schedule, FixedMask):
        continue
      kept = kernel.mask.numpy().astype(bool)
      if not kept.any():
        warnings.warn(
          f'FixedMask of layer {kernel.name!r} holds nothing but zeros: it '
          'will never train.',
          stacklevel=2,
        )
      zeros = int(np.sum((kernel.weight.numpy() == 0) & kept))
      if zeros and not kernel.schedule.masks_given:
        warnings.warn(
          f'FixedMask of layer {kernel.name!r} does not hold {zeros} of its '
          'zeros: if the weights were loaded after wrapping, load them before.',
          stacklevel=2,
        )

  @property
  def wrappers(self) -> list[Any]:
    """The wrapped layers, ours and tfmot's."""
    return self._wrappers

  def disable_tfmot_updates(self) -> None:
    """Lets wrappers train, as tfmot's `UpdatePruningStep` does."""
    for wrapper in self._wrappers:
      if wrapper.pruning_obj is None:
        continue
      # With sparsity_m_by_n tfmot makes masks of its own at step 1, whatever
      # the schedule says: the first training step is made the second.
      begin = 1 if wrapper.sparsity_m_by_n else 0
      if wrapper.pruning_step.numpy() < begin:
        wrapper.pruning_step.assign(begin)
      # Nor are they put into the graph, which tfmot cannot do for kernels of
      # rank 3, or where a matrix is one block wide or high.
      wrapper.pruning_obj.conditional_mask_update = tf.no_op
      wrapper.pruning_obj.weight_mask_op = functools.partial(
        _weight_mask_op, wrapper
      )

  @property
  def model_weights(self) -> list[Any]:
    """The model's weights and statistics without tfmot's own variables.

    They are those of the model before it was wrapped, in the same order.
    """
    own = self._own_variables()
    return [w for w in self._model.weights if w.ref() not in own]

  def _own_variables(self) -> set[Any]:
    own = set()
    for wrapper in self._wrappers:
      if wrapper.pruning_obj is None:
        continue  # Not built yet.
      own.add(wrapper.pruning_step.ref())
      for _, mask, threshold in wrapper.pruning_vars:
        own |= {mask.ref(), threshold.ref()}
    return own

  def read_weights(self) -> list[np.ndarray]:
    """Returns the kernels' values in float32, not to be written.

    Where they are float32 and on the host, the arrays share TensorFlow's
    memory, which is let alone when the weights change.
    """
    weights = [tf.convert_to_tensor(k.weight) for k in self.kernels]
    return [np.asarray(tf.cast(weight, tf.float32)) for weight in weights]

  def read_masks(self) -> list[np.ndarray]:
    """Returns the masks as booleans, True where a weight is kept."""
    return [k.mask.numpy().astype(bool) for k in self.kernels]

  def trainable(self) -> set[int]:
    """Returns the indices of the kernels that are not frozen."""
    free = {
      prunable_weights.unwrap_autocast(w).ref()
      for w in self._model.trainable_weights
    }
    return {i for i, k in enumerate(self.kernels) if k.weight.ref() in free}

  def new_candidates(self) -> list[tf.Variable]:
    """Returns a variable per kernel, True where a weight is one; none is."""
    return [
      tf.Variable(tf.zeros(kernel.weight.shape, tf.bool), trainable=False)
      for kernel in self.kernels
    ]

  def assign_masks(self, masks: Sequence[np.ndarray]) -> None:
    """Writes masks, and zeros into the weights that they remove."""
    for kernel, mask in zip(self.kernels, masks, strict=True):
      # By TensorFlow, which uses all cores.
      kernel.mask.assign(tf.cast(mask, kernel.mask.dtype))
      forward_masking.keep(kernel.weight, kernel.mask)

  def zero_pruned(self) -> None:
    """Sets to zero what the present masks remove."""
    for kernel in self.kernels:
      forward_masking.keep(kernel.weight, kernel.mask)

  def multiply(self, factors: Mapping[int, tf.Tensor]) -> None:
    """Multiplies weights, inside of a train step.

    Args:
      factors: what by, for each of the kernels to multiply, by its index.
    """
    variables = [self.kernels[index].weight for index in factors]
    values = [
      variable * tf.cast(factor, variable.dtype)
      for variable, factor in zip(variables, factors.values(), strict=True)
    ]
    _assign(variables, values)


def _weight_mask_op(wrapper: Any) -> Any:
  """Masks the weights, unless the step around it holds them."""
  if forward_masking.skips_mask(wrapper):
    return tf.no_op()
  return type(wrapper.pruning_obj).weight_mask_op(wrapper.pruning_obj)


def _unique(kernels: Iterator[PrunedKernel]) -> Iterator[PrunedKernel]:
  """Drops repeats: a layer that is shared stands in a model twice."""
  seen = set()
  for kernel in kernels:
    if kernel.weight.ref() not in seen:
      seen.add(kernel.weight.ref())
      yield kernel


def _assign(variables: Sequence[Any], values: Sequence[tf.Tensor]) -> None:
  """Assigns in a train step, also under a distribution strategy.

  There a kernel refuses a plain assignment, because Keras gives it no rule to
  aggregate replicas by; ours are equal on all of them.
  """
  if not tf.distribute.has_strategy():
    for variable, value in zip(variables, values, strict=True):
      variable.assign(value)
    return

  def update(strategy: Any, replica_values: Sequence[Any]) -> None:
    for variable, value in zip(variables, replica_values, strict=True):
      strategy.extended.update(
        variable, lambda v, x: v.assign(x), args=(value,)
      )

  context = tf.distribute.get_replica_context()
  context.merge_call(update, args=(list(values),))
