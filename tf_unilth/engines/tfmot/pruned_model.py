"""PrunedLayers: the wrapped layers of a model and their kernels.

Other packages see a wrapped model as a list of kernels, each with its weight,
mask, structure and schedule. Only `engines/tfmot` uses tfmot's internals.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines import patches
from tf_unilth.engines.tfmot import (
  forward_masking,
  keras_3_errors,
  keras_access,
  model_layers,
  prunable_weights,
  pruned_layer_checks,
)
from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_kernel import PrunedKernel, find_kernels
from tf_unilth.engines.tfmot.tracked_run import TrackedRun
from tf_unilth.run.run_state import FINETUNING


class PrunedLayers:
  """The wrapped layers of a model, by this library's wrapper or tfmot's.

  Args:
    model: a tf_keras model.

  Raises:
    TypeError: not a tf_keras model.
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
      self.save_run_in_config(first.run)
    self.kernels: list[PrunedKernel] = find_kernels(self._wrappers)

  def _share_schedules(self) -> None:
    """Gives wrappers of a group one schedule; loading gave each a copy."""
    first: dict[str, IterativeSparsity] = {}
    for wrapper in self._wrappers:
      schedule = wrapper.pruning_schedule
      if isinstance(schedule, IterativeSparsity):
        shared = first.setdefault(schedule.group, schedule)
        if shared is not schedule:
          wrapper.pruning_schedule = shared
          if wrapper.pruning_obj is not None:
            wrapper.pruning_obj._pruning_schedule = shared

  def save_run_in_config(self, run: TrackedRun) -> None:
    """Stores the state of the run in files of the whole model.

    `.keras`, `.h5` and SavedModel files store a model's configuration and
    weights. The number and shapes of snapshots differ from those of weights,
    so the configuration of the first wrapper stores them.

    Args:
      run: the run that the schedules share.
    """
    wrapper = next(
      w
      for w in self._wrappers
      if getattr(w.pruning_schedule, 'run', None) is run
    )

    def get_config() -> dict[str, Any]:
      config = type(wrapper).get_config(wrapper)
      config['pruning_schedule']['config']['run_state'] = run.get_config()
      return config

    patches.set_lasting('wrapper', wrapper, 'get_config', get_config)

  @property
  def schedules(self) -> list[Any]:
    """The schedules of all wrappers, each once; those with kernels first."""
    schedules = [kernel.schedule for kernel in self.kernels]
    schedules += [wrapper.pruning_schedule for wrapper in self._wrappers]
    return list(dict.fromkeys(schedules))

  def are_at_target(self) -> bool:
    """Returns whether all rounds of pruning are complete."""
    schedules = [s for s in self.schedules if isinstance(s, IterativeSparsity)]
    if not any(schedule.target_sparsity for schedule in schedules):
      return True
    return schedules[0].run.state.stage == FINETUNING

  def check(self) -> None:
    """Raises a `ValueError` if a ticket callback cannot prune the layers."""
    if not self._wrappers:
      raise ValueError(
        'model has no wrapped layer: wrap it with tf_unilth.'
        'prune_low_magnitude(model, tf_unilth.IterativeSparsity(...)) and '
        'compile the result.'
      )
    for wrapper in self._wrappers:
      pruned_layer_checks.check_wrapper(wrapper)
    if not self.kernels:
      raise ValueError(
        'model has wrapped layers but none of them has a prunable weight: '
        + ', '.join(repr(w.layer.name) for w in self._wrappers)
      )
    for kernel in self.kernels:
      pruned_layer_checks.check_kernel(kernel)

  def warn_of_open_masks(self) -> None:
    """Warns of a `FixedMask` with empty masks or with unmasked zeros.

    Zeros are unmasked if the weights were loaded after wrapping.
    """
    pruned_layer_checks.warn_of_open_masks(self.kernels)

  @property
  def wrappers(self) -> list[Any]:
    """The wrapped layers, with this library's wrapper or tfmot's."""
    return self._wrappers

  def disable_tfmot_updates(self) -> None:
    """Makes wrappers trainable without tfmot's `UpdatePruningStep`.

    tfmot's mask updates are disabled, because the ticket callbacks write the
    masks.
    """
    for wrapper in self._wrappers:
      if wrapper.pruning_obj is None:
        continue
      # With sparsity_m_by_n, tfmot computes masks at step 1 regardless of the
      # schedule. Starting at 1 makes the first training step step 2.
      begin = 1 if wrapper.sparsity_m_by_n else 0
      if wrapper.pruning_step.numpy() < begin:
        wrapper.pruning_step.assign(begin)
      # tfmot's updates are not traced either: tracing them fails for kernels
      # of rank 3 and for matrices that are one block wide or high.
      for name, replacement in (
        ('conditional_mask_update', functools.partial(tf.no_op)),
        ('weight_mask_op', functools.partial(_weight_mask_op, wrapper)),
      ):
        patches.set_lasting(
          'pruning object', wrapper.pruning_obj, name, replacement
        )

  @property
  def model_weights(self) -> list[Any]:
    """The model's weights and statistics without the wrappers' variables.

    They are the weights of the unwrapped model, in the same order.
    """
    added = self._wrapper_variables()
    return [w for w in self._model.weights if w.ref() not in added]

  def _wrapper_variables(self) -> set[Any]:
    added = set()
    for wrapper in self._wrappers:
      if wrapper.pruning_obj is None:
        continue  # Not built yet.
      added.add(wrapper.pruning_step.ref())
      for _, mask, threshold in wrapper.pruning_vars:
        added |= {mask.ref(), threshold.ref()}
    return added

  def read_weights(self) -> list[np.ndarray]:
    """Returns the kernels as read-only float32 arrays.

    Arrays of float32 kernels on the host share TensorFlow's memory. They keep
    their values when the weights change.
    """
    weights = [tf.convert_to_tensor(k.weight) for k in self.kernels]
    return [np.asarray(tf.cast(weight, tf.float32)) for weight in weights]

  def read_masks(self) -> list[np.ndarray]:
    """Returns the masks as boolean arrays, True where a weight is kept."""
    return [k.mask.numpy().astype(bool) for k in self.kernels]

  def trainable(self) -> set[int]:
    """Returns the indices of the kernels that are not frozen."""
    refs = {
      prunable_weights.unwrap_autocast(w).ref()
      for w in self._model.trainable_weights
    }
    return {i for i, k in enumerate(self.kernels) if k.weight.ref() in refs}

  def assign_masks(self, masks: Sequence[np.ndarray]) -> None:
    """Writes the masks, and sets the weights that they prune to zero.

    Args:
      masks: an array per kernel with the kernel's shape, True or 1 where a
        weight is kept.
    """
    for kernel, mask in zip(self.kernels, masks, strict=True):
      # TensorFlow uses all cores, unlike NumPy.
      kernel.mask.assign(tf.cast(mask, kernel.mask.dtype))
      forward_masking.keep(kernel.weight, kernel.mask)

  def set_schedule_sparsities(self, masks: Sequence[np.ndarray]) -> None:
    """Sets the sparsity that the schedules report to tfmot.

    Args:
      masks: the masks of the kernels.
    """
    for schedule in dict.fromkeys(kernel.schedule for kernel in self.kernels):
      own = [
        mask
        for kernel, mask in zip(self.kernels, masks, strict=True)
        if kernel.schedule is schedule and kernel.is_counted
      ]
      kept = sum(int(np.count_nonzero(mask)) for mask in own)
      size = sum(mask.size for mask in own)
      schedule.sparsity.assign((size - kept) / size)

  def zero_pruned(self) -> None:
    """Sets the weights that the current masks prune to zero."""
    for kernel in self.kernels:
      forward_masking.keep(kernel.weight, kernel.mask)

  def multiply(self, factors: Mapping[int, tf.Tensor]) -> None:
    """Multiplies kernels by factors, inside a train step.

    Args:
      factors: maps the index of a kernel to its factor, a tensor that
        broadcasts to the kernel's shape.
    """
    variables = [self.kernels[index].weight for index in factors]
    values = [
      variable * tf.cast(factor, variable.dtype)
      for variable, factor in zip(variables, factors.values(), strict=True)
    ]
    _assign(variables, values)


def _weight_mask_op(wrapper: Any) -> Any:
  """Masks the weights, unless the current train step masks them."""
  if forward_masking.skips_mask(wrapper):
    return tf.no_op()
  return type(wrapper.pruning_obj).weight_mask_op(wrapper.pruning_obj)


def _assign(variables: Sequence[Any], values: Sequence[tf.Tensor]) -> None:
  """Assigns in a train step, also under a distribution strategy.

  Under a strategy, a kernel rejects a plain `assign`, because Keras sets no
  aggregation for it. The values are equal on all replicas.
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
