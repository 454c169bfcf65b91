"""The errors of a search."""

import keras_tuner


class SearchError(ValueError):
  """The search cannot run, or not in the given directory."""


class TicketNotSavedError(keras_tuner.errors.FatalError, OSError):
  """The ticket of a trial cannot be saved; the search stops.

  The trial is not at fault: the next search in the directory runs it again.
  """
