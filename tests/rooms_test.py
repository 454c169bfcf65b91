"""Rooms of library and recipes: imports go one way; some know no framework."""

import ast
import importlib
import pathlib
import sys

import pytest

_ROOT = pathlib.Path(__file__).parent.parent
# Lowest first. Rooms of one floor do not import each other.
_FLOORS = (
  ('files', 'selection', 'run'),
  ('schedules',),
  ('engines',),
  ('algorithms',),
  ('compression', 'export', 'tickets', 'resume'),
  ('inspection', 'tuner'),
)
_FLOOR = {room: floor for floor, rooms in enumerate(_FLOORS) for room in rooms}
_WITHOUT_FRAMEWORK = (*_FLOORS[0], *_FLOORS[1], 'algorithms')
_FRAMEWORKS = (
  *('tensorflow', 'tensorflow_model_optimization', 'tf_keras', 'keras'),
  *('jax', 'torch'),
)
_FILES = sorted((_ROOT / 'tf_unilth').rglob('*.py'))
# The rooms of the recipes, lowest first. At the top are programs, which import
# any room and which no room imports; `training.catalogue` loads them by name.
# `training` is below its neighbours: a comparison and a search consist of runs.
_RECIPE_FLOORS = (
  ('common',),
  ('data', 'networks'),
  ('training',),
  ('comparison', 'tuning'),
  ('costs',),
)
_RECIPE_FLOOR = {
  room: floor for floor, rooms in enumerate(_RECIPE_FLOORS) for room in rooms
}
# Programs that time parts of the library, which no public name calls alone.
_TIMED_PARTS = {
  'costs/event_times.py': 'mask update, snapshot, rewind, saving a checkpoint',
  'costs/mask_update.py': 'the choice of masks and their assignment',
}
_PUBLIC = ('tf_unilth', 'tf_unilth.inspection', 'tf_unilth.tuner')
_RECIPES = sorted((_ROOT / 'recipes').rglob('*.py'))
_TOP = [
  path
  for path in (_ROOT / 'recipes').glob('*.py')
  if path.name != '__init__.py'
]


def _imported(path):
  """Yields the modules that a file imports, inside of functions too."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{path} has a relative import'
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def _room(module):
  parts = module.split('.')
  if parts[0] == 'tf_unilth' and len(parts) > 1 and parts[1] in _FLOOR:
    return parts[1]
  return None


def test_every_folder_is_a_room():
  folders = {path.parent.name for path in _FILES} - {
    'tf_unilth',
    'tfmot',
    'keras3',
  }
  assert folders <= set(_FLOOR)
  assert len(list((_ROOT / 'tf_unilth').glob('*.py'))) <= 6


@pytest.mark.parametrize(
  'path', _FILES, ids=lambda p: str(p.relative_to(_ROOT))
)
def test_imports_go_one_way(path):
  here = _room('.'.join(path.relative_to(_ROOT).with_suffix('').parts))
  for module in _imported(path):
    there = _room(module)
    if here is None:
      # What all rooms may import imports no room.
      assert there is None or path.name in ('__init__.py', '__main__.py'), (
        module
      )
    elif there not in (None, here):
      assert _FLOOR[there] < _FLOOR[here], module
    if here in _WITHOUT_FRAMEWORK:
      assert module.split('.')[0] not in _FRAMEWORKS, module
      # Nor by way of an engine.
      engines = ('tf_unilth.engines.tfmot', 'tf_unilth.engines.keras3')
      assert not module.startswith(engines), module


def test_every_folder_of_the_recipes_is_a_room():
  folders = {path.parent.name for path in _RECIPES} - {'recipes', 'formats'}
  assert folders == set(_RECIPE_FLOOR)


@pytest.mark.parametrize('path', _TOP, ids=lambda p: p.stem)
def test_at_the_top_of_the_recipes_are_programs(path):
  assert "\nif __name__ == '__main__':\n" in path.read_text()
  # Run by its path, its folder comes before the standard library.
  assert path.stem not in sys.stdlib_module_names


@pytest.mark.parametrize(
  'path', _RECIPES, ids=lambda p: str(p.relative_to(_ROOT))
)
def test_imports_of_recipes_go_one_way(path):
  here = path.relative_to(_ROOT / 'recipes').parts[0]
  for module in _imported(path):
    if not module.startswith('recipes.'):
      continue
    there = module.split('.')[1]
    # A program imports rooms, not programs.
    assert there in _RECIPE_FLOOR, module
    if there != here and here in _RECIPE_FLOOR:
      assert _RECIPE_FLOOR[there] < _RECIPE_FLOOR[here], module


@pytest.mark.parametrize(
  'path', _RECIPES, ids=lambda p: str(p.relative_to(_ROOT))
)
def test_recipes_use_public_names_alone(path):
  private = []
  for module in _imported(path):
    room, _, name = module.rpartition('.')
    if module.split('.')[0] != 'tf_unilth' or module in _PUBLIC:
      continue
    if room not in _PUBLIC or name not in importlib.import_module(room).__all__:
      private.append(module)
  is_exempt = str(path.relative_to(_ROOT / 'recipes')) in _TIMED_PARTS
  assert bool(private) == is_exempt, private


def _reads_flags(node):
  """Returns whether a syntax tree reads a flag: FLAGS, or a holder's value."""
  match node:
    case ast.Name(id='FLAGS'):
      return True
    case ast.Attribute(attr='FLAGS'):
      return True
    # The holders of flags are private constants of their modules.
    case ast.Attribute(value=ast.Name(id=name), attr='value'):
      return name.startswith('_') and name.isupper()
  return False


def _readers_of_flags(path):
  """Returns the names of the functions that read flags; None at the top."""
  tree = ast.parse(path.read_text())
  found = set()
  for statement in tree.body:
    is_alias = ast.unparse(statement) == 'FLAGS = flags.FLAGS'
    if not is_alias and any(map(_reads_flags, ast.walk(statement))):
      found.add(getattr(statement, 'name', None))
  return found


@pytest.mark.parametrize(
  'path', _RECIPES, ids=lambda p: str(p.relative_to(_ROOT))
)
def test_flags_are_read_where_a_program_starts(path):
  found = _readers_of_flags(path)
  if path == _ROOT / 'recipes' / 'training' / 'command_line.py':
    assert 'run_config' in found
  elif "\nif __name__ == '__main__':\n" in path.read_text():
    # Where it starts, and what it calls to read all flags at once.
    assert found <= {'_main', 'main', 'read_flags', '_grid'}
  else:
    assert not found


@pytest.mark.parametrize(
  'program', ['FLAGS.epochs', 'flags.FLAGS["epochs"]', '_EPOCHS.value']
)
def test_a_reader_of_flags_would_be_found(program, tmp_path):
  path = tmp_path / 'reader.py'
  path.write_text(f'def f():\n  return {program}\n')
  assert _readers_of_flags(path) == {'f'}
