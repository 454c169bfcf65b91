"""Trains, saves and loads the ticket of a trial."""

import copy
import dataclasses
import pathlib
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.errors import FailedTrialError

from tf_unilth.algorithms.keras_callback import KerasCallback
from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.argument_checks import format_value
from tf_unilth.engines import fresh_models, model_access, which_keras
from tf_unilth.engines.pruning_api import (
  prune_low_magnitude,
  sparsity_summary,
  strip_pruning,
)
from tf_unilth.resume import training_access
from tf_unilth.schedules.iterative_sparsity import IterativeSparsity
from tf_unilth.tickets.ticket import Ticket
from tf_unilth.tuner.errors import TicketNotSavedError
from tf_unilth.tuner.oracles import (
  SECONDS,
  SPARSITY,
  TICKET_FILE,
  TRAINED_FILE,
)
from tf_unilth.tuner.spaces import HyperParameters, Space


@dataclasses.dataclass(frozen=True)
class BestTicket:
  """A ticket that a search has found.

  Args:
    model: the trained sparse model, stripped and compiled.
    ticket: the masks, and the weights that were rewound to, if any.
    trial_id: id of the trial.
    values: hyperparameters of the trial, by name.
    score: score by the objective.
    accuracy: monitored value after the last epoch.
    sparsity: fraction of zeros in the wrapped weights, in (0, 1).
  """

  model: Any
  ticket: Ticket
  trial_id: str
  values: Mapping[str, Any]
  score: float
  accuracy: float
  sparsity: float


class LastLogs(KerasCallback):
  """Stores the logs of the last epoch in `logs`."""

  def __init__(self) -> None:
    super().__init__()
    self.logs: dict[str, float] = {}

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    """Stores the logs, overwriting those of the epoch before."""
    self.logs = {name: float(value) for name, value in (logs or {}).items()}


class OneStep(KerasCallback):
  """Stops training after one step."""

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    """Stops training."""
    self.model.stop_training = True


@dataclasses.dataclass(frozen=True)
class TrialRunner:
  """Builds, trains and loads the models of trials.

  Args:
    hypermodel: builds and fits models.
    space: returns a schedule and a callback.
    seed: seed of weights and data, the same for all trials, so that the result
      of a trial depends only on its hyperparameters.
    wrapping: further arguments of `prune_low_magnitude`.
  """

  hypermodel: keras_tuner.HyperModel
  space: Space
  seed: int
  wrapping: Mapping[str, Any]

  def build(
    self, hp: HyperParameters
  ) -> tuple[Any, IterativeSparsity, TicketCallback]:
    """Returns a compiled model, its schedule and its callback.

    Args:
      hp: values of the hyperparameters.

    Raises:
      TypeError: what the build function returns is not a Keras model, or the
        space returns objects of another type.
      ValueError: the model is wrapped or not compiled.
    """
    fresh_models.start_anew(self.seed)
    model = self.hypermodel.build(hp)
    _check_model(model)
    return model, *self._call_space(hp)

  def _call_space(
    self, hp: HyperParameters
  ) -> tuple[IterativeSparsity, TicketCallback]:
    pair = self.space(hp)
    if not (
      isinstance(pair, tuple)
      and len(pair) == 2
      and isinstance(pair[0], IterativeSparsity)
      and isinstance(pair[1], TicketCallback)
    ):
      raise TypeError(
        'the space must return an IterativeSparsity and a ticket callback, but '
        f'returns {format_value(pair)}.'
      )
    return pair

  def build_wrapped(
    self, hp: HyperParameters
  ) -> tuple[Any, IterativeSparsity, TicketCallback]:
    """Returns the same as `build`, with the model prepared and compiled.

    Args:
      hp: values of the hyperparameters.
    """
    model, schedule, callback = self.build(hp)
    wrapped = prune_low_magnitude(model, schedule, **self.wrapping)
    return _compiled_as(model, wrapped), schedule, callback

  def probe_log_names(
    self, hp: HyperParameters, epochs: int, args: Any, kwargs: Any
  ) -> list[str]:
    """Returns the keys in the logs of the last epoch of a `fit`.

    Keras creates metrics when the model sees data. So the unwrapped model
    trains for one step of the last epoch, and validates as in that epoch.

    Args:
      hp: values of the hyperparameters.
      epochs: epochs of the `fit`.
      args: positional arguments of the `fit`.
      kwargs: keyword arguments of the `fit`.
    """
    model, _, _ = self.build(hp)
    last = LastLogs()
    self._fit(hp, model, epochs, [OneStep(), last], args, kwargs, epochs - 1)
    return list(last.logs)

  def train_ticket(
    self,
    hp: HyperParameters,
    epochs: int,
    directory: pathlib.Path,
    args: Any,
    kwargs: Any,
  ) -> dict[str, float]:
    """Trains a ticket from epoch 0 and saves it.

    Args:
      hp: values of the hyperparameters.
      epochs: epochs of the `fit`.
      directory: directory of the trial, created if needed.
      args: positional arguments of the `fit`.
      kwargs: keyword arguments of the `fit`.

    Returns:
      The finite logs of the last epoch, the sparsity and the seconds, by name.

    Raises:
      FailedTrialError: the ticket missed its target sparsity.
      TicketNotSavedError: a file cannot be written.
    """
    start = time.perf_counter()
    model, schedule, callback = self.build_wrapped(hp)
    last = LastLogs()
    self._fit(hp, model, epochs, [callback, last], args, kwargs)
    summary = sparsity_summary(model)
    if not callback.reached_target or summary.sparsity < callback.sparsity:
      raise FailedTrialError(
        f'the ticket missed its sparsity of {schedule.target_sparsity:.4%}: '
        f'{summary.zeros:,} of {summary.total_weights:,} weights are zero.'
      )
    with warnings.catch_warnings():
      # `Ticket.apply` tells the user later that the ticket has masks only.
      warnings.filterwarnings('ignore', 'the ticket of model .* has masks only')
      ticket = Ticket.from_model(model, callback)
    _save(ticket, directory / TICKET_FILE)
    stripped = strip_pruning(model)
    trained = Ticket.from_model(
      stripped,
      method=type(callback).__name__,
      seed=callback.seed,
      rewind_weights=stripped.get_weights(),
    )
    _save(trained, directory / TRAINED_FILE)
    return {
      **{n: value for n, value in last.logs.items() if np.isfinite(value)},
      SPARSITY: callback.sparsity,
      SECONDS: time.perf_counter() - start,
    }

  def _fit(
    self,
    hp: HyperParameters,
    model: Any,
    epochs: int,
    callbacks: Sequence[Any],
    args: Any,
    kwargs: Any,
    initial_epoch: int = 0,
  ) -> None:
    given = {'verbose': 0, **kwargs}
    own = copy.deepcopy(given.pop('callbacks', []))
    self.hypermodel.fit(
      hp,
      model,
      *args,
      **given,
      epochs=epochs,
      initial_epoch=initial_epoch,
      callbacks=[*own, *callbacks],
    )

  def load_ticket(
    self, hp: HyperParameters, directory: pathlib.Path
  ) -> tuple[Any, Ticket]:
    """Returns the stripped model and the ticket that `train_ticket` saved.

    Args:
      hp: values of the hyperparameters.
      directory: directory of the trial.

    Raises:
      TicketFileError: a file is damaged.
      OSError: a file cannot be read.
    """
    ticket = Ticket.load(directory / TICKET_FILE)
    model, _, _ = self.build(hp)
    trained = strip_pruning(Ticket.load(directory / TRAINED_FILE).apply(model))
    return _compiled_as(model, trained), ticket


def _check_model(model: Any) -> None:
  """Raises if a model of a build function cannot be tuned."""
  if not which_keras.has_base(model, 'Model'):
    raise TypeError(
      'the build function must return a keras.Model or a tf_keras.Model, but '
      f'returns {format_value(model)}.'
    )
  if model_access.of_model(model).pruned:
    raise ValueError(
      'the build function must return a model that is not wrapped, since the '
      f'tuner wraps it, but {model.name!r} is wrapped.'
    )
  # A model of Keras 3 has no optimizer before it is compiled.
  if getattr(model, 'optimizer', None) is None:
    raise ValueError(
      f'the build function must compile its model, but {model.name!r} is not '
      'compiled.'
    )


def _compiled_as(model: Any, changed: Any) -> Any:
  """Returns a changed model, compiled as the original one.

  Args:
    model: the compiled original.
    changed: what `prune_low_magnitude` or `strip_pruning` has made of it. A
      model of Keras 3 is the original itself, which stays compiled.
  """
  if changed is not model:
    changed.compile(**training_access.access(model).compiled())
  return changed


def _save(ticket: Ticket, path: pathlib.Path) -> None:
  try:
    ticket.save(path, overwrite=True)
  except OSError as error:
    raise TicketNotSavedError(error.errno, error.strerror) from error
