"""Numbers in messages, in words that agree."""


def count(number: int, noun: str, plural: str | None = None) -> str:
  """Returns a number with what it counts.

  Args:
    number: how many.
    noun: what one of them is called.
    plural: what others are called, where it is not the noun and an s.

  >>> count(1, 'round'), count(2345, 'epoch'), count(2, 'batch', 'batches')
  ('1 round', '2,345 epochs', '2 batches')
  """
  return f'{number:,} {noun if number == 1 else plural or f"{noun}s"}'


def percent(share: float) -> str:
  """Returns a share in percent.

  >>> percent(0.98125)
  '98.12%'
  """
  return f'{100 * share:.4g}%'
