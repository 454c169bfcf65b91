"""TicketTuner: what a search over tickets is, whoever proposes them."""

import contextlib
import os
import pathlib
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial

from tf_unilth.argument_checks import check_json
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.files import checksummed_file, checksummed_json
from tf_unilth.files.checksummed_file import DamagedError
from tf_unilth.files.directory_lock import DirectoryLock
from tf_unilth.resume import run_description
from tf_unilth.run import budget
from tf_unilth.tuner import chief, machines, oracles, worker
from tf_unilth.tuner.objectives import AccuracyAtSparsity, TicketObjective
from tf_unilth.tuner.oracles import FAILURE, TicketOracle
from tf_unilth.tuner.spaces import HyperParameters, Space
from tf_unilth.tuner.tickets import BestTicket, TrialRunner

_SEARCH = 'search.json'
# What a ticket callback adds to the logs of an epoch.
_ADDED = ('sparsity', 'stage', 'round', 'l2_lambda')


class SearchError(ValueError):
  """A search that cannot be made, or not in this directory."""


class TicketTuner(BaseTuner):
  """What the tuners of tickets share; the four are its final classes.

  A trial builds the model, wraps it, fits it from epoch 0 and takes the ticket
  out of it. All trials begin from the same seed, so that what a trial comes to
  follows from its values. A ticket that missed its sparsity has failed, and
  scores nothing. `search` goes on where it was stopped, in whatever way, with
  the same trials; what was begun is begun again.

  Args:
    hypermodel: a `keras_tuner.HyperModel`, or a function of `hp`, that returns
      a compiled tf_keras model, not wrapped.
    space: a `TicketSpace`, or a function of `hp` that returns an
      `IterativeSparsity` and a ticket callback.
    oracle: makes the oracle of (objective, seed, say).
    objective: an `AccuracyAtSparsity`, `SparsestWithin` or `Front`. `None`: the
      first of them.
    directory: of the search; it goes on if it is in there.
    seed: of the proposals, weights and data, at least 0.
    config: what else the trials depend on, as JSON can hold it: data, say. A
      search with another one is refused in the same directory.
    wrapping: further arguments of `prune_low_magnitude`, as `skip`.
    worker_timeout: seconds after which a worker that is not heard of is dead,
      above 0, with chief and workers.
    verbose: 0 is silent, 1 a line per trial.

  Raises:
    TypeError: the model is none of tf_keras's; the space or the objective is
      none of ours.
    SearchError: a `ValueError`; nothing is left to search, or the directory
      has another search.
    ValueError: an argument is out of its range.
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
    if not isinstance(objective, TicketObjective | None):
      raise TypeError(
        'objective must be an AccuracyAtSparsity, a SparsestWithin or a Front, '
        f'but is {objective!r}.'
      )
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32 - 1:
      raise ValueError(
        f'seed must be a whole number in [0, 2^32 - 1), but is {seed!r}.'
      )
    if not worker_timeout > 0:
      raise ValueError(f'worker_timeout must be > 0, but is {worker_timeout}.')
    if not callable(hypermodel) and not isinstance(
      hypermodel, keras_tuner.HyperModel
    ):
      raise TypeError(
        'hypermodel must be a HyperModel, or a function of hp that returns a '
        f'model, but is {hypermodel!r}.'
      )
    self._role = machines.role()
    self._verbose, self._timeout = verbose, worker_timeout
    self._path = pathlib.Path(directory).absolute()
    self._space, self._seed = space, int(seed)
    self._wrapping = dict(wrapping or {})
    self._read: int | None = None
    super().__init__(
      oracle(
        objective=objective or AccuracyAtSparsity(),
        seed=int(seed),
        say=self._say,
      ),
      hypermodel,
      directory=str(self._path.parent),
      project_name=self._path.name,
    )
    self._identity = self._describe(check_json('config', config or {}))
    if self._role == machines.WORKER:
      self.oracle = worker.Client(self.oracle._oracle, worker_timeout)
    elif (self._path / _SEARCH).exists():
      self._check_same(self._identity)
      self._reload()
    elif self._state.exists():
      raise SearchError(
        f'directory {str(self._path)!r} has a search that tf_unilth did not '
        'begin: choose another.'
      )

  # What keras-tuner calls.

  def _populate_initial_space(self) -> None:
    """Asks for all hyperparameters, and so builds the first model."""
    self._workshop = TrialRunner(
      self.hypermodel, self._space, self._seed, self._wrapping
    )
    hp = self.oracle.get_space()
    self.hypermodel.declare_hyperparameters(hp)
    self.oracle.update_space(hp)
    # The same for the space as keras-tuner does for a model: until all
    # conditions have been met.
    plain, self.hypermodel = (
      self.hypermodel,
      types.SimpleNamespace(build=self._workshop.wrapped),
    )
    try:
      self._activate_all_conditions()
    finally:
      self.hypermodel = plain
    if all(len(list(one.values)) < 2 for one in self.oracle.get_space().space):
      raise SearchError(
        'there is nothing to search: neither the build function nor the space '
        'asks hp for a value that can vary.'
      )

  @property
  def project_dir(self) -> str:
    """The directory of the search, made when there is something to write."""
    return str(self._path)

  def _get_tuner_fname(self) -> str:
    return str(self._path / 'none')  # An oracle's file tells all.

  def save(self) -> None:
    """Writes the state of the search."""
    if self._role != machines.WORKER:
      self.oracle.save()

  def run_trial(self, trial: Trial, *args: Any, **kwargs: Any) -> Any:
    """Makes the ticket of a trial; returns what it comes to."""
    hp = round_trip_proto(trial.hyperparameters)
    epochs = trial.hyperparameters.values.get(
      f'{oracles.INTERNAL}epochs', kwargs.pop('epochs')
    )
    made = self._workshop.make(
      hp, epochs, self._trial_path(trial), args, kwargs
    )
    trial.hyperparameters = hp
    return made

  def on_trial_end(self, trial: Trial) -> None:
    """Hands the result to the oracle."""
    if trial.message:
      # Only through a file does a chief learn of it.
      path = self._trial_path(trial) / FAILURE
      path.parent.mkdir(parents=True, exist_ok=True)
      checksummed_file.write(path, [trial.message.encode()])
    super().on_trial_end(trial)

  def load_model(self, trial: Trial) -> keras.Model:
    """Returns the stripped model of a trial."""
    return self._load(trial)[0]

  # What users call.

  def search(
    self, *args: Any, epochs: int | None = None, **kwargs: Any
  ) -> None:
    """Runs the trials that are left.

    Args:
      *args: as of the model's `fit`: data that can be read again and again.
      epochs: of each trial, at least 3; not for Hyperband, which has its own.
      **kwargs: as of the model's `fit`. Callbacks are copied for each trial.

    Raises:
      SearchError: a `ValueError`, before the first trial: an objective that no
        epoch reports; data that can be read only once; too few epochs; the
        directory has another search.
      DirectoryInUseError: another process searches in the directory.
      RuntimeError: too many trials failed one after another; with chief and
        workers, no worker is left, or no chief.
    """
    epochs = self._checked_epochs(epochs)
    if any(
      isinstance(a, types.GeneratorType) for a in (*args, *kwargs.values())
    ):
      raise SearchError(
        'the data are a generator, which can be read only once, but each trial '
        'reads them: give arrays, a tf.data.Dataset or a Sequence.'
      )
    identity = {**self._identity, 'epochs': epochs}
    if self._role == machines.WORKER:
      self._work(identity, args, {**kwargs, 'epochs': epochs})
      return
    if (self._path / _SEARCH).exists():
      self._check_same(identity)
    if self._role == machines.ALONE and not self.oracle.end_order:
      self._check_objective(epochs, args, kwargs)
    with self._locked():
      self._reload()
      checksummed_json.write(self._path / _SEARCH, identity)
      self.oracle.save()
      with _short_failures():
        if self._role == machines.CHIEF:
          chief.serve(self.oracle, self._timeout, self._say)
        else:
          super().search(*args, **kwargs, epochs=epochs)

  def get_best_tickets(self, num_tickets: int = 1) -> list[BestTicket]:
    """Returns the best tickets, at most so many, the best first.

    Args:
      num_tickets: at least 1.

    Raises:
      TicketFileError: a `ValueError`; a file of one is damaged.
    """
    if self._role == machines.WORKER:
      self._reload()  # The chief has written, and may have gone.
    found = []
    for trial in self._known.get_best_trials(num_tickets):
      model, ticket = self._load(trial)
      outcome = self._known.outcome(trial)
      found.append(
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
    return found

  # The rest.

  @property
  def _state(self) -> pathlib.Path:
    return self._path / 'oracle.json'

  def _reload(self) -> None:
    """Reads the state that is there, unless it is the one that is known."""
    if not self._state.exists():
      return
    written = self._state.stat().st_mtime_ns
    if written != self._read:
      self._known.reload()
      self._read = written

  def _checked_epochs(self, epochs: Any) -> int:
    own = self._settings_of_oracle().get('max_epochs')
    if own is not None and epochs not in (None, own):
      raise SearchError(
        f'epochs must be left to max_epochs={own}, but is {epochs!r}.'
      )
    epochs = own or epochs
    if not isinstance(epochs, int) or epochs < budget.MIN_EPOCHS:
      raise SearchError(
        f'epochs must be a whole number >= {budget.MIN_EPOCHS}, but is '
        f'{epochs!r}.'
      )
    return epochs

  def _settings_of_oracle(self) -> dict[str, Any]:
    known = self._known
    return {n: getattr(known, n) for n in _OF_ORACLES if hasattr(known, n)}

  @property
  def _known(self) -> TicketOracle:
    """The oracle of this process, which in a worker proposes nothing."""
    oracle: Any = self.oracle
    return getattr(oracle, '_oracle', oracle)

  def _load(self, trial: Trial) -> Any:
    return self._workshop.load(
      round_trip_proto(trial.hyperparameters), self._trial_path(trial)
    )

  def _trial_path(self, trial: Trial) -> pathlib.Path:
    return self._path / f'trial_{trial.trial_id}'

  def _say(self, line: str) -> None:
    if self._verbose:
      print(line, flush=True)

  def _work(self, identity: Any, args: Any, kwargs: Any) -> None:
    with self.oracle.calling():
      # The chief has answered, so it has written.
      if not (self._path / _SEARCH).exists():
        raise SearchError(
          f'directory {str(self._path)!r} is not that of the chief, but chief '
          'and workers must see the same.'
        )
      self._check_same(identity)
      self._check_objective(kwargs['epochs'], args, kwargs)
      super().search(*args, **kwargs)

  def _check_objective(self, epochs: int, args: Any, kwargs: Any) -> None:
    monitor = self.oracle.objective.name
    if monitor in _ADDED:
      return
    plain = {
      n: v for n, v in kwargs.items() if n not in ('epochs', 'callbacks')
    }
    hp = self.oracle.get_space()
    names = self._workshop.probe_log_names(
      round_trip_proto(hp), epochs, args, plain
    )
    if monitor not in names:
      raise SearchError(
        f'the objective {monitor!r} is not in the logs of the last epoch, '
        f'which hold {sorted(names)}.'
      )

  def _describe(self, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all that the trials depend on, but for the epochs."""
    known = self._known
    hp = known.get_space()
    hp.values = known.default_values()
    model, schedule, callback = self._workshop.build(hp)
    return check_json(
      'config',
      {
        'tuner': type(self).__name__,
        'objective': known.objective.settings,
        'parameters': model.count_params(),
        'wrapping': {n: repr(v) for n, v in self._wrapping.items()},
        'schedule': run_description.schedule_settings(schedule),
        'callback': {'class': type(callback).__name__, **callback.settings},
        'space': [
          {'class': type(one).__name__, **one.get_config()}
          for one in known.get_space().space
        ],
        'seed': self._seed,
        **self._settings_of_oracle(),
        'config': config,
      },
    )

  def _check_same(self, identity: Mapping[str, Any]) -> None:
    """Raises if the directory has a search with other settings."""
    path = self._path / _SEARCH
    try:
      before = checksummed_json.read(path)
    except DamagedError as error:
      raise DamagedError(f'{str(path)!r} is damaged: {error}') from None
    if 'epochs' not in identity:
      before.pop('epochs', None)
    found = list(run_description.differences(before, identity))
    if found:
      raise SearchError(
        f'directory {str(self._path)!r} has another search: '
        + '; '.join(found)
        + '. Choose another directory, or the same settings.'
      )

  @contextlib.contextmanager
  def _locked(self) -> Iterator[None]:
    self._path.mkdir(parents=True, exist_ok=True)
    lock = DirectoryLock(self._path)
    lock.acquire()
    try:
      yield
    finally:
      lock.release()


# What the proposals of an oracle depend on beside its class and seed.
_OF_ORACLES = (
  *('num_initial_points', 'alpha', 'beta'),
  *('max_epochs', 'factor', 'hyperband_iterations'),
)


def round_trip_proto(hp: HyperParameters) -> HyperParameters:
  """Returns hyperparameters as they come over the network.

  There numbers are float32; rounded everywhere, a trial comes to the same
  wherever it is run.
  """
  return keras_tuner.HyperParameters.from_proto(hp.to_proto())


@contextlib.contextmanager
def _short_failures() -> Iterator[None]:
  """Says of a search that failed why, without the traceback of a trial."""
  try:
    yield
  except RuntimeError as error:
    head, newline, message = str(error).partition('\n')
    if not head.startswith('Number of consecutive failures') or not newline:
      raise
    raise RuntimeError(
      'too many trials failed one after another; the last because: '
      f'{oracles.reason(message)}'
    ) from None
