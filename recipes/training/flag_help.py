"""The text of `--help`, sorted by what the flags are for."""

import textwrap
from collections.abc import Sequence
from typing import Any

from absl import flags

from recipes.training import methods, pruning_flags
from recipes.training.run_flags import FLAGS, GROUPS

_WIDTH = 80


def help_text(about: str, own: Sequence[str]) -> str:
  """Returns what `--help` shows.

  Args:
    about: what the binary does, its docstring.
    own: names of flags that only this recipe has.
  """
  lines = [about.strip()]
  groups = {'Of this recipe': own, **GROUPS} if own else GROUPS
  for title, names in groups.items():
    lines += ['', f'{title}:']
    for name in names:
      lines += _flag_help(name)
  return '\n'.join(lines)


def _flag_help(name: str) -> Sequence[str]:
  flag = FLAGS[name]
  # absl puts the values of an enum first.
  says = flag.help.rpartition('>: ')[2]
  placeholder = _placeholder(flag)
  head = f'  --[no]{name}' if flag.boolean else f'  --{name}={placeholder}'
  if len(head) > _WIDTH:
    says += f' One of {placeholder.replace("|", ", ")}.'
    head = f'  --{name}=TEXT'
  readers = pruning_flags.readers(name)
  others = [m for m in methods.METHODS if m not in readers]
  if len(others) > len(readers):
    says += f' Only for {", ".join(readers)}.'
  elif others:
    says += f' Not for {", ".join(others)}.'
  default = _default(flag) or pruning_flags.library_default(name)
  if default:
    says += f' Default: {default}.'
  body = textwrap.wrap(says, _WIDTH - 6)
  return [head, *(f'      {line}' for line in body)]


def _default(flag: Any) -> str:
  if flag.default is None or flag.default is False:
    return ''
  return flag.serialize().partition('=')[2]


def _placeholder(flag: Any) -> str:
  values = getattr(flag.parser, 'enum_values', None)
  if values:
    return '|'.join(values)
  if isinstance(flag.parser, flags.ListParser):
    return 'A,B'
  kind = flag.flag_type()
  return {'int': 'N', 'float': 'X'}.get(kind, 'TEXT')
