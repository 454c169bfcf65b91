"""One case of the argument fuzz: drawn, tried, judged."""

import contextlib
import dataclasses
import io
import os
import pathlib
import re
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from recipes.training import experiment
from tests.stress import channel_checks, model_checks
from tests.testing import (
  random_calls,
  random_flags,
  random_runs,
  tiny_recipe,
)
from tests.testing.argument_values import value_of
from tests.testing.draw import Draw
from tests.testing.random_calls import Call
from tf_unilth.files.directory_lock import LOCK_FILES

ACCEPTED, REFUSED, FAILED = 'accepted', 'refused', 'failed'
FLAGS, A_RUN = 'recipe flags', 'a run'

_OURS = os.path.dirname(tf_unilth.__file__) + os.sep
_KINDS = (ValueError, TypeError, FloatingPointError, OSError)
# What says what is allowed.
_ALLOWED = re.compile(
  r'\b(must|needs?|cannot|choose|only by|first|strip_pruning|nothing to prune'
  r'|is no (flag|layer)|exists|holds a run|is not an intact|takes|does not fit'
  r'|exclude|which hold|at most'
  # What absl says of flags.
  r'|in the range|is not number|(positive|non-negative) (integer|number)'
  r'|should be|invalid literal|could not convert|Non-boolean|limit'
  r'|Unknown command line flag)\b'
)
_HUGE = 'a huge number'
_LAYERS = 2  # Of the tiny recipe.
_LONGEST = 600  # Characters of a message that a person reads.
_SHOWN = 12  # Characters of a value by which a message is known to show it.


@dataclasses.dataclass
class Row:
  """What became of a case."""

  index: int
  subject: str = ''
  arguments: str = ''
  outcome: str = FAILED
  text: str = ''
  seconds: float = 0.0

  @property
  def can_train(self) -> bool:
    """Whether it was accepted, and is of what can be trained."""
    can = self.subject == FLAGS or self.subject.startswith(A_RUN)
    return can and self.outcome == ACCEPTED


class Refused(Exception):
  """A binary has ended with an error; its text is what it said."""


class Wrong(Exception):
  """A check did not hold."""


def draw(seed: int, index: int) -> Call:
  """Returns the case of a seed and an index."""
  return draw_call(Draw(seed, index))


def draw_call(d: Draw) -> Call:
  """Returns a random case."""
  kind = d.one(['flags', 'run', 'call', 'call'])
  if kind == 'flags':
    return random_flags.draw_call(d)
  if kind == 'run':
    return random_runs.draw_call(d)
  return random_calls.draw_call(d)


def check(seed: int, index: int) -> Row:
  """Tries the arguments of a case, without training."""
  return check_call(draw(seed, index), index)


def check_call(call: Call, index: int = 0) -> Row:
  """Tries the arguments of a call, without training."""
  if call.subject == FLAGS:
    return _row(index, call, lambda: _parse_and_check(call))
  if call.subject.startswith(A_RUN):
    return _row(index, call, lambda: random_runs.Run(call))
  return _row(index, call, lambda: _call(call))


def train(seed: int, index: int) -> Row:
  """Trains a case that was accepted."""
  call = draw(seed, index)
  act = _train_recipe if call.subject == FLAGS else _train_run
  return _row(index, call, lambda: act(call))


def _row(index: int, call: Call, act: Callable[[], Any]) -> Row:
  shown = ', '.join(f'{n}={_short(v)}' for n, v in call.arguments.items())
  row = Row(index, call.subject, shown)
  begin = time.process_time()
  tf.get_logger().setLevel('ERROR')
  with _folder() as folder, _quiet():
    before = _listing(folder)
    try:
      act()
      row.outcome, row.text = _of_success(call)
    except Exception as error:
      row.outcome, row.text = _of_error(call, error)
      more = _listing(folder) - before
      if more and row.outcome == REFUSED:
        row.outcome, row.text = FAILED, f'left {sorted(more)}: {row.text}'
  keras.backend.clear_session()
  keras.mixed_precision.set_global_policy('float32')
  row.seconds = round(time.process_time() - begin, 2)
  return row


def _short(value: Any) -> str:
  text = ' '.join(_repr(value).split())
  return text if len(text) <= 60 else f'{text[:57]}...'


def _repr(value: Any) -> str:
  try:
    return repr(value)
  except ValueError:  # Python does not write a number of so many digits.
    return _HUGE


# The folder that a case runs in.


@contextlib.contextmanager
def _folder() -> Iterator[pathlib.Path]:
  """Goes into a folder in which there is a file, a folder and a ticket."""
  was = os.getcwd()
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    (folder / 'a_file').write_text('words')
    (folder / 'a_folder').mkdir()
    tf_unilth.Ticket({'dense': np.eye(3, dtype=bool)}).save(folder / 'a_ticket')
    os.chdir(folder)
    try:
      yield folder
    finally:
      os.chdir(was)


def _listing(folder: pathlib.Path) -> set[str]:
  """Returns the files in a folder, but for locks, which mean nothing."""
  found = [path for path in folder.rglob('*') if path.is_file()]
  return {str(p.relative_to(folder)) for p in found if p.name not in LOCK_FILES}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    warnings.simplefilter('ignore')
    yield


# What a case does.


def _call(call: Call) -> None:
  subject = random_calls.BY_NAME[call.subject]
  given = {name: value_of(value) for name, value in call.arguments.items()}
  subject.look(subject.call(**given))


def _parse_and_check(call: Call) -> None:
  """Does what a binary does until it would train."""

  class Nothing:
    def __init__(self, *args: Any):
      pass

    def run(self) -> None:
      return None

  was, experiment.Run = experiment.Run, Nothing  # type: ignore[misc]
  try:
    _main(random_flags.command_line(call))
  finally:
    experiment.Run = was  # type: ignore[misc]


def _main(arguments: list[str]) -> None:
  said = tiny_recipe.error_of(lambda: tiny_recipe.main(*arguments))
  if said is not None:
    raise Refused(said)


def _train_run(call: Call) -> None:
  run = random_runs.Run(call)
  run.fit()
  if run.structure == 'channels':
    channel_checks.check_target(run.model, run.schedule)
  else:
    model_checks.check_sparsity(run.model, run.targets)


def _train_recipe(call: Call) -> None:
  small = {
    'train_examples': '100',
    'epochs': '3',
    'verbose': '1',
    'plots': 'false',  # They take time.
  }
  given = {**small, **call.arguments}
  directory = given.setdefault('output_dir', 'run')
  _main(random_flags.command_line(dataclasses.replace(call, arguments=given)))
  results = experiment.run_directory.read_json(
    pathlib.Path(directory, 'results.json')
  )
  target = float(given.get('target_sparsity', 0.9))
  cut = results['total_weights'] - results['nonzero_weights']
  # Each of the layers keeps a weight, and tfmot rounds for each.
  wanted = target * results['total_weights'] - _LAYERS
  if given['method'] != 'dense' and cut < wanted:
    raise Wrong(f'{cut} of {results["total_weights"]} zeros for {target}.')


# How it is judged.


def _of_success(call: Call) -> tuple[str, str]:
  if call.bad:
    name = call.bad[0]
    return FAILED, f'{name}={_short(call.arguments[name])} was accepted'
  return ACCEPTED, ''


def _of_error(call: Call, error: Exception) -> tuple[str, str]:
  text = f'{type(error).__name__}: {error}'
  fault = _fault(call, error)
  if fault is None:
    return REFUSED, text
  frames = traceback.extract_tb(error.__traceback__)[-5:]
  places = ' > '.join(
    f'{os.path.basename(f.filename)}:{f.lineno} {f.name}' for f in frames
  )
  return FAILED, ' '.join(f'{fault}: {text[:_LONGEST]} at {places}'.split())


def _fault(call: Call, error: Exception) -> str | None:
  """Returns in words what is wrong with an error, `None` if nothing is."""
  said = str(error)
  if not isinstance(error, Refused):
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    if not isinstance(error, _KINDS):
      return f'no error of ours: {type(error).__name__}'
    if not last.startswith(_OURS):
      return 'not raised by us'
  is_long = len(said) > _LONGEST and 'Flags parsing' not in said
  if '\n' in said.strip() or is_long:
    return 'not one line'
  words = set(re.findall(r'\w+', said))
  known = [*call.arguments, *_defaults(call)]
  named = [name for name in known if name.rpartition('.')[2] in words]
  if not named:
    return f'names none of {", ".join(call.bad or call.arguments)}'
  blamed = [name for name in named if name in call.bad]
  # It may be refused with another one, whose value is then shown.
  given = [call.arguments[name] for name in named if name in call.arguments]
  if blamed and not any(_shows(said, value) for value in given):
    return f'does not show {blamed[0]}={_short(call.arguments[blamed[0]])}'
  return None if _ALLOWED.search(said) else 'does not say what is allowed'


def _defaults(call: Call) -> list[str]:
  """Returns the names of arguments of which the default may be at fault."""
  if call.subject == FLAGS:
    return list(random_flags.ARGUMENTS)
  subject = random_calls.BY_NAME.get(call.subject)
  return list(subject.arguments) if subject else []


def _shows(said: str, value: Any) -> bool:
  """Returns whether a message shows a value, or its class."""
  made = value_of(value)
  if not isinstance(made, str | bytes | int | float | complex | None):
    return True
  if made == '':  # As `--pace=` shows it.
    return True
  if type(made).__name__ in re.findall(r'\w+', said):
    return True
  if _repr(made) == _HUGE:
    return 'huge' in said
  parts = str(made).split(',') if isinstance(made, str) else []
  shown = [text[:_SHOWN] for text in (repr(made), str(made), *parts)]
  return any(text in said for text in shown)
