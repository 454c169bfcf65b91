"""Numbers with their nouns."""


def count(number: int, noun: str) -> str:
  """Returns a number with its noun, in the singular or plural.

  Args:
    number: the number of things.
    noun: in the singular; the plural has an s more.
  """
  return f'{number:,} {noun if number == 1 else f"{noun}s"}'
