"""MaskedApply: makes a Keras 3 optimizer keep pruned weights at zero."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras

from tf_unilth.engines.keras3 import optimizer_traits
from tf_unilth.engines.keras3.pruning_plan import PlannedKernel
from tf_unilth.engines.keras3.step_variables import StepVariables
from tf_unilth.engines.patches import Patches
from tf_unilth.schedules.l2_ramp import L2Ramp

ops = keras.ops


class MaskedApply:
  """Replaces the `apply` of an optimizer, from `attach` to `detach`.

  All training of Keras goes through `apply`, on each backend. Pruned weights
  get no gradient. Under most Keras optimizers a weight of 0 stays 0 while its
  gradient and its slots are 0, so nothing else is needed. The kernel is also
  masked after the step if the optimizer may move zeros, or if the kernel has a
  constraint.

  With SGD, the penalty's gradient lambda * w of the candidates is added to the
  gradients. Adaptive optimizers would normalize it away, and gradient clipping
  would cut it; there the candidates are shrunk after the step,
  w <- w (1 - learning rate * lambda), as in AdamW (Loshchilov & Hutter 2019).

  A step on JAX may only read what it is passed, and Keras passes it the
  optimizer's variables. So there the masks and the ramp are among them. The
  optimizer saves and loads its own variables alone.

  Args:
    optimizer: the model's optimizer, which is built.
    kernels: the kernels to prune.
    variables: what the step reads.
  """

  def __init__(
    self,
    optimizer: Any,
    kernels: Sequence[PlannedKernel],
    variables: StepVariables,
  ):
    self.optimizer = optimizer
    self.variables = variables
    self.ramp: L2Ramp | None = None
    # The kind of the following steps of `fit`.
    self.has_penalty = self.has_masks = False
    # Whether a train function of `fit` runs or is traced, which serves one
    # kind of steps. Other functions are traced once, for all kinds.
    self.is_in_fit = False
    # Indices of the kernels that the steps of a kind have trained.
    self.trained: set[int] = set()
    self._kernels = kernels
    self._inner = optimizer_traits.inner(optimizer)
    self._in_gradient = optimizer_traits.penalty_through_gradient(optimizer)
    preserves_zeros = optimizer_traits.preserves_zeros(optimizer)
    self._unsafe = {
      index
      for index, kernel in enumerate(kernels)
      if not preserves_zeros or kernel.variable.constraint is not None
    }
    self._preserves_zeros = preserves_zeros
    self._patches = Patches()
    self._passed: list[Any] = []
    self._apply_own = self._inner.apply

  @property
  def is_attached(self) -> bool:
    """Whether the optimizer's `apply` is still ours."""
    return self._patches.is_set(self._inner, 'apply')

  def attach(self) -> None:
    """Puts the patches on the optimizer."""
    self._apply_own = self._inner.apply
    self._patches.set('Keras 3 optimizer', self._inner, 'apply', self._apply)
    if keras.backend.backend() == 'jax':
      for optimizer in dict.fromkeys((self.optimizer, self._inner)):
        for name in ('save_own_variables', 'load_own_variables'):
          own = getattr(optimizer, name)
          self._patches.set(
            'Keras 3 optimizer', optimizer, name, self._without_passed(own)
          )

  def pass_variables(self) -> None:
    """Adds to the optimizer's variables what a step on JAX reads."""
    if keras.backend.backend() != 'jax':
      return
    rate = optimizer_traits.staged_learning_rate(self.optimizer)
    numbers = [] if rate is None else _traceable_numbers(rate)
    known = {id(variable) for variable in self._passed}
    read = [*self.variables.read_by_a_step, *numbers]
    new = [v for v in read if id(v) not in known]
    self._passed += new
    self._inner._variables.extend(new)

  def detach(self) -> None:
    """Takes all patches back."""
    self._hide_passed()
    self._passed = []
    self._patches.restore()

  def _hide_passed(self) -> None:
    if not self._passed:  # On TensorFlow the list cannot be replaced.
      return
    passed = {id(variable) for variable in self._passed}
    variables = self._inner._variables
    variables[:] = [v for v in variables if id(v) not in passed]

  def _without_passed(self, own: Any) -> Any:
    """Returns a method that saves or loads the optimizer's own variables."""

    def save_or_load(store: Any) -> None:
      self._hide_passed()
      try:
        own(store)
      finally:
        self._inner._variables.extend(self._passed)

    return save_or_load

  def own_variables(self) -> list[Any]:
    """Returns the optimizer's variables without those of the plan."""
    passed = {id(variable) for variable in self._passed}
    return [v for v in self.optimizer.variables if id(v) not in passed]

  def clear_slots(self, masks: Sequence[Any]) -> None:
    """Sets the optimizer slots of pruned weights, such as momentum, to zero.

    Args:
      masks: boolean arrays in the shapes of the kernels, False where pruned.
    """
    if not self._preserves_zeros:
      return
    for kernel, mask in zip(self._kernels, masks, strict=True):
      if not mask.all():
        for slot in optimizer_traits.slots(self.optimizer, kernel.variable):
          slot.assign(_keep(mask, slot.value))

  def _apply(self, grads: Any, trainable_variables: Any = None) -> Any:
    """Masks gradients, adds the penalty, and calls the optimizer's `apply`."""
    if trainable_variables is not None:
      trainable_variables = list(trainable_variables)
    found = self._positions(trainable_variables)
    self.trained |= set(found)
    ramps = self.ramp is not None and (self.has_penalty or not self.is_in_fit)
    masks = self.has_masks or not self.is_in_fit
    if not ramps and not masks:
      return self._apply_own(grads, trainable_variables)
    # A copy, since torch counts in place.
    iteration = ops.add(self._inner._iterations.value, 0)
    grads = list(grads)
    coefficient = self._coefficient(iteration) if ramps else None
    in_gradient = ramps and self._in_gradient
    scale = self._penalty_scale(coefficient) if in_gradient else None
    for index, position in found.items():
      gradient = grads[position]
      if masks:
        gradient = self._mask(index, gradient)
      if in_gradient:
        gradient = self._penalize(index, gradient, scale)
      grads[position] = gradient
    result = self._apply_own(grads, trainable_variables)
    if masks:
      self.apply_masks(self._unsafe & set(found))
    if ramps and not in_gradient:
      self._shrink(found, self._shrunk_share(iteration, coefficient))
    return result

  def _positions(self, variables: Sequence[Any] | None) -> dict[int, int]:
    """Returns the positions of the kernels among the trained variables."""
    optimizer = self._inner
    if not optimizer.built:  # `apply` builds it, and then trains them all.
      optimizer.build(variables)
    indices = optimizer._trainable_variables_indices
    positions = (
      {optimizer._get_variable_index(v): i for i, v in enumerate(variables)}
      if variables is not None
      else {i: i for i in range(len(optimizer._trainable_variables))}
    )
    found = {}
    for index, kernel in enumerate(self._kernels):
      number = indices.get(optimizer._var_key(kernel.variable))
      if number in positions:
        found[index] = positions[number]
    return found

  def _coefficient(self, iteration: Any) -> Any:
    assert self.ramp is not None
    return self.variables.l2_lambda(self.ramp, iteration)

  def _mask(self, index: int, gradient: Any) -> Any:
    if gradient is None:  # The loss is independent of the weight.
      return None
    mask = self.variables.masks[index].value
    if _is_sparse(gradient):
      # As TensorFlow has it for an Embedding: the gradients of some rows.
      rows = ops.take(mask, gradient.indices, axis=0)
      values = _keep(rows, gradient.values)
      return type(gradient)(values, gradient.indices, gradient.dense_shape)
    return _keep(mask, gradient)

  def _penalty_scale(self, coefficient: Any) -> Any:
    """Returns what a candidate is multiplied by in its penalty's gradient."""
    cap = optimizer_traits.coefficient_cap(self.optimizer)
    if cap is not None:
      coefficient = ops.minimum(coefficient, cap)
    # The optimizer will sum the gradients of the replicas.
    return coefficient / _replica_count()

  def _penalize(self, index: int, gradient: Any, scale: Any) -> Any:
    """Returns gradient + scale * candidates * weight."""
    kernel = self._kernels[index].variable
    chosen = ops.cast(self.variables.candidates[index].value, kernel.dtype)
    penalty = chosen * ops.cast(scale, kernel.dtype) * kernel.value
    if gradient is None:
      return penalty
    if _is_sparse(gradient):
      gradient = ops.convert_to_tensor(gradient)
    return gradient + penalty

  def apply_masks(self, indices: Iterable[int] | None = None) -> None:
    """Sets the pruned weights of kernels to zero, also in a traced function.

    Args:
      indices: which kernels; `None` for all.
    """
    for index, kernel in enumerate(self._kernels):
      if indices is None or index in indices:
        variable, mask = kernel.variable, self.variables.masks[index].value
        variable.assign(_keep(mask, variable.value))

  def _shrunk_share(self, iteration: Any, coefficient: Any) -> Any:
    """Returns learning rate * lambda, at most 1."""
    rate = optimizer_traits.learning_rate(self.optimizer, iteration)
    share = ops.cast(rate, 'float32') * coefficient
    # Another callback may have raised the rate since lambda was chosen.
    share = ops.minimum(share, 1.0)
    # Each of the accumulated batches does its part.
    return share / optimizer_traits.accumulation_steps(self.optimizer)

  def _shrink(self, indices: Any, share: Any) -> None:
    for index in indices:
      variable = self._kernels[index].variable
      factor = ops.cast(1 - share, variable.dtype)
      chosen = self.variables.candidates[index].value
      value = variable.value
      variable.assign(ops.where(chosen, value * factor, value))


def _keep(mask: Any, values: Any) -> Any:
  """Returns values where the mask is True, and +0.0 elsewhere."""
  backend = keras.backend.backend()
  # Imported here, because other backends need neither.
  if backend == 'tensorflow':
    import tensorflow as tf

    # On a CPU, a product takes less than half the time of `where`. Kept values
    # are times 1, and a NaN or an infinity times 0 is 0 here.
    return tf.math.multiply_no_nan(values, tf.cast(mask, values.dtype))
  if backend == 'torch':
    import torch

    # Keras's `where` takes longer than the work of a small kernel.
    return torch.where(torch.as_tensor(mask, device=values.device), values, 0.0)
  return ops.where(mask, values, ops.zeros((), values.dtype))


def _is_sparse(gradient: Any) -> bool:
  return type(gradient).__name__ == 'IndexedSlices'


def _replica_count() -> int:
  """Returns over how many replicas the optimizer will sum the gradients."""
  if keras.backend.backend() != 'tensorflow':
    return 1
  # Here, because other backends need no TensorFlow.
  import tensorflow as tf

  return tf.distribute.get_strategy().num_replicas_in_sync


def _traceable_numbers(rate: Any) -> list[Any]:
  """Returns the begin and length of a decay, as variables of a step."""
  if not isinstance(rate._begin, keras.Variable):
    for name in ('_begin', '_steps'):
      number = int(getattr(rate, name))
      setattr(
        rate, name, keras.Variable(number, dtype='int32', trainable=False)
      )
  return [rate._begin, rate._steps]
