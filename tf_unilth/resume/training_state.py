"""Reads and restores everything that a running `fit` changes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tf_unilth.resume import callback_counters
from tf_unilth.resume.training_access import FitData, TrainingAccess


class TrainingState:
  """The state of a run: variables of the model and values on the host.

  Args:
    model: a compiled and built model.
    access: to the model.
    data: of the `fit`.
    callbacks: the callbacks of the `fit`.
  """

  def __init__(
    self,
    model: Any,
    access: TrainingAccess,
    data: FitData,
    callbacks: Sequence[Any],
  ):
    self.access, self.callbacks = access, callbacks
    self._model, self._data = model, data

  # Variables.

  def variables(self) -> dict[str, Any]:
    """Returns all variables by name."""
    return self.access.variables()

  def get_variables(self) -> dict[str, np.ndarray]:
    """Returns the variables' values by name."""
    read = self.access.read
    return {name: read(v) for name, v in self.variables().items()}

  def set_variables(self, values: Mapping[str, np.ndarray]) -> None:
    """Assigns values to variables.

    Args:
      values: values by name, as `get_variables` returns them.
    """
    for name, variable in self.variables().items():
      if name in values:
        variable.assign(values[name])
    self.access.after_assign()

  # Values on the host.

  def get_values(self) -> dict[str, Any]:
    """Returns all state that is not in variables.

    Returns:
      `states` (snapshots), `metrics`, `callbacks` (class names and counters),
      `history`, `epochs` and `random`, and what the data add.
    """
    access = self.access
    history = getattr(self._model, 'history', None)
    metrics = access.metric_variables()
    return {
      'states': access.get_states(),
      'metrics': {n: access.read(v) for n, v in metrics.items()},
      'callbacks': [
        [type(callback).__name__, {n: vars(callback)[n] for n in names}]
        for callback, names in callback_counters.counters(self.callbacks)
      ],
      'history': history and history.history,
      'epochs': history and history.epoch,
      'random': access.get_random(),
      **self._data.random_states(),
    }

  def set_states(self, values: Mapping[str, Any]) -> None:
    """Restores snapshots and other states of runs.

    Args:
      values: what `get_values` returned.
    """
    self.access.set_states(values['states'])

  def set_counters(self, values: Mapping[str, Any]) -> None:
    """Restores history and counters; all callbacks must have begun.

    Args:
      values: what `get_values` returned.
    """
    history = getattr(self._model, 'history', None)
    if history and values['history'] is not None:
      history.history, history.epoch = values['history'], values['epochs']
    counting = callback_counters.counters(self.callbacks)
    for (callback, names), (_, counters) in zip(
      counting, values['callbacks'], strict=True
    ):
      vars(callback).update({n: counters[n] for n in names if n in counters})

  def set_metrics(self, values: Mapping[str, Any]) -> None:
    """Restores the metrics of an epoch.

    Args:
      values: what `get_values` returned.
    """
    for name, variable in self.access.metric_variables().items():
      if name in values['metrics']:
        variable.assign(values['metrics'][name])
