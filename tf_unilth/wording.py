"""Formats numbers and versions for messages."""

from typing import Any


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


def version_mismatch(found: Any, *read: int) -> str | None:
  """Returns why a format version is not read, `None` if it is.

  Args:
    found: the version in a file, a number or its digits.
    *read: the versions that this library reads, the newest last.

  >>> version_mismatch(2, 1, 2)
  >>> print(version_mismatch(3, 2).partition(':')[0])
  it has format version 3, but this tf_unilth reads version 2
  >>> version_mismatch(1, 2).partition(': ')[2]
  'install the tf_unilth that wrote it.'
  """
  digits = isinstance(found, str) and found.isascii() and found.isdecimal()
  is_number = type(found) is int or (digits and len(found) < 20)
  number = int(found) if is_number else None
  if number in read:
    return None
  reads = 'versions ' if len(read) > 1 else 'version '
  reads += ' and '.join(map(str, read))
  message = f'it has format version {found!r:.40}, but this tf_unilth reads '
  if number is None:
    return f'{message}{reads}.'
  newer = number > read[-1]
  which = 'a newer tf_unilth' if newer else 'the tf_unilth that wrote it'
  return f'{message}{reads}: install {which}.'
