"""Silences the output of Python and C++ code."""

import contextlib
import logging as std_logging
import os
import sys
import warnings
from collections.abc import Iterator

from absl import logging


@contextlib.contextmanager
def silenced() -> Iterator[None]:
  """Discards the process's output, warnings and logs; errors are still raised.

  The file descriptors are redirected too, since TFLite's C++ code bypasses
  `sys.stdout` and the levels of all loggers.

  >>> with silenced():
  ...   print('converting')
  """
  verbosity = logging.get_verbosity()
  with contextlib.ExitStack() as stack:
    null = stack.enter_context(open(os.devnull, 'w'))
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter('ignore')
    for descriptor in (1, 2):
      stack.enter_context(_redirected(descriptor, null.fileno()))
    stack.enter_context(contextlib.redirect_stdout(null))
    stack.enter_context(contextlib.redirect_stderr(null))
    logging.set_verbosity(logging.FATAL)
    stack.callback(logging.set_verbosity, verbosity)
    yield


@contextlib.contextmanager
def without_info() -> Iterator[None]:
  """Hides what TensorFlow logs of files that it writes in a temporary folder.

  It logs so where Python is interactive, as in a notebook.

  >>> with without_info():
  ...   std_logging.getLogger('tensorflow').info('assets written')
  """
  logger = std_logging.getLogger('tensorflow')
  level = logger.level
  logger.setLevel(max(level, std_logging.WARNING))
  try:
    yield
  finally:
    logger.setLevel(level)


@contextlib.contextmanager
def _redirected(descriptor: int, to: int) -> Iterator[None]:
  for stream in (sys.stdout, sys.stderr):
    if stream is not None:
      stream.flush()
  try:
    saved = os.dup(descriptor)
  except OSError:  # Processes without a terminal may have closed it.
    yield
    return
  try:
    os.dup2(to, descriptor)
    yield
  finally:
    os.dup2(saved, descriptor)
    os.close(saved)
