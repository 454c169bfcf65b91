"""Formats numbers for messages."""


def count(number: int, noun: str, plural: str | None = None) -> str:
  """Returns a number with its noun, in the singular or plural.

  Args:
    number: the number of things.
    noun: the singular noun.
    plural: the plural noun; `None` appends an s to `noun`.

  >>> count(1, 'round'), count(2345, 'epoch'), count(2, 'batch', 'batches')
  ('1 round', '2,345 epochs', '2 batches')
  """
  return f'{number:,} {noun if number == 1 else plural or f"{noun}s"}'


def percent(share: float) -> str:
  """Returns a share as a percentage.

  Args:
    share: a fraction, usually in [0, 1].

  >>> percent(0.98125)
  '98.12%'
  """
  return f'{100 * share:.4g}%'
