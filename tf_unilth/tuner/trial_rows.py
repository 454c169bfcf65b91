"""trial_rows: the trials of a search as rows of a table."""

from typing import Any

from tf_unilth.tuner import oracles
from tf_unilth.tuner.objectives import front
from tf_unilth.tuner.search import TicketTuner


def trial_rows(search: TicketTuner) -> list[dict[str, Any]]:
  """Returns the trials of a search in the order in which they began.

  Args:
    search: a tuner, whose search has ended or not.

  Returns:
    Per trial `trial` (its id), `status`, the hyperparameters and, with
    Hyperband, `epochs`. A completed trial also has `score`, `accuracy`,
    `sparsity` and `on_front` (whether no other trial is better in both) and
    `seconds`; any other a `message`.

  >>> with tempfile.TemporaryDirectory() as directory:
  ...   search = RandomSearch(build, TicketSpace(0.8), directory=directory)
  ...   trial_rows(search)
  []
  """
  oracle = search.oracle
  completed = oracle.completed()
  on_front = front([oracle.outcome(trial) for trial in completed])
  best = {completed[index].trial_id for index in on_front}
  return [
    _row(oracle, oracle.trials[trial_id], trial_id in best)
    for trial_id in oracle.start_order
  ]


def _row(oracle: Any, trial: Any, on_front: bool) -> dict[str, Any]:
  is_completed = trial.status == oracles.COMPLETED
  row = {'trial': trial.trial_id, 'status': trial.status.lower()}
  if is_completed:
    outcome = oracle.outcome(trial)
    row |= {
      'score': trial.score,
      'accuracy': outcome.accuracy,
      'sparsity': outcome.sparsity,
      'on_front': on_front,
      'seconds': trial.metrics.get_last_value(oracles.SECONDS),
    }
  values, internal = trial.hyperparameters.values, oracles.INTERNAL
  epochs = values.get(f'{internal}epochs')
  if epochs is not None:
    row['epochs'] = epochs
  row |= {n: v for n, v in values.items() if not n.startswith(internal)}
  if not is_completed:
    row['message'] = oracles.reason(trial.message)
  return row
