"""Private names of TensorFlow, Keras and tfmot: listed, there, one error."""

import ast
import importlib
import inspect
import pathlib
import re
import subprocess
import sys

import pytest

from tf_unilth.engines import private_name_check
from tf_unilth.engines.private_names import ROWS

_ROOT = pathlib.Path(__file__).parents[2] / 'tf_unilth'
_FOREIGN = (
  *('tensorflow', 'tensorflow_model_optimization', 'tf_keras', 'keras'),
  'keras_tuner',
)
# Parts of the paths of modules that are not public.
_INTERNAL = {'src', 'python', 'engine', 'core'}
# Private words that are no names of a framework.
_OWN = {
  # Of Python, and of attributes and files of ours.
  *('_getframe', '_current_frames', '_pruning_plan', '_tf_unilth_replaces'),
  *('_begin', '_steps'),  # Of a StagedLearningRate.
  *('_again', '_before', '_initializer'),  # Endings of names.
  # A class of an older TensorFlow, and an operation.
  *('_RNNCellWrapperV2', '_ReadVariablesOp'),
}
_LISTED = {(name, row.room) for row in ROWS for name in row.names}
_TABLE = 'tf_unilth.engines.private_names'


def _is_private(name):
  return re.fullmatch(r'_[A-Za-z]\w*', name) is not None


def _definitions(tree):
  """Returns the names that a module defines, also on `self`."""
  found = set()
  for node in ast.walk(tree):
    match node:
      case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
        found.add(name)
      case ast.Name(id=name, ctx=ast.Store()):
        found.add(name)
      case ast.Attribute(
        value=ast.Name(id='self' | 'cls'), attr=name, ctx=ast.Store()
      ):
        found.add(name)
  return found


_TREES = {
  '.'.join(('tf_unilth', *path.relative_to(_ROOT).with_suffix('').parts)): (
    ast.parse(path.read_text())
  )
  for path in sorted(_ROOT.rglob('*.py'))
}
_DEFINED = {module: _definitions(tree) for module, tree in _TREES.items()}


def _inherited(tree):
  """Returns the names that the imported modules of ours define."""
  found = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.ImportFrom) and node.module:
      for name in (
        node.module,
        *(f'{node.module}.{a.name}' for a in node.names),
      ):
        found |= _DEFINED.get(name, set())
  return found


def _is_attribute_of(node, name):
  return isinstance(node, ast.Attribute) and node.attr == name


def _name_in_chain(chain):
  """Returns the listed name in `keras.src.MODULE.NAME...`, else the chain."""
  parts = ['tf_keras', *chain.split('.')[1:]]
  for row in ROWS:
    module = row.where.split('.')
    is_of_module = parts[: len(module)] == module
    if is_of_module and {*parts[len(module) :][:1]} & {*row.names}:
      return parts[len(module)]
  return chain


def _of_node(node, own, inherited):
  """Yields the private names of frameworks that one node has."""
  match node:
    case ast.Attribute(value=ast.Name(id='self' | 'cls'), attr=name):
      if _is_private(name) and name not in own | inherited:
        yield name
    case ast.Attribute(value=value, attr=name) if _is_private(name):
      if name not in own:
        yield name
    case ast.Attribute(value=value, attr=name):
      # `__internal__.tracking` is a namespace, whose names are listed.
      if _is_attribute_of(value, '__internal__') and name != 'tracking':
        yield name
      if _is_attribute_of(value, 'tracking'):
        yield name
    case ast.Constant(value=str(name)):
      if _is_private(name) and name not in own:
        yield name
      if name.startswith('tensorflow.python.'):
        yield name.rpartition('.')[2]
    case ast.ImportFrom(module=str(module), names=names):
      parts = module.split('.')
      if parts[0] in _FOREIGN and _INTERNAL & {*parts}:
        yield from (alias.name for alias in names)


def _uses(tree, own):
  """Returns the private names of frameworks that a module's syntax has."""
  inherited, found, skipped = _inherited(tree), set(), set()
  chains = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.JoinedStr):
      skipped |= {id(part) for part in node.values}
    if id(node) in skipped:
      continue
    found |= {*_of_node(node, own, inherited)}
    if isinstance(node, ast.Attribute):
      chains.add(ast.unparse(node))
  for chain in chains:
    is_part = any(other.startswith(f'{chain}.') for other in chains)
    if chain.startswith('keras.src.') and not is_part:
      found.add(_name_in_chain(chain))
  return found - _OWN


def _room(module):
  return '/'.join(module.split('.')[1:-1])


def _unlisted(module, tree):
  used = _uses(tree, _DEFINED.get(module, _definitions(tree)))
  return {name for name in used if (name, _room(module)) not in _LISTED}


@pytest.mark.parametrize('module', sorted({*_TREES} - {_TABLE}))
def test_each_use_is_in_the_table(module):
  assert not _unlisted(module, _TREES[module])


@pytest.mark.parametrize(
  'program',
  [
    'def f(layer):\n  return layer._inner_secret',
    "getattr(layer, '_inner_secret', None)",
    'class A(Model):\n  def f(self):\n    self._inner_secret()',
    'from tf_keras.src.engine import inner_secret',
    'x = keras.src.engine.inner_secret.Secret',
    'x = tf.__internal__.tracking.InnerSecret',
    "sys.modules.get('tensorflow.python.eager.inner_secret')",
  ],
)
def test_a_use_that_the_table_lacks_is_found(program):
  found = _unlisted('tf_unilth.engines.tfmot.new', ast.parse(program))
  assert [name for name in found if 'secret' in name.lower()]


@pytest.mark.parametrize('row', ROWS, ids=lambda row: f'{row.where}-{row.room}')
def test_the_installed_versions_have_the_names(row):
  if private_name_check.package_of(row) == 'keras_tuner':
    pytest.importorskip('keras_tuner')
  assert not private_name_check.missing_names(row)
  assert row.room in {_room(module) for module in _TREES}


def _overridden():
  """Returns private names of frameworks that classes of ours define."""
  found = set()
  for name in _TREES:
    if name.endswith('__main__') or '.keras3' in name:
      continue
    # A package that is imported by two names would run twice.
    module = importlib.import_module(name.removesuffix('.__init__'))
    for cls in vars(module).values():
      if inspect.isclass(cls) and cls.__module__ == name:
        found |= {(attribute, _room(name)) for attribute in _overrides(cls)}
  return found


def _overrides(cls):
  bases = [
    base for base in cls.__mro__ if base.__module__.split('.')[0] in _FOREIGN
  ]
  own = {name for name in vars(cls) if _is_private(name)}
  own -= {name for name in own if name.startswith(('_tf_', '_abc_'))}
  return {
    name
    for name in own
    if any(private_name_check.defines(base, name) for base in bases)
  }


def test_private_methods_that_override_are_in_the_table():
  pytest.importorskip('keras_tuner')
  found = _overridden()
  assert ('_trackable_children', 'engines/tfmot') in found
  assert found <= _LISTED, found - _LISTED


def test_the_table_has_nothing_that_no_room_uses():
  pytest.importorskip('keras_tuner')
  used = {
    (name, _room(module))
    for module, tree in _TREES.items()
    for name in _uses(tree, set())
    if module != _TABLE
  }
  used |= _overridden()
  # TensorFlow looks for this one on objects of ours.
  used.add(('_should_act_as_resource_variable', 'export'))
  assert used >= _LISTED, _LISTED - used


def test_the_oldest_keras_is_that_of_setup_and_readme():
  (oldest,) = re.findall(
    r"'keras>=([\d.]+)'", (_ROOT.parent / 'setup.py').read_text()
  )
  readme = (_ROOT.parent / 'README.md').read_text()
  assert f'Keras 3 models need Keras {oldest} or newer' in readme


_WITHOUT = """
import sys
{keras}
from tf_keras.src.engine import data_adapter
del data_adapter.GeneratorDataAdapter
import warnings
warnings.simplefilter('ignore')
import tf_unilth
try:
  tf_unilth.prune_low_magnitude
  import tf_keras
  model = tf_keras.Sequential([tf_keras.layers.Dense(1, input_shape=(2,))])
  tf_unilth.prune_low_magnitude(model, tf_unilth.IterativeSparsity(0.5))
except ImportError as error:
  print(type(error).__name__, error)
"""


@pytest.mark.long
def test_a_name_that_moved_is_one_clear_error():
  program = _WITHOUT.format(keras='import tf_keras')
  ran = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True
  )
  (line,) = ran.stdout.splitlines() or ran.stderr.splitlines()[-1:]
  version = re.escape(importlib.import_module('tf_keras').__version__)
  assert re.fullmatch(
    rf'MovedNameError tf_keras {version} lacks tf_keras.src.engine.data_adapter'
    r':GeneratorDataAdapter, which tf_unilth uses; tf_unilth was tested with '
    r'tf_keras .* and 2\.21: install one of these versions\.',
    line,
  ), line


def test_import_tf_unilth_does_not_load_the_table():
  program = (
    'import sys, tf_unilth\n'
    'print([name for name in sys.modules if "private_name" in name])'
  )
  ran = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True
  )
  assert ran.stdout == '[]\n', ran.stderr
