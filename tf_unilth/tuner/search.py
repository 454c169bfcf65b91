"""TicketTuner: the search that all tuners of tickets share."""

import os
import pathlib
import types
from collections.abc import Callable, Mapping
from typing import Any

from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial

from tf_unilth.argument_checks import check_float, check_json
from tf_unilth.files import checksummed_file, synchronization
from tf_unilth.resume import run_description
from tf_unilth.tuner import chief, machines, oracles, search_checks, worker
from tf_unilth.tuner.errors import SearchError
from tf_unilth.tuner.objectives import TicketObjective
from tf_unilth.tuner.oracles import FAILURE_FILE, TicketOracle
from tf_unilth.tuner.search_directory import SearchDirectory
from tf_unilth.tuner.spaces import Space, round_trip_proto
from tf_unilth.tuner.trial_runner import BestTicket, TrialRunner

# Log keys that ticket callbacks add, which a model's own logs lack.
_CALLBACK_LOGS = ('sparsity', 'stage', 'round', 'l2_lambda')


class TicketTuner(BaseTuner):
  """Base class of `RandomSearch` and the other three tuners.

  A trial builds the model, wraps it, trains it from epoch 0 and saves its
  ticket. All trials use the same seed, so the result of a trial depends only
  on its hyperparameters. A trial whose ticket misses its target sparsity fails
  and has no score. An interrupted `search` resumes with the same trials;
  unfinished trials are run again.

  Args:
    hypermodel: a `keras_tuner.HyperModel`, or a function of `hp`, that returns
      a compiled, unwrapped model of tf_keras or Keras 3.
    space: a `TicketSpace`, or a function of `hp` that returns an
      `IterativeSparsity` and a ticket callback.
    oracle: returns the oracle; called with the keyword arguments `objective`,
      `seed` and `log`.
    objective: an `AccuracyAtSparsity`, `SparsestWithin` or `Front`. `None`:
      `AccuracyAtSparsity()`.
    directory: directory of the search. A search that it contains is resumed.
    seed: seed of proposals, weights and data, in [0, 2^32 - 1).
    config: JSON-serializable description of whatever else the trials depend
      on, such as the data. Another `config` in the same directory is an error.
    wrapping: further arguments of `prune_low_magnitude`, such as `skip`.
    worker_timeout: seconds without a call after which the chief considers a
      worker dead, above 0.
    verbose: 0 is silent, 1 prints a line per trial.

  Raises:
    TypeError: `hypermodel` does not return a Keras model, or `space` or
      `objective` has the wrong type.
    SearchError: a `ValueError`; the space is empty, or the directory has
      another search.
    ValueError: an argument is out of range.
  """

  oracle: TicketOracle
  hypermodel: Any

  def __init__(
    self,
    hypermodel: Any,
    space: Space,
    oracle: Callable[..., TicketOracle],
    *,
    objective: TicketObjective | None = None,
    directory: str | os.PathLike[str] = 'search',
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    wrapping: Mapping[str, Any] | None = None,
    worker_timeout: float = 60,
    verbose: int = 1,
  ):
    objective = search_checks.check_objective(objective)
    seed = search_checks.check_seed(seed)
    timeout = check_float('worker_timeout', worker_timeout, '(0, inf)')
    hypermodel = search_checks.check_hypermodel(hypermodel)
    self._role = machines.role()
    self._verbose, self._worker_timeout = verbose, timeout
    path = pathlib.Path(directory).absolute()
    self._directory = SearchDirectory(path)
    self._runner = TrialRunner(hypermodel, space, seed, dict(wrapping or {}))
    # In a worker `self.oracle` forwards to the chief, and this one is local.
    self._local_oracle = oracle(objective=objective, seed=seed, log=self._log)
    super().__init__(
      self._local_oracle,
      hypermodel,
      directory=str(path.parent),
      project_name=path.name,
    )
    self._settings = self._describe(check_json('config', config or {}))
    if self._role == machines.WORKER:
      self.oracle = worker.Client(self._local_oracle, timeout)
    else:
      self._load_search()

  # Methods that keras-tuner calls.

  def _populate_initial_space(self) -> None:
    """Registers all hyperparameters, which builds the first model."""
    hp = self.oracle.get_space()
    self.hypermodel.declare_hyperparameters(hp)
    self.oracle.update_space(hp)
    # keras-tuner builds the model until every conditional hyperparameter was
    # active once. Here a build also calls the space.
    plain, self.hypermodel = (
      self.hypermodel,
      types.SimpleNamespace(build=self._runner.build_wrapped),
    )
    try:
      self._activate_all_conditions()
    finally:
      self.hypermodel = plain
    if all(len(list(one.values)) < 2 for one in self.oracle.get_space().space):
      raise SearchError(
        'there is nothing to search: neither the build function nor the space '
        'has a hyperparameter with more than one value.'
      )

  @property
  def project_dir(self) -> str:
    """The directory of the search, created by the first write."""
    return str(self._directory.path)

  def _get_tuner_fname(self) -> str:
    # keras-tuner reloads a tuner from this file. The oracle's file suffices.
    return str(self._directory.path / 'none')

  def save(self) -> None:
    """Writes the state of the search."""
    if self._role != machines.WORKER:
      self.oracle.save()

  def run_trial(self, trial: Trial, *args: Any, **kwargs: Any) -> Any:
    """Trains the ticket of a trial; returns its metrics by name."""
    hp = round_trip_proto(trial.hyperparameters)
    epochs = trial.hyperparameters.values.get(
      f'{oracles.INTERNAL}epochs', kwargs.pop('epochs')
    )
    metrics = self._runner.train_ticket(
      hp, epochs, self._directory.trial(trial.trial_id), args, kwargs
    )
    trial.hyperparameters = hp
    return metrics

  def on_trial_end(self, trial: Trial) -> None:
    """Reports the result to the oracle."""
    if trial.message:
      # The call to a chief drops the message, so a file passes it on.
      path = self._directory.trial(trial.trial_id) / FAILURE_FILE
      synchronization.make_folder(path.parent)
      checksummed_file.write(path, [trial.message.encode()])
    super().on_trial_end(trial)

  def load_model(self, trial: Trial) -> Any:
    """Returns the stripped model of a trial."""
    return self._load(trial)[0]

  # Methods that users call.

  def search(
    self, *args: Any, epochs: int | None = None, **kwargs: Any
  ) -> None:
    """Runs the remaining trials.

    Args:
      *args: arguments of the model's `fit`. Each trial reads the data again.
      epochs: epochs of each trial, at least 3. `None` for Hyperband, which
        takes them from `max_epochs`.
      **kwargs: arguments of the model's `fit`. Each trial gets copies of the
        callbacks.

    Raises:
      SearchError: a `ValueError`, before the first trial: the objective is not
        in the logs of the last epoch, the data are a generator, `epochs` is
        too small, or the directory has another search.
      DirectoryInUseError: another process searches in the directory.
      RuntimeError: too many consecutive trials failed; or, with chief and
        workers, no worker calls or the chief does not answer.
    """
    max_epochs = self._local_oracle.proposal_settings.get('max_epochs')
    epochs = search_checks.check_epochs(epochs, max_epochs)
    search_checks.check_data(args, kwargs)
    settings = {**self._settings, 'epochs': epochs}
    if self._role == machines.WORKER:
      self._search_as_worker(settings, args, {**kwargs, 'epochs': epochs})
      return
    if self._directory.has_settings:
      self._directory.check_settings(settings)
    if self._role == machines.ALONE and not self.oracle.end_order:
      self._check_monitor(epochs, args, kwargs)
    with self._directory.locked():
      self._directory.reload(self._local_oracle)
      self._directory.write_settings(settings)
      self.oracle.save()
      with oracles.shortened_failures():
        if self._role == machines.CHIEF:
          chief.serve(self.oracle, self._worker_timeout, self._log)
        else:
          super().search(*args, **kwargs, epochs=epochs)

  def get_best_tickets(self, num_tickets: int = 1) -> list[BestTicket]:
    """Returns up to `num_tickets` tickets, the best first.

    Args:
      num_tickets: at least 1.

    Raises:
      TicketFileError: a `ValueError`; a ticket's file is damaged.
    """
    oracle = self._local_oracle
    if self._role == machines.WORKER:
      # From the file, since the chief may have exited.
      self._directory.reload(oracle)
    tickets = []
    for trial in oracle.get_best_trials(num_tickets):
      model, ticket = self._load(trial)
      outcome = oracle.outcome(trial)
      tickets.append(
        BestTicket(
          model,
          ticket,
          trial.trial_id,
          dict(trial.hyperparameters.values),
          trial.score,
          outcome.accuracy,
          outcome.sparsity,
        )
      )
    return tickets

  # Private methods.

  def _load_search(self) -> None:
    """Loads the search in the directory, if there is one."""
    if self._directory.has_settings:
      self._directory.check_settings(self._settings)
      self._directory.reload(self._local_oracle)
    elif self._directory.has_state:
      raise SearchError(
        f'directory {self.project_dir!r} has a search that tf_unilth did not '
        'begin: use another directory.'
      )

  def _load(self, trial: Trial) -> Any:
    return self._runner.load_ticket(
      round_trip_proto(trial.hyperparameters),
      self._directory.trial(trial.trial_id),
    )

  def _log(self, line: str) -> None:
    if self._verbose:
      print(line, flush=True)

  def _search_as_worker(self, settings: Any, args: Any, kwargs: Any) -> None:
    with self.oracle.calling():
      # The chief writes the settings before it answers.
      if not self._directory.has_settings:
        raise SearchError(
          f'directory {self.project_dir!r} is not that of the chief: chief and '
          'workers must use the same directory.'
        )
      self._directory.check_settings(settings)
      self._check_monitor(kwargs['epochs'], args, kwargs)
      super().search(*args, **kwargs)

  def _check_monitor(self, epochs: int, args: Any, kwargs: Any) -> None:
    """Raises if the logs of the last epoch lack the monitored value."""
    monitor = self.oracle.objective.name
    if monitor in _CALLBACK_LOGS:
      return
    plain = {
      n: v for n, v in kwargs.items() if n not in ('epochs', 'callbacks')
    }
    hp = self.oracle.get_space()
    names = self._runner.probe_log_names(
      round_trip_proto(hp), epochs, args, plain
    )
    if monitor not in names:
      raise SearchError(
        f'the objective {monitor!r} is not in the logs of the last epoch, '
        f'which have {sorted(names)}.'
      )

  def _describe(self, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings that the trials depend on, except the epochs."""
    oracle, runner = self._local_oracle, self._runner
    hp = oracle.get_space()
    hp.values = oracle.default_values()
    model, schedule, callback = runner.build(hp)
    return check_json(
      'config',
      {
        'tuner': type(self).__name__,
        'objective': oracle.objective.settings,
        'parameters': model.count_params(),
        'wrapping': {n: repr(v) for n, v in runner.wrapping.items()},
        'schedule': run_description.schedule_settings(schedule),
        'callback': {'class': type(callback).__name__, **callback.settings},
        'space': [
          {'class': type(one).__name__, **one.get_config()}
          for one in oracle.get_space().space
        ],
        'seed': runner.seed,
        **oracle.proposal_settings,
        'config': config,
      },
    )
