"""The recipes' flags: each of them changes something, and --help tells all."""

import ast
import dataclasses
import json
import pathlib

import pytest
import tensorflow as tf
import tf_keras as keras
from absl import flags

from recipes.training import catalogue, run_flags
from recipes.training.run_config import PruningConfig, RunConfig
from tests.testing import tiny_recipe

# By flag: another value than its default, and the flags that it needs.
_VALUES = {
  'data_dir': ('somewhere', {}),
  'download': (True, {}),
  'train_examples': (300, {}),
  'validation_fraction': (0.2, {}),
  'method': ('lth', {}),
  'target_sparsity': (0.5, {}),
  'lr_restart': (True, {'method': 'gmp'}),
  'begin_fraction': (0.3, {'method': 'gmp'}),
  'end_fraction': (0.9, {'method': 'gmp'}),
  'skip': (['dense'], {}),
  'block_size': (['2', '1'], {}),
  'sparsity_m_by_n': (['2', '4'], {'target_sparsity': 0.5}),
  'structure': ('channels', {}),
  'of': ('flops', {'structure': 'channels'}),
  'prune_fraction': (0.4, {}),
  'rounds': (2, {}),
  'pace': ('geometric', {}),
  'scope': ('erk', {}),
  'rewind_step': (7, {'method': 'lth'}),
  'limit': (0.3, {}),
  'power': (2.0, {}),
  'increment': (0.001, {'interval': 3, 'limit': 0.3}),
  'interval': (5, {'increment': 0.001, 'limit': 0.3}),
  'finetune_fraction': (0.11, {}),
  'monitor': ('val_accuracy', {}),
  'mode': ('max', {}),
  'patience': (3, {}),
  'min_delta': (0.1, {}),
  'rewind_epochs': (2, {}),
  'max_dense_fraction': (0.4, {}),
  'epochs': (9, {}),
  'batch_size': (64, {}),
  'learning_rate': (0.05, {}),
  'warmup_epochs': (2.0, {}),
  'weight_decay': (1e-4, {}),
  'label_smoothing': (0.1, {}),
  'clipnorm': (1.0, {}),
  'seed': (3, {}),
  'strategy': ('mirrored', {}),
  'mixed_precision': ('bfloat16', {}),
  'jit_compile': (True, {}),
  'steps_per_execution': (2, {}),
  'deterministic': (True, {}),
  'tensorboard': (True, {}),
  'verbose': (2, {}),
}
_RECIPES = catalogue.NAMES
# Looked at in tests of their own, of what a run writes and prints.
_SEEN_WITHOUT: dict[str, dict] = {}  # By the flags that are needed.
_ELSEWHERE = {
  *('output_dir', 'overwrite', 'export', 'plots', 'debug'),
  *('initial_weights', 'pretrained'),
  'keras',  # In tests/integration/keras_3_recipes_test.py.
}


class _Seen(Exception):
  """Stops a run where its `fit` would begin."""


def _told(thing):
  """Returns what an object of ours is made of, as plain values."""
  if hasattr(thing, 'get_config'):
    return _told(thing.get_config())
  if isinstance(thing, dict):
    return {k: _told(v) for k, v in thing.items() if k != 'group'}
  if isinstance(thing, list | tuple):
    return [_told(item) for item in thing]
  if type(thing).__module__.startswith(('tf_unilth', 'recipes')):
    return [type(thing).__name__, _told(vars(thing))]
  plain = isinstance(thing, str | int | float | bool | None)
  return thing if plain else type(thing).__name__


@pytest.fixture
def observe(monkeypatch, tmp_path):
  """Returns a function from flags to all that reaches data and training."""
  seen = {}

  def load(options):
    seen['options'] = dataclasses.asdict(options)
    local = dataclasses.replace(options, data_dir=None, download=False)
    return tiny_recipe.RECIPE.load(local)

  def fit(model, data, **arguments):
    optimizer = model.optimizer
    seen['model'] = _told(model)
    seen['precision'] = keras.mixed_precision.global_policy().name
    seen['loss'] = _told(model.loss)
    seen['optimizer'] = _told(getattr(optimizer, 'inner_optimizer', optimizer))
    seen['rate'] = _told(optimizer._learning_rate)
    seen['jit_compile'] = model.jit_compile
    seen['steps_per_execution'] = int(model._steps_per_execution.numpy())
    seen['strategy'] = type(model.distribute_strategy).__name__
    # Of tf_unilth's, what they are made of; of Keras's, that they are there.
    seen['callbacks'] = [
      _told(callback)
      for callback in arguments.pop('callbacks')
      if type(callback).__name__ not in ('HistoryWriter', 'CheckpointAndResume')
    ]
    seen['fit'] = _told(arguments)
    raise _Seen

  monkeypatch.setattr(keras.Model, 'fit', fit)
  monkeypatch.setattr(
    tf.config.experimental,
    'enable_op_determinism',
    lambda: seen.update(deterministic=True),
  )
  recipe = dataclasses.replace(tiny_recipe.RECIPE, load=load)

  def observed(**given):
    seen.clear()
    keras.backend.clear_session()  # So that layers have their plain names.
    with pytest.raises(_Seen):
      tiny_recipe.run(tmp_path / str(len(given)) / str(given), recipe, **given)
    return dict(seen)

  return observed


def test_the_table_has_every_flag():
  assert set(run_flags.NAMES) == _VALUES.keys() | _ELSEWHERE
  # The groups of the help are those in which absl has the flags.
  for group, names in run_flags.GROUPS.items():
    defined = flags.FLAGS.flags_by_module_dict()[group]
    assert {flag.name for flag in defined} == set(names), group
  fields = {
    field.name
    for config in (RunConfig, PruningConfig)
    for field in dataclasses.fields(config)
  }
  made = {'pruning', 'recipe_flags', 'command'}  # Of other flags.
  assert fields - made == set(run_flags.NAMES) - {'debug'}


def _nodes(path):
  return list(ast.walk(ast.parse(path.read_text())))


def _read_of_flags(paths):
  """Returns the names of the flags that modules read, of whatever module.

  As FLAGS.name, as FLAGS['name'], or as module.NAME.value, by a public holder.
  """
  found = set()
  for node in (node for path in paths for node in _nodes(path)):
    match node:
      case ast.Attribute(value=ast.Name(id='FLAGS'), attr=name):
        found.add(name)
      case ast.Subscript(
        value=ast.Name(id='FLAGS'), slice=ast.Constant(value=name)
      ):
        found.add(name)
      case ast.Attribute(value=ast.Attribute(attr=holder), attr='value'):
        found.add(holder.lower())
  return found


def _defined_and_read(path):
  """Returns, by flag, whether a module reads the holder that it defines."""
  nodes = _nodes(path)
  read = {
    node.value.id
    for node in nodes
    if isinstance(node, ast.Attribute)
    and node.attr == 'value'
    and isinstance(node.value, ast.Name)
  }
  holders = {
    node.value: ast.unparse(node.targets[0])
    for node in nodes
    if isinstance(node, ast.Assign)
  }
  return {
    node.args[0].value: holders.get(node) in read
    for node in nodes
    if isinstance(node, ast.Call)
    and ast.unparse(node.func).startswith(('flags.DEFINE_', '_define_'))
    and isinstance(node.args[0], ast.Constant)
  }


def test_no_binary_defines_a_flag_that_nothing_reads():
  shared, binaries = set(run_flags.NAMES), 0
  paths = list(pathlib.Path(run_flags.__file__).parents[1].rglob('*.py'))
  read = _read_of_flags(paths)
  for path in paths:
    found = _defined_and_read(path)
    if path.stem in ('run_flags', 'pruning_flags'):
      assert found.keys() <= shared  # Which test_each_flag_is_read looks at.
      continue
    binaries += bool(found)
    # Those of a recipe reach it through its `flags`.
    own = catalogue.load(path.stem).flags if path.stem in _RECIPES else ()
    read_here = {*read, *own}
    dead = [n for n, is_read in found.items() if not is_read]
    dead = [name for name in dead if name not in read_here]
    assert not dead, f'{path.name} defines and never reads {dead}'
  assert binaries > 5


@pytest.mark.parametrize('name', _VALUES)
def test_each_flag_is_read(name, observe):
  value, needed = _VALUES[name]
  key = str(needed)
  if key not in _SEEN_WITHOUT:
    _SEEN_WITHOUT[key] = observe(**needed)
  assert observe(**needed, **{name: value}) != _SEEN_WITHOUT[key]


def test_a_dead_flag_would_be_seen(observe):
  # Two runs of the same flags differ in nothing that is looked at.
  assert observe() == observe(debug=True)


def test_help_tells_every_flag(capsys):
  with pytest.raises(SystemExit) as left:
    tiny_recipe.main('--help')
  assert left.value.code == 0
  said = capsys.readouterr().out
  for name in sorted(_VALUES.keys() | _ELSEWHERE):
    assert f'\n  --{name}: ' in said or f'\n  --[no]{name}: ' in said
  words = ' '.join(said.split())
  assert "each of n replicas gets an n-th of it. (default: '256')" in words
  assert '\n\nPruning:\n  --begin_fraction: ' in said
  assert '--rewind_step: Training step whose weights LTH rewinds to.' in said
  assert 'LTH rewinds to. Only for lth. Default: 0. (a non-negative' in words
  # The default of the library is shown too.
  assert 'the plateau. Only for unilth, unidlth. Default: val_loss.' in words
  assert 'Default: 0.5 for dlth, 0.6 for unilth, 0.8 for unidlth.' in words
  assert 'as in conv2d,fc. Not for dense. (a comma separated list)' in words
  assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--method=lth', '--patience=3'], 'only by unilth, unidlth'),
    (['--prune_fraction=2'], 'prune_fraction must be in (0, 1), but is 2.0'),
    (['--block_size=4'], "--block_size=['4']: must be two whole numbers"),
    (['--export=onnx'], "['onnx']: must be of saved_model, tflite, ticket"),
    (['--export=ticket', '--method=dense'], '--export=ticket needs zeros'),
    (['--warmup_epochs=5'], 'epochs=5: --warmup_epochs must be below --epochs'),
    (['--learning_rate=0'], '--learning_rate=0.0: must be above 0'),
    # absl takes NaN to be in any range.
    (
      ['--label_smoothing=nan'],
      '--label_smoothing=nan: must be a finite',
    ),
    (['--weight_decay=inf'], '--weight_decay=inf: must be a finite number'),
    (['--target_sparsity=nan'], '--target_sparsity=nan: must be a finite'),
    ([f'--batch_size={10**30}'], f'--batch_size={10**30}: must be a finite'),
    (['--block_size=0,1'], 'block_size must be two whole numbers >= 1, but is'),
    (['--sparsity_m_by_n=0,4'], 'sparsity_m_by_n must be (m, n) with 1 <= m'),
    (
      ['--strategy=multi_worker'],
      'multi_worker needs the environment variable',
    ),
    (['--train_examples=9999'], 'train_examples must be from 1 to 1222'),
    (['--skip=nothing'], 'nothing'),
    (['extra'], "'extra' is no flag"),
  ],
)
def test_bad_flags_are_one_line_and_leave_nothing(arguments, message, tmp_path):
  directory = tmp_path / 'run'
  said = tiny_recipe.error_of(
    lambda: tiny_recipe.main(f'--output_dir={directory}', *arguments)
  )
  assert said.startswith('error: ') and message in said and '\n' not in said
  assert not directory.exists()


@pytest.mark.parametrize(
  ('argument', 'message'),
  [
    ('--method=magic', 'value should be one of <dense|lth|'),
    ('--strategy=tpu', 'value should be one of <none|mirrored|multi_worker>'),
    ('--speed=9', "Unknown command line flag 'speed'"),
  ],
)
def test_unknown_values_name_what_is_allowed(argument, message, capsys):
  with pytest.raises(SystemExit) as left:
    tiny_recipe.main(argument)
  assert left.value.code == 1
  said = capsys.readouterr().err
  assert said.startswith('error: ') and message in said
  assert said.endswith(' See --help.\n') and said.count('\n') == 1


def test_several_replicas_cannot_be_compiled(monkeypatch, tmp_path):
  cluster = {'worker': ['localhost:1', 'localhost:2']}
  config = {'cluster': cluster, 'task': {'type': 'worker', 'index': 0}}
  monkeypatch.setenv('TF_CONFIG', json.dumps(config))
  said = tiny_recipe.main(
    '--strategy=multi_worker', '--jit_compile', f'--output_dir={tmp_path}/run'
  )
  assert said.startswith('error: --jit_compile must be off over 2 replicas')
  assert not (tmp_path / 'run').exists()


def test_debug_shows_the_traceback(tmp_path):
  with pytest.raises(ValueError, match='block_size must be two whole numbers'):
    tiny_recipe.main('--debug', '--block_size=0,4', f'--output_dir={tmp_path}')


def test_a_shorter_run_warms_up_for_the_same_share():
  published = dataclasses.replace(
    tiny_recipe.RECIPE, epochs=90, warmup_epochs=5, load=lambda _: None
  )
  shorter = tiny_recipe.config(published, epochs=18)
  assert shorter.warmup_epochs == pytest.approx(1)
  assert tiny_recipe.config(published).warmup_epochs == pytest.approx(5)
  given = tiny_recipe.config(published, epochs=18, warmup_epochs=3.0)
  assert given.warmup_epochs == 3


def test_flags_of_a_recipe_are_told_and_kept(capsys):
  if 'tests_colour' not in flags.FLAGS:
    flags.DEFINE_string(
      'tests_colour', 'red', 'Of nothing.', module_name='Recipe'
    )
  recipe = dataclasses.replace(tiny_recipe.RECIPE, flags=('tests_colour',))
  with pytest.raises(SystemExit):
    tiny_recipe.main('--help', recipe=recipe)
  said = capsys.readouterr().out.partition('\n\nRecipe:\n')[2]
  assert '  --tests_colour: Of nothing.' in said.partition('\n\nData:\n')[0]
  config = tiny_recipe.config(recipe, tests_colour='blue')
  assert config.result_values('tiny')['tests_colour'] == 'blue'
  assert '--tests_colour=blue' in config.command
  seen = []
  chosen = dataclasses.replace(
    recipe, with_flags=lambda tests_colour: seen.append(tests_colour)
  )
  chosen.configured(config.recipe_flags)
  assert seen == ['blue']


def test_a_configuration_cannot_be_changed():
  config = tiny_recipe.config(skip=['dense'], export=['ticket'])
  hash((config.pruning, config.export))  # No lists, nor what could change.
  with pytest.raises(dataclasses.FrozenInstanceError):
    config.epochs = 3
  with pytest.raises(TypeError):
    config.recipe_flags['model'] = 'other'


def test_a_recipe_may_have_a_patience_of_its_own():
  recipe = dataclasses.replace(tiny_recipe.RECIPE, patience=7)

  def patience(**given):
    return tiny_recipe.config(recipe, **given).pruning.patience

  assert patience() == 7
  assert patience(patience=3) == 3
  assert patience(method='lth') is None
  # A trained network has no dense stage.
  assert patience(initial_weights='trained.keras') is None
