"""BUILD files: each file is in one target, and dependencies are the imports."""

import ast
import pathlib
import re
import sys

_ROOT = pathlib.Path(__file__).parents[1]
# Packages whose name in the lock file is not that of their module, and those
# that the tests do not need.
_DISTRIBUTIONS = {
  'absl': 'absl_py',
  'grpc': 'grpcio',
  'sklearn': 'scikit_learn',
  'jax': None,
  'tensorflow_datasets': None,
  'torch': None,
}
_LOCKED = {
  re.sub(r'[-.]', '_', name).lower()
  for name in re.findall(
    r'^[\w.-]+', (_ROOT / 'requirements_lock.txt').read_text(), re.M
  )
}


def _glob(folder, patterns, exclude=()):
  """Returns files as Bazel does: packages below are not looked into."""
  packages = [p.parent for p in folder.rglob('BUILD') if p.parent != folder]
  found = {p for pattern in patterns for p in folder.glob(pattern)}
  found -= {p for pattern in exclude for p in folder.glob(pattern)}
  return [
    str(path.relative_to(folder))
    for path in sorted(found)
    if path.is_file() and not any(p in path.parents for p in packages)
  ]


def _read():
  """Returns label -> (kind, files, dependencies), by running all BUILDs."""
  targets = {}
  for build in sorted(_ROOT.rglob('BUILD')):
    folder = build.parent
    package = '//' + str(folder.relative_to(_ROOT)).removeprefix('.')

    def label(name, package=package):
      if name.startswith(':'):
        return package + name
      last = name.rpartition('/')[2]
      return name if ':' in name or name[0] == '@' else f'{name}:{last}'

    def declare(kind, name, srcs=(), deps=(), label=label, folder=folder, **_):
      files = [folder / src for src in srcs]
      assert label(f':{name}') not in targets
      targets[label(f':{name}')] = kind, files, {label(dep) for dep in deps}

    def rule(kind, declare=declare):
      return lambda name, **fields: declare(kind, name, **fields)

    def find(patterns, exclude=(), folder=folder):
      return _glob(folder, patterns, exclude)

    def room_tests(deps=(), rule=rule, find=find):
      for file in find(['**/*_test.py']):
        rule('py_test')(file, srcs=[file], deps=deps)

    def room(rule=rule, find=find, **fields):
      rule('py_library')(srcs=find(['**/*.py']), **fields)

    kinds = ('py_library', 'py_binary', 'filegroup')
    names = {kind: rule(kind) for kind in kinds}
    names |= {'glob': find, 'room': room, 'room_tests': room_tests}
    names |= {'load': lambda *_: None, 'exports_files': lambda *_: None}
    exec(build.read_text(), names)
  return targets


_TARGETS = _read()
_OWNERS = {
  file: label
  for label, (kind, files, _) in _TARGETS.items()
  if kind == 'py_library'
  for file in files
}
_KERAS = _TARGETS['//:keras'][2]


def _imports(path):
  """Yields the labels of what a file imports."""
  for node in ast.walk(ast.parse(path.read_text())):
    modules = []
    if isinstance(node, ast.Import):
      modules = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      modules = [f'{node.module}.{alias.name}' for alias in node.names]
      modules.append(node.module)
    for module in modules:
      place, top = _ROOT / module.replace('.', '/'), module.split('.')[0]
      for file in (place.with_suffix('.py'), place / '__init__.py'):
        # What only marks a package has no content to import.
        if file in _OWNERS and file.read_text().count('\n') > 9:
          yield _OWNERS[file]
      if not (_ROOT / top).exists() and top not in sys.stdlib_module_names:
        name = _DISTRIBUTIONS.get(top, top)
        if name:
          yield f'@pip//{name}'


def test_every_file_is_in_one_target():
  found = [
    file
    for kind, files, _ in _TARGETS.values()
    for file in files
    if kind in ('py_library', 'py_test') or file.name == '__main__.py'
  ]
  places = ('recipes', 'tests', 'tf_unilth')
  expected = {p for place in places for p in (_ROOT / place).rglob('*.py')}
  # Bazel itself makes the files that only mark packages. The program of each
  # test is in no library.
  marks = set((_ROOT / 'tests').rglob('__init__.py'))
  expected -= marks | {_ROOT / 'tests/run_pytest.py'}
  assert sorted(set(found) - marks) == sorted(expected)
  assert len(found) == len(set(found))


def test_programs_are_binaries():
  binaries = {
    file
    for kind, files, _ in _TARGETS.values()
    if kind == 'py_binary'
    for file in files
  }
  assert binaries == {
    path
    for place in ('recipes', 'tf_unilth')
    for path in (_ROOT / place).rglob('*.py')
    if "\nif __name__ == '__main__':" in path.read_text()
  }


def test_dependencies_exist():
  for label, (_, _, deps) in _TARGETS.items():
    for dep in deps:
      package, _, name = dep.partition('//')
      known = name in _LOCKED if package == '@pip' else dep in _TARGETS
      assert known, f'{label} depends on {dep}, which is not there'


def test_dependencies_of_libraries_are_the_imports():
  wrong = {}
  for label, (kind, files, deps) in _TARGETS.items():
    if kind != 'py_library' or not files or label.startswith('//tests'):
      continue  # Tests share the libraries that `room_tests` lists.
    found = {name for file in files for name in _imports(file)} - {label}
    if found & _KERAS - {'@pip//numpy'}:
      found = found - _KERAS | {'//:keras'}
    if found != deps:
      wrong[label] = {'missing': found - deps, 'not imported': deps - found}
  assert not wrong
