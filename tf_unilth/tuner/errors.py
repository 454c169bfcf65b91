"""The errors of a search."""

import contextlib
from collections.abc import Iterator

import keras_tuner


class SearchError(ValueError):
  """The search cannot run, or not in the given directory."""


class TicketNotSavedError(keras_tuner.errors.FatalError, OSError):
  """The ticket or the state of a trial cannot be saved; the search stops.

  The trial is not at fault: the next search in the directory runs it again.
  """


@contextlib.contextmanager
def errors_stop_the_search() -> Iterator[None]:
  """Raises a `TicketNotSavedError` in place of an `OSError`.

  keras-tuner takes other errors for those of the trial, and goes on.
  """
  try:
    yield
  except OSError as error:
    raise TicketNotSavedError(*error.args, error.filename) from error
