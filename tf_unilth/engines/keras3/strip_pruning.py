"""strip_pruning for Keras 3: takes plan and patches off a model."""

import contextlib
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
    with _variable_scope(model):
      _make_rate_a_number(optimizer_traits.inner(optimizer))
  return model


def _variable_scope(model: keras.Model) -> Any:
  if keras.backend.backend() == 'tensorflow':
    return model.distribute_strategy.scope()
  return contextlib.nullcontext()


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
  with keras.name_scope(optimizer.name, caller=optimizer):
    variable = keras.Variable(
      float(keras.ops.convert_to_numpy(rate)),
      name='learning_rate',
      dtype=keras.backend.floatx(),
      trainable=False,
      aggregation='only_first_replica',
    )
  counter, others = optimizer._iterations, list(optimizer._variables)
  optimizer._learning_rate = variable
  others = [v for v in others if v is not counter]
  _list_variables(optimizer, [counter, variable, *others])


def _list_variables(optimizer: Any, variables: list[Any]) -> None:
  """Replaces the list of an optimizer's variables, as its constructor sets it.

  TensorFlow cannot save a list in which items were moved, so it is a new one.

  Args:
    optimizer: the optimizer.
    variables: its variables, in the order in which files have them.
  """
  # While there is a tracker, Keras would track the items of the list.
  tracker = vars(optimizer).pop('_tracker')
  try:
    optimizer._variables = variables
  finally:
    vars(optimizer)['_tracker'] = tracker
  is_variable, _ = tracker.config['variables']
  tracker.config['variables'] = is_variable, optimizer._variables
