"""Warnings that show a line of the user's program."""

import sys
import warnings

# Their frames lie between the user's line and what warns of it.
_BETWEEN = frozenset(
  {
    *('tf_unilth', 'keras', 'tf_keras', 'keras_tuner', 'tensorflow'),
    *('tensorflow_model_optimization', 'jax', 'torch'),
    *('contextlib', 'functools', 'weakref', 'importlib'),
  }
)


def warn_user(message: str) -> None:
  """Issues a `UserWarning` at the innermost line outside of libraries.

  Python would show a line of ours, which says nothing to a user. Its own
  `skip_file_prefixes` is of Python 3.12.

  Args:
    message: what the user should know.

  >>> with warnings.catch_warnings(record=True) as caught:
  ...   warnings.simplefilter('always')
  ...   warn_user('few epochs')
  >>> print(caught[0].message)
  few epochs
  """
  frame = sys._getframe(1)
  while frame.f_back is not None:
    name = frame.f_globals.get('__name__', '')
    if name.partition('.')[0] not in _BETWEEN:
      break
    frame = frame.f_back
  variables = frame.f_globals
  warnings.warn_explicit(
    message,
    UserWarning,
    frame.f_code.co_filename,
    frame.f_lineno,
    variables.get('__name__'),
    variables.setdefault('__warningregistry__', {}),
  )
