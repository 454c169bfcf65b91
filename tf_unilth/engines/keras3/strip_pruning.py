"""strip_pruning for Keras 3: takes plan and patches off a model."""

from typing import Any

import keras

from tf_unilth.engines.keras3 import (
  model_checks,
  optimizer_traits,
  pruning_plan,
)


def strip_pruning(model: keras.Model) -> keras.Model:
  """Does what `tf_unilth.strip_pruning` documents, for Keras 3."""
  plan = pruning_plan.plan_of(model)
  if plan is None:
    return model
  if plan.hooks.run is not None and plan.hooks.run_is_of_fit:
    raise RuntimeError(
      'model is being trained with a ticket callback, and a Keras 3 model is '
      'stripped in place: call strip_pruning after fit.'
    )
  model_checks.warn_if_dense(plan)
  plan.zero_pruned()
  plan.hooks.detach()
  optimizer = getattr(model, 'optimizer', None)
  if optimizer is not None:
    _make_rate_a_number(optimizer_traits.inner(optimizer))
  return model


def _make_rate_a_number(optimizer: Any) -> None:
  """Replaces a `StagedLearningRate` by its present value.

  A file of the model is then plain Keras. The variable is created and listed
  as the optimizer's constructor does, so that loading finds it.

  Args:
    optimizer: the optimizer that has the schedule.
  """
  schedule = optimizer_traits.staged_learning_rate(optimizer)
  if schedule is None:
    return
  rate = schedule(optimizer._iterations.value)
  variable = keras.Variable(
    float(keras.ops.convert_to_numpy(rate)),
    name='learning_rate',
    dtype=keras.backend.floatx(),
    trainable=False,
    aggregation='only_first_replica',
  )
  optimizer._learning_rate = variable
  position = optimizer._variables.index(optimizer._iterations) + 1
  optimizer._variables.insert(position, variable)
