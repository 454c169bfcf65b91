"""The error of a search."""


class SearchError(ValueError):
  """The search cannot run, or not in the given directory."""
