"""The numbers that a document states, apart from names, code and links.

Numbers in words ("nineteen times") are not looked for.
"""

import pathlib
import re
from collections.abc import Iterable

ROOT = pathlib.Path(__file__).parent.parent.parent
_PROGRAM = re.compile(r'^```.*?^```$', re.M | re.S)
_CODE = re.compile(r'`([^`]*)`')
_LINK = re.compile(r'\]\([^)]*\)')
# Digits inside of a name, as in float32, ResNet-20 and LeNet-300-100.
_NAME = re.compile(r'\b[A-Za-z_]+-?\d[\w-]*(?:\.\d+)*')
_NUMBER = re.compile(r'(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?')
_GONE = '§'


def words(document: str) -> str:
  """Returns a document's words with single spaces, without its programs.

  Args:
    document: its path in the repository.
  """
  text = (ROOT / document).read_text()
  return ' '.join(_PROGRAM.sub(_GONE, text).split())


def numbers(
  text: str, claims: Iterable[str] = (), allowed: Iterable[str] = ()
) -> list[str]:
  """Returns the numbers in a text, each with the words around it.

  Args:
    text: of `words`.
    claims: parts of it whose numbers are read from files.
    allowed: regular expressions of parts whose numbers are no measurements.
  """
  for claim in sorted(claims, key=len, reverse=True):
    text = text.replace(claim, _GONE)
  for pattern in allowed:
    text = re.sub(pattern, _GONE, text)
  text = _LINK.sub(_GONE, _CODE.sub(_code, text))
  text = _NAME.sub(_GONE, text)
  return [
    text[max(0, found.start() - 50) : found.end() + 30]
    for found in _NUMBER.finditer(text)
  ]


def _code(found: re.Match[str]) -> str:
  """Returns nothing of a program's words, but numbers that look like code."""
  return _GONE if re.search('[A-Za-z]', found[1]) else found[1]
