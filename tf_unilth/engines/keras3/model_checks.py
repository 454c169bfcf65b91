"""Checks of a Keras 3 model before a run."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tf_unilth.engines import fit_checks
from tf_unilth.engines.keras3 import backend_values
from tf_unilth.engines.keras3.pruning_plan import PruningPlan
from tf_unilth.schedules.fixed_mask import FixedMask
from tf_unilth.user_warning import warn_user


def check_compiled(model: keras.Model) -> None:
  """Raises a `ValueError` if the optimizer cannot hold masks."""
  optimizer = getattr(model, 'optimizer', None)
  if optimizer is None:
    raise ValueError(
      'optimizer of the model must be set, but is None: compile the model, '
      'also for a custom training loop.'
    )
  # By name, because older versions of Keras do not have the class.
  kinds = {kind.__name__ for kind in type(optimizer).mro()}
  if 'MultiOptimizer' in kinds:
    raise ValueError(
      f'optimizer of the model is a {type(optimizer).__name__}, which keeps '
      'its state in other optimizers: a ticket callback needs a single one.'
    )


def check_finite(
  model: keras.Model, slots: Sequence[Any], logs: Mapping[str, Any]
) -> None:
  """Raises if a weight, an optimizer slot or a loss is not finite.

  Args:
    model: a compiled model.
    slots: the variables of the optimizer.
    logs: the logs of an epoch, or `{}`.

  Raises:
    FloatingPointError: a value is not finite.
  """
  for kind, variables in ('weight', model.weights), ('optimizer slot', slots):
    for variable in variables:
      if not backend_values.is_finite(variable):
        raise fit_checks.not_finite(kind, variable.path)
  fit_checks.check_losses(logs)


def check_no_run(hooks: Any, callback_name: str) -> None:
  """Ends a run of a custom loop that died; raises if a `fit` has a run.

  Args:
    hooks: the `ModelHooks` of the model.
    callback_name: the class of the ticket callback that begins a run.

  Raises:
    ValueError: the `fit` is nested in one that has a ticket callback.
  """
  if hooks.run is None:
    return
  if hooks.run_is_of_fit:
    raise ValueError(
      f'callbacks of a nested fit must not include {callback_name}: the outer '
      'fit has a ticket callback, whose run continues in the nested fit.'
    )
  hooks.run.release()


def check_not_frozen(plan: PruningPlan) -> None:
  """Raises if all kernels are frozen, and warns if some are."""
  trainable = {id(v) for v in plan.model.trainable_variables}
  frozen = [k.name for k in plan.kernels if id(k.variable) not in trainable]
  fit_checks.check_not_frozen(frozen, len(frozen) == len(plan.kernels))


def warn_of_open_masks(plan: PruningPlan) -> None:
  """Warns of a `FixedMask` with empty masks or with unmasked zeros."""
  for kernel, mask in zip(plan.kernels, plan.masks, strict=True):
    if isinstance(kernel.schedule, FixedMask):
      weight = backend_values.read(kernel.variable)
      zeros = int(np.sum((weight == 0) & mask))
      fit_checks.warn_of_open_mask(
        kernel.name, mask, 0 if kernel.schedule.masks_given else zeros
      )


def take_over_zeros(plan: PruningPlan) -> None:
  """Sets the masks to the zeros of a model that was trained before; warns.

  A `.keras` file has no masks and no state of a run. A trained kernel has zeros
  only where it was pruned; one that is all zeros was never pruned.

  Args:
    plan: the plan of a model whose optimizer has done steps.
  """
  if plan.has_zeros:
    return
  masks, zeros = list(plan.masks), 0
  for index, kernel in enumerate(plan.kernels):
    mask = backend_values.read(kernel.variable) != 0
    if not isinstance(kernel.schedule, FixedMask) and mask.any():
      masks[index] = mask
      zeros += int(np.sum(~mask))
  if zeros:
    warn_user(
      f'model {plan.model.name!r} was trained before, and {zeros} of its '
      'weights are zero, but it has no state of the run that pruned them (a '
      '.keras file does not store it): a new run begins from these zeros. '
      'CheckpointAndResume resumes a run.',
    )
    plan.set_masks(masks)


def warn_if_dense(plan: PruningPlan) -> None:
  """Warns of a model with a target above 0 but no pruned weights."""
  if not any(schedule.target_sparsity for schedule in plan.schedules):
    return
  if not plan.has_zeros:
    warn_user(fit_checks.DENSE_WHEN_STRIPPED)
