"""Errors of the model fuzz test: which are documented, and their text."""

import contextlib
import inspect
import os
import re
import traceback

import tf_unilth
from tests.stress.model_checks import Wrong

_OURS = os.path.dirname(tf_unilth.__file__) + os.sep
_DOCUMENTED = (ValueError, TypeError, FloatingPointError)


def is_documented(error: Exception) -> bool:
  """Returns whether it is an error of ours that names what is wrong."""
  last = traceback.extract_tb(error.__traceback__)[-1]
  words = set(re.findall(r'\w+', str(error)))
  return (
    isinstance(error, _DOCUMENTED)
    and last.filename.startswith(_OURS)
    and bool(words & _ARGUMENTS)
  )


def _arguments() -> set[str]:
  """Returns the names of all arguments that a user may give."""
  names = {'layer', 'model', 'loss', 'epochs', 'steps_per_epoch', 'jit_compile'}
  for name in tf_unilth.__all__:
    with contextlib.suppress(ValueError):
      names |= set(inspect.signature(getattr(tf_unilth, name)).parameters)
  return names - {'args', 'kwargs'}


_ARGUMENTS = _arguments()


def error_text(error: Exception, failed: bool) -> str:
  """Returns an error for the table, with its place if it is a failure."""
  message = f'{type(error).__name__}: {error}'
  if failed and not isinstance(error, Wrong):
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = [
      f'{os.path.basename(f.filename)}:{f.lineno} {f.name}' for f in frames
    ]
    message = f'{message[:600]} at {" > ".join(places)}'
  return ' '.join(message.split())
