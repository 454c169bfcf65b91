"""BUILD: every file is in a target, and dependencies are the imports."""

import ast
import pathlib

import pytest

_ROOT = pathlib.Path(__file__).parent.parent


def _glob(patterns, exclude=()):
  found = {p for pattern in patterns for p in _ROOT.glob(pattern)}
  found -= {p for pattern in exclude for p in _ROOT.glob(pattern)}
  return sorted(str(p.relative_to(_ROOT)) for p in found if p.is_file())


def _read():
  """Returns name -> (kind, fields) of all targets, by running BUILD."""
  targets = {}

  def rule(kind):
    def declare(name, **fields):
      assert name not in targets, name
      targets[name] = kind, fields

    return declare

  names = {'load': lambda *_: None, 'glob': _glob}
  names |= {name: lambda *_, **__: None for name in ('package', 'licenses')}
  kinds = ('py_library', 'py_binary', 'py_test')
  exec((_ROOT / 'BUILD').read_text(), names | {k: rule(k) for k in kinds})
  return targets


_TARGETS = _read()
_LIBRARIES = {n: f for n, (k, f) in _TARGETS.items() if k == 'py_library'}
_OWNER = {src: name for name, f in _LIBRARIES.items() for src in f['srcs']}


def _imports(path):
  """Yields the files of ours that a file imports."""
  for node in ast.walk(ast.parse((_ROOT / path).read_text())):
    modules = []
    if isinstance(node, ast.Import):
      modules = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      modules = [f'{node.module}.{alias.name}' for alias in node.names]
      modules.append(node.module)
    for module in modules:
      place = module.replace('.', '/')
      for file in (f'{place}.py', f'{place}/__init__.py'):
        # What only marks a package has no content to import.
        if file in _OWNER and (_ROOT / file).read_text():
          yield file


def test_every_file_is_in_one_target():
  of_libraries = [src for f in _LIBRARIES.values() for src in f['srcs']]
  of_tests = [
    src
    for kind, fields in _TARGETS.values()
    if kind == 'py_test'
    for src in fields['srcs']
  ]
  files = _glob(['tf_unilth/**/*.py', 'recipes/**/*.py', 'tests/**/*.py'])
  assert sorted(of_libraries + of_tests) == files


@pytest.mark.parametrize('name', [n for n in _LIBRARIES if n != 'tests'])
def test_dependencies_are_the_imports(name):
  fields = _LIBRARIES[name]
  imported = {_OWNER[f] for src in fields['srcs'] for f in _imports(src)}
  listed = {dep.lstrip(':') for dep in fields.get('deps', [])}
  assert listed == imported - {name}


def test_programs_are_binaries():
  programs = {
    path
    for path in _glob(['recipes/**/*.py', 'tf_unilth/*.py'])
    if "__name__ == '__main__'" in (_ROOT / path).read_text()
  }
  binaries = {
    src
    for kind, fields in _TARGETS.values()
    if kind == 'py_binary'
    for src in fields['srcs']
  }
  assert binaries == programs
