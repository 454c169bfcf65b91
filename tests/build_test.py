"""BUILD: every file is in a target, and dependencies are the imports."""

import ast
import functools
import pathlib

import pytest

_ROOT = pathlib.Path(__file__).parent.parent
_OURS = ('tf_unilth', 'tf_unilth/tuner', 'recipes', 'tests')


@functools.cache
def _targets():
  """Returns name -> (kind, sources, dependencies) by reading BUILD."""
  found = {}
  for node in ast.parse((_ROOT / 'BUILD').read_text()).body:
    call = getattr(node, 'value', None)
    if not isinstance(call, ast.Call) or call.func.id == 'package':
      continue
    if not call.func.id.startswith('py_'):
      continue
    fields = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
    found[fields['name']] = (
      call.func.id,
      fields['srcs'],
      {dep.lstrip(':') for dep in fields.get('deps', [])},
    )
  return found


@functools.cache
def _files():
  return {
    str(path.relative_to(_ROOT))
    for folder in _OURS
    for path in (_ROOT / folder).glob('*.py')
  }


@functools.cache
def _imports(path):
  """Returns the files of ours that a file imports."""
  names = set()
  for node in ast.walk(ast.parse((_ROOT / path).read_text())):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      for alias in node.names:
        module = node.module.replace('.', '/')
        inside = f'{module}/{alias.name}'
        modules = {f'{inside}.py', f'{inside}/__init__.py'} & _files()
        names.add(inside if modules else module)
  candidates = {name.replace('.', '/') for name in names}
  files = {f'{c}{end}' for c in candidates for end in ('.py', '/__init__.py')}
  packages = {'recipes/__init__.py', 'tests/__init__.py'}
  return (files & _files()) - packages - {path}


def test_every_file_is_in_one_target():
  sources = [src for _, srcs, _ in _targets().values() for src in srcs]
  assert sorted(sources) == sorted(_files())


@pytest.mark.parametrize('name', _targets())
def test_dependencies_are_the_imports(name):
  targets = _targets()
  owner = {src: n for n, (_, srcs, _) in targets.items() for src in srcs}
  _, sources, dependencies = targets[name]
  imported = {owner[file] for src in sources for file in _imports(src)}
  packages = {'recipes', 'tests'}  # Markers of a package, without content.
  assert dependencies - packages == imported - {name}


@pytest.mark.parametrize('name', _targets())
def test_tests_are_tests_and_recipes_binaries(name):
  kind, sources, _ = _targets()[name]
  (source, *_) = sources
  if source.endswith('_test.py'):
    assert kind == 'py_test'
  elif "__name__ == '__main__'" in (_ROOT / source).read_text():
    assert kind == 'py_binary'
  else:
    assert kind == 'py_library'
