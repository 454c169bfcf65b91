"""The rooms of the library: imports go one way, and some know no framework."""

import ast
import pathlib

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
  folders = {path.parent.name for path in _FILES} - {'tf_unilth', 'tfmot'}
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
      assert there is None or path.name == '__init__.py', module
    elif there not in (None, here):
      assert _FLOOR[there] < _FLOOR[here], module
    if here in _WITHOUT_FRAMEWORK:
      assert module.split('.')[0] not in _FRAMEWORKS, module
      # Nor by way of an engine.
      assert not module.startswith('tf_unilth.engines.tfmot'), module
