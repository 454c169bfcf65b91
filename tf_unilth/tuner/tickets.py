"""A trial's ticket: how it is made, kept and taken out again."""

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

from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.engines.tfmot import keras_3_errors, keras_access, model_layers
from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.prune_low_magnitude import prune_low_magnitude
from tf_unilth.engines.tfmot.sparsity_summary import sparsity_summary
from tf_unilth.engines.tfmot.strip_pruning import strip_pruning
from tf_unilth.tickets.ticket import Ticket
from tf_unilth.tuner.oracles import FOUND, SECONDS, SPARSITY, TRAINED
from tf_unilth.tuner.spaces import HyperParameters, Space


@dataclasses.dataclass(frozen=True)
class BestTicket:
  """A ticket that a search has found.

  Args:
    model: the trained sparse model, without wrappers, compiled.
    ticket: its masks, and what they were rewound to, if they were.
    trial_id: of which trial.
    values: its hyperparameters, by name.
    score: by the objective.
    accuracy: the monitored value after the last epoch.
    sparsity: fraction of zeros over the wrapped weights.
  """

  model: keras.Model
  ticket: Ticket
  trial_id: str
  values: Mapping[str, Any]
  score: float
  accuracy: float
  sparsity: float


class LastLogs(keras.callbacks.Callback):
  """Keeps the logs of the last epoch."""

  logs: dict[str, float]

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    self.logs = {name: float(value) for name, value in (logs or {}).items()}


class OneStep(keras.callbacks.Callback):
  """Ends an epoch after its first step."""

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    self.model.stop_training = True


@dataclasses.dataclass(frozen=True)
class TrialRunner:
  """Where tickets are made: a model, a space, and a seed.

  Args:
    hypermodel: builds and fits models.
    space: returns a schedule and a callback.
    seed: of weights and data, the same for all trials: what a trial comes to
      follows from its values.
    wrapping: further arguments of `prune_low_magnitude`.
  """

  hypermodel: keras_tuner.HyperModel
  space: Space
  seed: int
  wrapping: Mapping[str, Any]

  def build(
    self, hp: HyperParameters
  ) -> tuple[keras.Model, IterativeSparsity, TicketCallback]:
    """Returns a compiled model, and what to prune it by.

    Raises:
      TypeError: the model is none of tf_keras's.
      ValueError: it is wrapped, or not compiled.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(self.seed)
    model = self.hypermodel.build(hp)
    keras_3_errors.check_keras(
      model, 'what the build function returns', keras.Model
    )
    if model_layers.has_wrappers(model):
      raise ValueError(
        'the build function must return a model that is not wrapped, since the '
        f'space says how it is pruned, but {model.name!r} is.'
      )
    if model.optimizer is None:
      raise ValueError(
        f'the build function must compile its model, but {model.name!r} is not.'
      )
    return model, *self._pruning(hp)

  def _pruning(
    self, hp: HyperParameters
  ) -> tuple[IterativeSparsity, TicketCallback]:
    found = self.space(hp)
    fits = isinstance(found, tuple) and len(found) == 2
    if not (
      fits
      and isinstance(found[0], IterativeSparsity)
      and isinstance(found[1], TicketCallback)
    ):
      raise TypeError(
        'the space must return an IterativeSparsity and a ticket callback, but '
        f'returns {found!r}.'
      )
    return found

  def wrapped(
    self, hp: HyperParameters
  ) -> tuple[keras.Model, IterativeSparsity, TicketCallback]:
    """Returns as `build` does, with the model wrapped and compiled again."""
    model, schedule, callback = self.build(hp)
    wrapped = prune_low_magnitude(model, schedule, **self.wrapping)
    wrapped.compile(**keras_access.compile_arguments(model))
    return wrapped, schedule, callback

  def probe_log_names(
    self, hp: HyperParameters, epochs: int, args: Any, kwargs: Any
  ) -> list[str]:
    """Returns the names in the logs of the last epoch of a `fit`.

    Nothing is known of them before a model has seen data: the plain model
    trains for one step of that epoch, and validates as it then would.
    """
    model, _, _ = self.build(hp)
    last = LastLogs()
    self._fit(hp, model, epochs, [OneStep(), last], args, kwargs, epochs - 1)
    return list(last.logs)

  def make(
    self,
    hp: HyperParameters,
    epochs: int,
    directory: pathlib.Path,
    args: Any,
    kwargs: Any,
  ) -> dict[str, float]:
    """Trains a ticket, from epoch 0, and keeps it in a directory.

    Returns:
      The logs of the last epoch, the sparsity and the seconds.

    Raises:
      FailedTrialError: the ticket missed its sparsity.
    """
    begin = time.perf_counter()
    model, schedule, callback = self.wrapped(hp)
    last = LastLogs()
    self._fit(hp, model, epochs, [callback, last], args, kwargs)
    summary = sparsity_summary(model)
    if not callback.reached_target or summary.sparsity < callback.sparsity:
      raise FailedTrialError(
        f'the ticket missed its sparsity of {schedule.target_sparsity:.4%}: '
        f'{summary.zeros} of {summary.total_weights} weights are zero.'
      )
    directory.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
      # Whether it has masks only, whoever loads it is told.
      warnings.filterwarnings('ignore', 'the ticket of model .* has masks only')
      found = Ticket.from_model(model, callback)
    found.save(directory / FOUND, overwrite=True)
    stripped = strip_pruning(model)
    trained = Ticket.from_model(
      stripped,
      method=type(callback).__name__,
      seed=callback.seed,
      rewind_weights=stripped.get_weights(),
    )
    trained.save(directory / TRAINED, overwrite=True)
    return {
      **{n: value for n, value in last.logs.items() if np.isfinite(value)},
      SPARSITY: callback.sparsity,
      SECONDS: time.perf_counter() - begin,
    }

  def _fit(
    self,
    hp: HyperParameters,
    model: keras.Model,
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

  def load(
    self, hp: HyperParameters, directory: pathlib.Path
  ) -> tuple[keras.Model, Ticket]:
    """Returns the stripped model and the ticket that `make` has kept.

    Raises:
      TicketFileError: a file is damaged.
      OSError: it cannot be read.
    """
    found = Ticket.load(directory / FOUND)
    model, _, _ = self.build(hp)
    trained = strip_pruning(Ticket.load(directory / TRAINED).apply(model))
    trained.compile(**keras_access.compile_arguments(model))
    return trained, found
