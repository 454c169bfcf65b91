"""TicketOracle: repeatable, resumable proposals for keras-tuner's oracles.

With the same seed and results, an oracle proposes the same trials, interrupted
or not. keras-tuner's own oracles ignore a seed of 0, lose the state of a random
generator or grid when they stop, and do not write their files atomically.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial

from tf_unilth.files import checksummed_json
from tf_unilth.files.checksummed_file import DamagedError
from tf_unilth.files.format_version import VersionError
from tf_unilth.tickets.ticket import Ticket
from tf_unilth.tuner import search_state
from tf_unilth.tuner.errors import errors_stop_the_search
from tf_unilth.tuner.objectives import Outcome, TicketObjective
from tf_unilth.user_warning import warn_user

RUNNING, IDLE, STOPPED = 'RUNNING', 'IDLE', 'STOPPED'
COMPLETED, FAILED = 'COMPLETED', 'FAILED'
# Metrics of a trial, beside the logs of its last epoch.
SPARSITY, SECONDS = 'ticket_sparsity', 'seconds'
STATE_FILE = 'oracle.json'
# Files of a trial: the ticket, and its masks with the trained weights; or the
# traceback of its failure.
TICKET_FILE, TRAINED_FILE = 'found.ticket', 'trained.ticket'
FAILURE_FILE = 'failure.txt'
# Prefix of the values that keras-tuner's Hyperband adds to a trial.
INTERNAL = 'tuner/'
_TRIAL_FILE = 'trial.json'
# Arguments of an oracle, beside its seed, that its proposals depend on.
_PROPOSAL_SETTINGS = (
  *('num_initial_points', 'alpha', 'beta'),
  *('max_epochs', 'factor', 'hyperband_iterations'),
)


class TicketOracle(keras_tuner.Oracle):
  """Base class of the oracles; precedes keras-tuner's oracle in the bases.

  The first trial takes all defaults, so the best ticket of a search is at
  least as good as the one without a search. The state of the oracle and of
  each trial is in a file with a checksum, written atomically.

  Args:
    objective: objective of the search.
    seed: seed of the proposals, at least 0.
    log: called with a line when a trial ends.
    **kwargs: arguments of keras-tuner's oracle.
  """

  objective: TicketObjective
  # Replaces a property that turns keras-tuner's display on when `search` gets
  # a `verbose`.
  verbose: Any = 0

  def __init__(
    self,
    objective: TicketObjective,
    seed: int,
    log: Callable[[str], None],
    **kwargs: Any,
  ):
    # keras-tuner takes a seed of 0 for no seed.
    super().__init__(objective=objective, seed=seed + 1, **kwargs)
    self._log = log
    self._display.verbose = 0
    self._random_state = np.random.RandomState(self.seed)

  # Proposals.

  @property
  def proposal_settings(self) -> dict[str, Any]:
    """The arguments, beside the seed, that the proposals depend on."""
    return {
      name: getattr(self, name)
      for name in _PROPOSAL_SETTINGS
      if hasattr(self, name)
    }

  def populate_space(self, trial_id: str) -> dict[str, Any]:
    """Returns the status and the values of a new trial."""
    # A generator per trial: there is no state of it to save.
    random = np.random.RandomState([self.seed, len(self.start_order)])
    self._random_state = random  # Bayesian optimization draws from it.
    self._update_scores(float(random.uniform()))
    proposal = super().populate_space(trial_id)
    if proposal.get('values') is None:
      return proposal
    internal = {
      name: value
      for name, value in proposal['values'].items()
      if name.startswith(INTERNAL)
    }
    if not self.start_order:
      proposal['values'] = {**self.default_values(), **internal}
    elif not internal and self._duplicate(proposal['values']):
      values = self._random_values()
      proposal = {'status': RUNNING if values else STOPPED, 'values': values}
    return proposal

  def default_values(self) -> dict[str, Any]:
    """Returns the default of each active hyperparameter."""
    values = keras_tuner.HyperParameters()
    for hyperparameter in self.hyperparameters.space:
      values.merge([hyperparameter])
      if values.is_active(hyperparameter):
        values.values[hyperparameter.name] = hyperparameter.default
    return values.values

  @keras_tuner.synchronized
  def create_trial(self, tuner_id: str) -> Trial:
    """Returns the next trial, or one whose status is idle or stopped."""
    trial = super().create_trial(tuner_id)
    if trial.status == STOPPED and self.ongoing_trials:
      # The worker waits, to run the trial of another worker that dies.
      self.tuner_ids.add(tuner_id)
      trial.status = IDLE
    if trial.status == RUNNING:
      # A trial that is run again may have results of its first run.
      trial.metrics, trial.score = type(trial.metrics)(), None
    return trial

  @property
  def is_complete(self) -> bool:
    """Whether `max_trials` trials have ended."""
    return bool(self.max_trials) and len(self.end_order) >= self.max_trials

  @keras_tuner.synchronized
  def abandon_worker(self, tuner_id: str) -> Trial | None:
    """Removes a dead worker and returns its trial, which is run again."""
    self.tuner_ids.discard(tuner_id)
    trial = self.ongoing_trials.pop(tuner_id, None)
    if trial is not None:
      self._retry_queue.insert(0, trial.trial_id)
      self.save()
    return trial

  # Results.

  @keras_tuner.synchronized
  def end_trial(self, trial: Trial) -> None:
    """Records and logs the result of a trial."""
    known = self.trials[trial.trial_id]
    # A worker's call rounds the values and drops the message.
    space = list(trial.hyperparameters.space)
    known.hyperparameters.merge(space, overwrite=False)
    for name, value in trial.hyperparameters.values.items():
      known.hyperparameters.values.setdefault(name, value)
    trial.hyperparameters = known.hyperparameters
    if trial.status != COMPLETED and not trial.message:
      trial.message = self._read_failure(trial.trial_id)
    super().end_trial(trial)
    self._log(self._result_line(known))

  def score_trial(self, trial: Trial) -> None:
    """Scores all completed trials, since scores may be relative."""
    trial.best_step = 0
    self._update_scores(0.5)

  def _update_scores(self, weight: float) -> None:
    trials = self.completed()
    scores = self.objective.scores([self.outcome(t) for t in trials], weight)
    for trial, score in zip(trials, scores, strict=True):
      trial.score = score

  def outcome(self, trial: Trial) -> Outcome:
    """Returns the accuracy and sparsity of a completed trial."""
    metrics = trial.metrics
    return Outcome(
      metrics.get_last_value(self.objective.name),
      metrics.get_last_value(SPARSITY),
    )

  def completed(self) -> list[Trial]:
    """Returns the trials that have a ticket, in the order of their start."""
    trials = [self.trials[trial_id] for trial_id in self.start_order]
    return [trial for trial in trials if trial.status == COMPLETED]

  def get_best_trials(self, num_trials: int = 1) -> list[Trial]:
    """Returns up to `num_trials` completed trials, the best first."""
    trials = self.completed()
    order = self.objective.order([self.outcome(trial) for trial in trials])
    return [trials[index] for index in order[:num_trials]]

  def _result_line(self, trial: Trial) -> str:
    of = f' of {self.max_trials}' if self.max_trials else ''
    head = f'trial {trial.trial_id} ({len(self.end_order)}{of} done)'
    if trial.status != COMPLETED:
      return f'{head} failed: {reason(trial.message)}'
    outcome = self.outcome(trial)
    best = self.get_best_trials()[0]
    return (
      f'{head}: {self.objective.name} {outcome.accuracy:.4f} at sparsity '
      f'{outcome.sparsity:.3%}, '
      f'{trial.metrics.get_last_value(SECONDS):.1f} s; best so far: trial '
      f'{best.trial_id}, {self.outcome(best).accuracy:.4f} at '
      f'{self.outcome(best).sparsity:.3%}'
    )

  # Files.

  def get_state(self) -> dict[str, Any]:
    """Returns the state that a search resumes from."""
    values = {
      trial_id: self.trials[trial_id].hyperparameters.values
      for trial_id in self.start_order
    }
    return {**super().get_state(), 'values': values}

  def save(self, fname: str | None = None) -> None:
    """Writes the state; `fname` is ignored."""
    checksummed_json.write(self._path(STATE_FILE), self.get_state())

  def reload(self, fname: str | None = None) -> None:
    """Reads the state; unfinished and damaged trials are run again.

    Args:
      fname: ignored.

    Raises:
      DamagedError: the file of the state is damaged.
      VersionError: it, or that of a trial, is of a newer version.
    """
    path = self._path(STATE_FILE)
    try:
      state = checksummed_json.read(path)
      search_state.check_state(state)
      with search_state.damaged_if_rejected():
        self._load_state(state)
    except VersionError as error:
      raise VersionError(
        f'{str(path.parent)!r} cannot be continued: {error}'
      ) from None
    except DamagedError as error:
      raise DamagedError(
        f'{str(path)!r} is damaged, and the search cannot go on: {error} '
        'Start a new search in another directory.'
      ) from None

  def _load_state(self, state: dict[str, Any]) -> None:
    space = keras_tuner.HyperParameters.from_config(state['hyperparameters'])
    self.trials, again = {}, []
    for trial_id in state['start_order']:
      trial = self._read_trial(trial_id)
      if trial is None or trial_id not in state['end_order']:
        hyperparameters = space.copy()
        hyperparameters.values = state['values'][trial_id]
        trial = Trial(hyperparameters, trial_id, RUNNING)
        again.append(trial_id)
      self.trials[trial_id] = trial
    done = [i for i in state['end_order'] if i not in again]
    queue = again[::-1]  # keras-tuner pops the last element.
    self.set_state(
      {**state, 'end_order': done, 'retry_queue': queue, 'ongoing_trials': {}}
    )
    self._update_scores(0.5)

  def _read_trial(self, trial_id: str) -> Trial | None:
    """Returns a trial; `None`, with a message, if a file of it is damaged."""
    directory = self._path(f'trial_{trial_id}')
    path = directory / _TRIAL_FILE
    try:
      content = checksummed_json.read(path)
      search_state.check_trial(content, trial_id)
      with search_state.damaged_if_rejected():
        trial = Trial.from_state(content)
      if trial.status == COMPLETED:
        for path in (directory / TICKET_FILE, directory / TRAINED_FILE):
          Ticket.load(path)
    except VersionError:
      raise
    except (DamagedError, OSError) as error:
      warn_user(
        f'{str(path)!r} is damaged: {error} Trial {trial_id} is run again.',
      )
      return None
    return trial

  def _save_trial(self, trial: Trial) -> None:
    path = self._path(f'trial_{trial.trial_id}') / _TRIAL_FILE
    with errors_stop_the_search():
      checksummed_json.write(path, trial.get_state())

  def _read_failure(self, trial_id: str) -> str | None:
    path = self._path(f'trial_{trial_id}') / FAILURE_FILE
    return path.read_text() if path.exists() else None

  def _path(self, name: str) -> pathlib.Path:
    return pathlib.Path(self._directory, self._project_name, name)


def reason(message: str | None) -> str:
  """Returns a traceback's last line, without the class of the exception."""
  lines = (message or 'unknown reason').strip().splitlines()
  kind, colon, text = lines[-1].partition(': ')
  return text if colon and ' ' not in kind else lines[-1]


@contextlib.contextmanager
def shortened_failures() -> Iterator[None]:
  """Replaces the traceback in keras-tuner's final error by its reason."""
  try:
    yield
  except RuntimeError as error:
    head, newline, message = str(error).partition('\n')
    if not head.startswith('Number of consecutive failures') or not newline:
      raise
    raise RuntimeError(
      'too many consecutive trials failed, the last one with: '
      f'{reason(message)}'
    ) from None
