"""The public names of the library, as links into the site's reference."""

import ast
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]
_PACKAGES = 'tf_unilth', 'tf_unilth.tuner', 'tf_unilth.inspection'
# A fenced block or a heading, which stay as they are, or a name in backticks
# that is no link.
_NAME = re.compile(
  r'^```.*?^```|^#[^\n]*|(?<!\[)`(?P<name>\w+)(?:\(\))?`(?!\])', re.M | re.S
)


def public_names() -> dict[str, str]:
  """Returns the full name of each public name."""
  names = {}
  for package in _PACKAGES:
    folder = ROOT / package.replace('.', '/')
    for node in ast.parse((folder / '__init__.py').read_text()).body:
      if isinstance(node, ast.Assign) and node.targets[0].id == '__all__':
        for name in ast.literal_eval(node.value):
          # For griffe, a module of the same name hides a function.
          hidden = f'.{name}' if (folder / f'{name}.py').exists() else ''
          names[name] = f'{package}{hidden}.{name}'
  return names


_NAMES = public_names()


def link_names(text: str, but: str = '', once: bool = False) -> str:
  """Returns Markdown whose public names are links to the reference.

  Args:
    text: Markdown.
    but: a name that stays as it is.
    once: whether only the first occurrence of each name becomes a link.
  """
  linked = {but}

  def link(found: re.Match[str]) -> str:
    name = found['name']
    if name not in _NAMES or name in linked:
      return found[0]
    if once:
      linked.add(name)
    return f'[{found[0]}][{_NAMES[name]}]'

  return _NAME.sub(link, text)
