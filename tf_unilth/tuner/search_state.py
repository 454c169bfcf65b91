"""Checks what the files of a search state, before anything is made of it.

Plain Python: keras-tuner makes objects of what has passed.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from tf_unilth.files.checksummed_file import DamagedError, require

# A trial's id is a part of the path of its directory.
_TRIAL_ID = re.compile(r'[0-9A-Za-z_]{1,64}')
# keras-tuner makes an object of any class that is registered with Keras.
_HYPERPARAMETERS = ('Boolean', 'Choice', 'Fixed', 'Float', 'Int')
_STATE: dict[str, type] = {
  **dict.fromkeys(('hyperparameters', 'values', 'ongoing_trials'), dict),
  **dict.fromkeys(('run_times', 'id_to_hash', 'display'), dict),
  **dict.fromkeys(('start_order', 'end_order', 'retry_queue'), list),
  **{'tried_so_far': list, 'seed': int, 'seed_state': int},
}
_TRIAL: dict[str, type | tuple[type, ...]] = {
  **dict.fromkeys(('hyperparameters', 'metrics'), dict),
  **{'trial_id': str, 'status': str, 'message': (str, type(None))},
  **dict.fromkeys(('score', 'best_step'), (int, float, type(None))),
}
_STATUSES = ('COMPLETED', 'FAILED', 'IDLE', 'INVALID', 'RUNNING', 'STOPPED')
_MAX_SPACE = 10_000


def check_state(state: dict[str, Any]) -> None:
  """Checks the state of an oracle.

  Args:
    state: the content of its file.

  Raises:
    DamagedError: it is not what an oracle saves.
  """
  _check_types(state, _STATE)
  started, ended = state['start_order'], state['end_order']
  for trial_id in started:
    check_trial_id(trial_id)
  require(len({*started}) == len(started), 'a trial has begun twice.')
  for name in ('end_order', 'retry_queue'):
    known = all(isinstance(i, str) and i in started for i in state[name])
    require(known, f'its {name} has a trial that has not begun.')
  require(len({*ended}) == len(ended), 'a trial has ended twice.')
  values = state['values']
  require(values.keys() == {*started}, 'its values are not of its trials.')
  are_dicts = all(isinstance(value, dict) for value in values.values())
  require(are_dicts, 'the values of a trial are not an object.')
  _check_hyperparameters(state['hyperparameters'])


def check_trial(trial: dict[str, Any], trial_id: str) -> None:
  """Checks the state of a trial.

  Args:
    trial: the content of its file.
    trial_id: the trial that it must be of.

  Raises:
    DamagedError: it is not what a trial saves, or of another trial.
  """
  _check_types(trial, _TRIAL)
  found = trial['trial_id']
  require(found == trial_id, f'it is of trial {found!r:.80}.')
  require(trial['status'] in _STATUSES, 'its status is unknown.')
  _check_hyperparameters(trial['hyperparameters'])


def check_trial_id(trial_id: Any) -> None:
  """Checks the id of a trial, which becomes a part of a path.

  Args:
    trial_id: any value.

  Raises:
    DamagedError: it is not a short name of letters, digits and underscores.
  """
  is_name = isinstance(trial_id, str) and _TRIAL_ID.fullmatch(trial_id)
  require(bool(is_name), f'a trial has the invalid id {trial_id!r:.80}.')


@contextlib.contextmanager
def damaged_if_rejected() -> Iterator[None]:
  """Turns errors of keras-tuner about a value into a `DamagedError`."""
  try:
    yield
  except (DamagedError, OSError, MemoryError):
    raise
  # Values of wrong types and ranges raise errors of many classes.
  except Exception as error:
    lines = str(error).splitlines() or ['']
    raise DamagedError(
      f'keras-tuner rejects it ({type(error).__name__}: {lines[0]:.200}).'
    ) from None


def _check_types(content: dict[str, Any], types: dict[str, Any]) -> None:
  for name, kinds in types.items():
    fits = isinstance(content.get(name), kinds) and name in content
    require(
      fits and not isinstance(content[name], bool),
      f'its {name} is missing or of another type.',
    )


def _check_hyperparameters(config: dict[str, Any]) -> None:
  space, values = config.get('space'), config.get('values')
  fits = isinstance(space, list) and isinstance(values, dict)
  require(fits, 'its hyperparameters have no space or no values.')
  assert isinstance(space, list)
  require(len(space) <= _MAX_SPACE, 'it has too many hyperparameters.')
  for one in space:
    fits = isinstance(one, dict) and isinstance(one.get('config'), dict)
    require(
      fits and one.get('class_name') in _HYPERPARAMETERS,
      'a hyperparameter is of an unknown class.',
    )
