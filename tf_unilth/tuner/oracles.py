"""What proposes the trials: keras-tuner's oracles, made to repeat and resume.

With the same seed and the same results an oracle proposes the same trials,
whether it was stopped in between or not. keras-tuner's own take a seed of 0 for
none, lose the state of a random generator or of a grid when they are stopped,
and write their files in place.
"""

import functools
import pathlib
import sys
import warnings
from collections.abc import Callable
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial

from tf_unilth.files import checksummed_json
from tf_unilth.files.checksummed_file import DamagedError
from tf_unilth.run import budget
from tf_unilth.tickets.ticket import Ticket
from tf_unilth.tuner.objectives import Outcome, TicketObjective

RUNNING, IDLE, STOPPED = 'RUNNING', 'IDLE', 'STOPPED'
COMPLETED, FAILED = 'COMPLETED', 'FAILED'
# Beside the monitored value, in the metrics of a trial.
SPARSITY, SECONDS = 'ticket_sparsity', 'seconds'
# What is kept of a trial: the ticket, and the same masks over what it came to;
# or why there is none.
FOUND, TRAINED = 'found.ticket', 'trained.ticket'
FAILURE = 'failure.txt'
# How keras-tuner's Hyperband names what is no hyperparameter.
INTERNAL = 'tuner/'


class TicketOracle(keras_tuner.Oracle):
  """What the oracles of tickets share; mixed in before keras-tuner's.

  The first trial takes all defaults: what a search finds is at least as good
  as what comes without one. An oracle's state, and each trial's, is in a file
  with a checksum, which is written whole.

  Args:
    objective: what the search is for.
    seed: of the proposals, at least 0.
    say: takes a line about each trial that ends.
    **kwargs: as of keras-tuner's oracle.
  """

  objective: TicketObjective
  # What keras-tuner's `search` sets, for its own display.
  verbose: Any = 0

  def __init__(
    self,
    objective: TicketObjective,
    seed: int,
    say: Callable[[str], None],
    **kwargs: Any,
  ):
    # To keras-tuner a seed of 0 is none.
    super().__init__(objective=objective, seed=seed + 1, **kwargs)
    self._say = say
    self._display.verbose = 0

  # Proposals.

  def populate_space(self, trial_id: str) -> dict[str, Any]:
    """Returns the values of a new trial."""
    random = np.random.RandomState([self.seed, len(self.start_order)])
    self._random_state = random  # Of the acquisition, where there is one.
    self._rescore(float(random.uniform()))
    found = super().populate_space(trial_id)
    if found.get('values') is None:
      return found
    internal = {
      name: value
      for name, value in found['values'].items()
      if name.startswith(INTERNAL)
    }
    if not self.start_order:
      found['values'] = {**self.default_values(), **internal}
    elif not internal and self._duplicate(found['values']):
      values = self._random_values()
      found = {'status': RUNNING if values else STOPPED, 'values': values}
    return found

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
    """Returns the next trial, or one that says why there is none."""
    trial = super().create_trial(tuner_id)
    if trial.status == STOPPED and self.ongoing_trials:
      # Not dismissed: another worker may die and leave its trial.
      self.tuner_ids.add(tuner_id)
      trial.status = IDLE
    if trial.status == RUNNING:
      # One that is run again may have some of before.
      trial.metrics, trial.score = type(trial.metrics)(), None
    return trial

  @property
  def is_complete(self) -> bool:
    """Whether all trials that may be have ended."""
    return bool(self.max_trials) and len(self.end_order) >= self.max_trials

  @keras_tuner.synchronized
  def abandon_worker(self, tuner_id: str) -> Trial | None:
    """Takes note that a worker is dead; returns the trial that it leaves."""
    self.tuner_ids.discard(tuner_id)
    trial = self.ongoing_trials.pop(tuner_id, None)
    if trial is not None:
      self._retry_queue.insert(0, trial.trial_id)
      self.save()
    return trial

  # Results.

  @keras_tuner.synchronized
  def end_trial(self, trial: Trial) -> None:
    """Takes a finished trial, and says what it has come to."""
    known = self.trials[trial.trial_id]
    # Over the network its values were rounded, and its message was lost.
    space = list(trial.hyperparameters.space)
    known.hyperparameters.merge(space, overwrite=False)
    for name, value in trial.hyperparameters.values.items():
      known.hyperparameters.values.setdefault(name, value)
    trial.hyperparameters = known.hyperparameters
    if trial.status != COMPLETED and not trial.message:
      trial.message = self._failure_of(trial.trial_id)
    super().end_trial(trial)
    self._say(self._line(known))

  def score_trial(self, trial: Trial) -> None:
    """Scores a finished trial, and the others again beside it."""
    trial.best_step = 0
    self._rescore(0.5)

  def _rescore(self, weight: float) -> None:
    trials = self.completed()
    scores = self.objective.scores([self.outcome(t) for t in trials], weight)
    for trial, score in zip(trials, scores, strict=True):
      trial.score = score

  def outcome(self, trial: Trial) -> Outcome:
    """Returns what a finished trial's ticket has come to."""
    metrics = trial.metrics
    return Outcome(
      metrics.get_last_value(self.objective.name),
      metrics.get_last_value(SPARSITY),
    )

  def completed(self) -> list[Trial]:
    """Returns the trials that ended with a ticket, in their order."""
    trials = [self.trials[trial_id] for trial_id in self.start_order]
    return [trial for trial in trials if trial.status == COMPLETED]

  def get_best_trials(self, num_trials: int = 1) -> list[Trial]:
    """Returns the best trials, at most so many, of those with a ticket."""
    trials = self.completed()
    order = self.objective.order([self.outcome(trial) for trial in trials])
    return [trials[index] for index in order[:num_trials]]

  def _line(self, trial: Trial) -> str:
    """Returns what to say of a trial that has ended."""
    of = f' of {self.max_trials}' if self.max_trials else ''
    head = f'trial {trial.trial_id} ({len(self.end_order)}{of} done)'
    if trial.status != COMPLETED:
      return f'{head} failed: {reason(trial.message)}'
    outcome = self.outcome(trial)
    best = self.get_best_trials()[0]
    return (
      f'{head}: {self.objective.name} {outcome.accuracy:.4f} at '
      f'{outcome.sparsity:.3%}, '
      f'{trial.metrics.get_last_value(SECONDS):.1f} s; best so far is trial '
      f'{best.trial_id} with {self.outcome(best).accuracy:.4f} at '
      f'{self.outcome(best).sparsity:.3%}'
    )

  # Files.

  def get_state(self) -> dict[str, Any]:
    """Returns what a search goes on from."""
    values = {
      trial_id: self.trials[trial_id].hyperparameters.values
      for trial_id in self.start_order
    }
    return {**super().get_state(), 'values': values}

  def save(self, fname: str | None = None) -> None:
    """Writes the state."""
    checksummed_json.write(self._path('oracle.json'), self.get_state())

  def reload(self, fname: str | None = None) -> None:
    """Reads the state; trials that did not end, or are damaged, run again.

    Raises:
      DamagedError: the state itself cannot be read.
    """
    path = self._path('oracle.json')
    try:
      state = checksummed_json.read(path)
    except DamagedError as error:
      raise DamagedError(
        f'{str(path)!r} is damaged, and the search cannot go on from it: '
        f'{error} Begin another, in another directory.'
      ) from None
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
    # The queue is read from its end.
    queue = again[::-1]
    self.set_state(
      {**state, 'end_order': done, 'retry_queue': queue, 'ongoing_trials': {}}
    )
    self._rescore(0.5)

  def _read_trial(self, trial_id: str) -> Trial | None:
    """Returns a trial, `None` if a file of it is damaged, which is said."""
    directory = self._path(f'trial_{trial_id}')
    path = directory / 'trial.json'
    try:
      trial = Trial.from_state(checksummed_json.read(path))
      if trial.status == COMPLETED:
        for path in (directory / FOUND, directory / TRAINED):
          Ticket.load(path)
    except (DamagedError, OSError) as error:
      print(
        f'{str(path)!r} is damaged: {error} Trial {trial_id} is run again.',
        file=sys.stderr,
      )
      return None
    return trial

  def _save_trial(self, trial: Trial) -> None:
    path = self._path(f'trial_{trial.trial_id}/trial.json')
    checksummed_json.write(path, trial.get_state())

  def _failure_of(self, trial_id: str) -> str | None:
    path = self._path(f'trial_{trial_id}/{FAILURE}')
    return path.read_text() if path.exists() else None

  def _path(self, name: str) -> pathlib.Path:
    return pathlib.Path(self._directory, self._project_name, name)


def reason(message: str | None) -> str:
  """Returns the last line of a traceback, without where the error is from."""
  lines = (message or 'it does not say why').strip().splitlines()
  kind, colon, said = lines[-1].partition(': ')
  return said if colon and ' ' not in kind else lines[-1]


class RandomSearchOracle(TicketOracle, keras_tuner.oracles.RandomSearchOracle):
  """Random values, no two trials alike."""


class BayesianOptimizationOracle(
  TicketOracle, keras_tuner.oracles.BayesianOptimizationOracle
):
  """Where a Gaussian process expects most, after some random trials."""

  num_initial_points: int | None

  def populate_space(self, trial_id: str) -> dict[str, Any]:
    """Returns the values of a new trial."""
    import threadpoolctl  # It comes with scikit-learn, which only this needs.

    if self.num_initial_points is None:
      self.num_initial_points = max(2, len(self._nonfixed_space()))
    # Its matrices are tiny: threads that share one would only wait, on a busy
    # machine for minutes.
    with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1):
      # Of scikit-learn, that a length scale is at its bound: where a
      # hyperparameter does not matter it is.
      warnings.simplefilter('ignore')
      return super().populate_space(trial_id)


class GridSearchOracle(TicketOracle, keras_tuner.oracles.GridSearchOracle):
  """All combinations, in order."""

  _ordered_ids: Any

  def set_state(self, state: dict[str, Any]) -> None:
    """Takes a state, and finds its place in the grid by the trials."""
    super().set_state(state)
    key = functools.cmp_to_key(
      lambda a, b: self._compare(state['values'][a], state['values'][b])
    )
    self._ordered_ids = type(self._ordered_ids)()
    for trial_id in sorted(self.start_order, key=key):
      self._ordered_ids.insert(trial_id)
    # Those whose next combination was tried are passed over.
    self._populate_next = list(self.start_order)


class HyperbandOracle(TicketOracle, keras_tuner.oracles.HyperbandOracle):
  """Many short trials, of which the best are repeated with more epochs.

  Args:
    max_trials: at most so many; `None` for as many as the brackets have.
    **kwargs: as of keras-tuner's oracle.
  """

  def __init__(self, max_trials: int | None = None, **kwargs: Any):
    super().__init__(**kwargs)
    self.max_trials = max_trials
    # Fewer make no ticket; the brackets that keras-tuner has begun have fewer.
    self.min_epochs = budget.MIN_EPOCHS
    self._current_bracket = self._get_num_brackets() - 1
    self._brackets: list[dict[str, Any]] = []
    self._start_new_bracket()
