"""tf_unilth.inspection: contents, differences, and errors in one line."""

import importlib
import json
import os
import pathlib
import runpy
import subprocess
import sys

import keras as keras3
import numpy as np
import pytest
import safetensors.numpy
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tf_unilth import inspection
from tf_unilth.inspection import (
  output_comparison,
  readers,
  ticket_comparison,
)

_ROOT = pathlib.Path(__file__).parents[2]


def _run(*arguments, **options):
  return subprocess.run(
    [sys.executable, *arguments],
    capture_output=True,
    text=True,
    check=False,
    **options,
  )


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """One half sparse model in every format, and a run directory."""
  keras.utils.set_random_seed(0)
  model, where = toys.dense(), tmp_path_factory.mktemp('models')
  for layer in model.layers:
    if layer.get_weights():
      kernel, bias = layer.get_weights()
      kernel[::2] = 0
      layer.set_weights([kernel, bias])
  run = where / 'run'
  run.mkdir()
  tf_unilth.export_saved_model(model, run / 'saved_model')
  tf_unilth.export_tflite(model, where / 'model.tflite')
  model.save(where / 'model.keras')
  model.save(where / 'model.h5')
  weights = [w.numpy() for w in model.weights]
  model.set_weights([w + 0.25 * (w.ndim == 1) for w in weights])
  model.save(where / 'other.keras')
  zeros = 18 * 16 + 8 * 2
  results = {
    'total_weights': 2 * zeros,
    'nonzero_weights': zeros,
    'sparsity': 0.5,
    'test_accuracy': 0.9,
  }
  (run / 'config.json').write_text('{"method": "unilth"}')
  (run / 'results.json').write_text(json.dumps(results))
  return where


@pytest.mark.parametrize(
  'name', ['run', 'run/saved_model', 'model.tflite', 'model.keras', 'model.h5']
)
def test_a_path_is_read(folder, name):
  found = readers.read(folder / name)
  sizes = {weight.weights: weight for weight in found.weights}
  assert set(sizes) == {36 * 16, 16 * 2}
  for size, weight in sizes.items():
    assert weight.zeros == size / 2 and weight.dtype == 'float32'
  assert found.zeros == 304
  assert all(check.passed for check in found.checks)
  assert {'loads', 'finite', 'zeros'} <= {c.name for c in found.checks}
  table = str(found)
  assert '608, 304 zeros (50.000%)' in table and '50.000%' in table
  assert 'dense float32 2,432' in table
  if name == 'model.tflite':
    assert found.bytes == os.path.getsize(folder / name)
    assert sum(w.bytes for w in found.weights) < 2432
  if name == 'run':
    assert 'method' in table and 'zeros as results.json says' in table


def test_a_packed_saved_model_and_a_ticket_are_read(tmp_path):
  keras.utils.set_random_seed(0)
  model = keras.Sequential(
    [keras.layers.Dense(400, input_shape=(100,)), keras.layers.Dense(3)]
  )
  kernel, *others = model.get_weights()
  kernel[np.random.default_rng(0).random(kernel.shape) < 0.9] = 0
  model.set_weights([kernel, *others])
  zeros = int(np.sum(kernel == 0))
  tf_unilth.export_saved_model(model, tmp_path / 'export')
  tf_unilth.Ticket.from_model(model).save(tmp_path / 'a.ticket')
  found = readers.read(tmp_path / 'export')
  assert found.zeros == zeros and found.facts['packed tensors'] == '1 of 2'
  # In fewer bytes than a tenth of the values and a bit for each weight.
  assert sum(weight.bytes for weight in found.weights) < 4 * 5_200 + 5_000
  found = readers.read(tmp_path / 'a.ticket')
  assert found.kind == 'ticket' and found.zeros == zeros
  assert found.facts['rewind weights'] == 'no'


@pytest.mark.parametrize('a', ['run', 'model.tflite', 'model.keras'])
@pytest.mark.parametrize('b', ['run/saved_model', 'model.tflite', 'model.h5'])
def test_the_same_model_computes_the_same(folder, a, b):
  line = output_comparison.compare_outputs(folder / a, folder / b, seed=0)
  assert float(line.split('differ by ')[1].split()[0]) < 1e-5


@pytest.mark.parametrize('name', ['run', 'model.tflite', 'model.keras'])
def test_another_model_computes_something_else(folder, name):
  for pair in [(name, 'other.keras'), ('other.keras', name)]:
    line = output_comparison.compare_outputs(
      *(folder / n for n in pair), seed=0
    )
    assert float(line.split('differ by ')[1].split()[0]) > 0.2


def test_models_of_other_inputs_are_not_compared(folder, tmp_path):
  model = keras.Sequential([keras.layers.Dense(2, input_shape=(7,))])
  model.save(tmp_path / 'a.keras')
  with pytest.raises(readers.UnreadableError, match=r'inputs differ: .*7'):
    output_comparison.compare_outputs(
      tmp_path / 'a.keras', folder / 'model.h5', 0
    )


@pytest.mark.parametrize('ending', ['keras', 'h5'])
def test_a_file_of_keras_3_is_read_by_it(ending, tmp_path):
  path = tmp_path / f'model.{ending}'
  hidden, head = keras3.layers.Dense(5, name='hidden'), keras3.layers.Dense(2)
  keras3.Sequential([keras3.layers.Input((4,)), hidden, head]).save(path)
  hidden.kernel.assign(np.eye(4, 5))
  other = tmp_path / f'other.{ending}'
  keras3.Sequential([keras3.layers.Input((4,)), hidden, head]).save(other)
  found = readers.read(other)
  assert found.weights[0].name.endswith('hidden/kernel')
  assert found.zeros == 16
  assert found.facts['FLOPs a sample'] == f'{2 * (4 * 5 + 5 * 2)}'
  same = output_comparison.compare_outputs(path, path, 0)
  assert 'differ by 0 at most' in same
  line = output_comparison.compare_outputs(path, other, 0)
  assert float(line.split('differ by ')[1].split()[0]) > 0.1


def _ticket(path, kept, weights=None, name='dense'):
  masks = {name: np.array(kept, bool)[:, None], 'head': np.eye(2, dtype=bool)}
  tf_unilth.Ticket(masks, weights).save(path)
  return path


def _weights(value, name='dense/kernel'):
  kernel = np.float32([[1], [0], [np.nan], [value]])
  return {name: kernel, 'head/kernel': np.ones((2, 2), np.float32)}


def test_ragged_inputs_are_not_compared(tmp_path):
  inputs = keras.Input((None, 3), ragged=True)
  outputs = keras.layers.TimeDistributed(keras.layers.Dense(2))(inputs)
  keras.Model(inputs, outputs).save(tmp_path / 'a.keras')
  with pytest.raises(readers.UnreadableError, match=r'ragged or sparse'):
    output_comparison.compare_outputs(
      tmp_path / 'a.keras', tmp_path / 'a.keras', 0
    )


def test_a_ticket_of_0_1_0_is_read_and_compared_with_one_of_now(tmp_path):
  old = pathlib.Path(__file__).parents[1] / 'fixtures/0.1.0/unilth.ticket'
  tf_unilth.Ticket.load(old).save(tmp_path / 'new')
  read = [readers.read(path) for path in (old, tmp_path / 'new')]
  assert {contents.kind for contents in read} == {'ticket'}
  assert read[0].weights == read[1].weights and read[0].zeros > 0
  said = ticket_comparison.compare_tickets(old, tmp_path / 'new')
  assert 'the same to the bit' in said and '100.000%' in said


def test_safetensors_of_others_are_no_tickets(tmp_path):
  path = tmp_path / 'a.safetensors'
  safetensors.numpy.save_file({'a': np.ones(40)}, path)
  with pytest.raises(readers.UnreadableError, match='of no known kind'):
    readers.read(path)


def test_two_tickets_are_compared_kernel_by_kernel(tmp_path):
  a = _ticket(tmp_path / 'a', [1, 1, 0, 1], _weights(3))
  b = _ticket(
    tmp_path / 'b', [0, 1, 0, 1], _weights(3.5, 'dense_4/kernel'), 'dense_4'
  )
  said = ticket_comparison.compare_tickets(a, b).splitlines()
  cells = {line.split()[0]: line.split()[1:] for line in said if line}
  assert cells['dense'] == ['4', '3', '2', '2', '66.667%']
  assert cells['head'] == ['4', '2', '2', '2', '100.000%']
  assert cells['total'] == ['8', '5', '4', '4', '80.000%']
  assert said[-1] == (
    'rewind weights: differ by 0.5 at most, in dense/kernel; 1 of 2 the same '
    'to the bit'
  )
  same = ticket_comparison.compare_tickets(a, a)
  assert same.endswith('rewind weights: all 2 the same to the bit')
  c = _ticket(tmp_path / 'c', [0, 0, 1, 0], _weights(np.nan))
  assert 'differ by inf at most' in ticket_comparison.compare_tickets(a, c)
  d = _ticket(tmp_path / 'd', [0, 0, 1, 0])
  assert f'only {a} has them' in ticket_comparison.compare_tickets(d, a)
  assert ticket_comparison.compare_tickets(d, d).endswith(
    'rewind weights: none'
  )


@pytest.mark.parametrize(
  ('other', 'words'),
  [
    ({'kept': [1, 0]}, r"its kernel 1 is 'dense' of shape \(4, 1\), the other"),
    ({'kept': [1, 0, 1, 1], 'name': 'b'}, "the other's 'b' of shape"),
    (
      {'kept': [1, 0, 1, 1], 'weights': {'dense/bias': np.ones(4, 'f4')}},
      r"rewind weight 1 is 'dense/kernel' of shape \(4, 1\) and dtype float32, "
      r"the other's 'dense/bias'",
    ),
  ],
)
def test_tickets_of_other_architectures_are_not_compared(
  other, words, tmp_path
):
  a = _ticket(tmp_path / 'a', [1, 1, 0, 1], _weights(3))
  b = _ticket(tmp_path / 'b', **other)
  with pytest.raises(readers.UnreadableError, match=words):
    ticket_comparison.compare_tickets(a, b)


def test_the_command_compares_tickets_with_tickets_alone(
  folder, tmp_path, capsys
):
  path = str(_ticket(tmp_path / 'a', [1, 1, 0, 1]))
  assert inspection.main(['inspect', path, '--against', path]) == 0
  assert 'kept by both' in capsys.readouterr().out
  other = str(folder / 'model.tflite')
  assert inspection.main(['inspect', path, '--against', other]) == 1
  error = f'error: {path!r}, a ticket, computes nothing.\n'
  assert capsys.readouterr().err == error


def test_failed_checks_are_seen(folder, tmp_path):
  model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  model.set_weights([np.full((3, 2), np.nan), np.zeros(2)])
  model.save(tmp_path / 'a.h5')
  checks = {c.name: c.passed for c in readers.read(tmp_path / 'a.h5').checks}
  assert checks == {'loads': True, 'finite': False, 'zeros': True}
  run = tmp_path / 'run'
  run.mkdir()
  (run / 'saved_model').symlink_to(folder / 'run' / 'saved_model')
  (run / 'config.json').write_text('{}')
  assert not readers.read(run).checks[0].passed  # Not finished.
  results = json.loads((folder / 'run' / 'results.json').read_text())
  results['nonzero_weights'] -= 1
  (run / 'results.json').write_text(json.dumps(results))
  checks = {c.name: c.passed for c in readers.read(run).checks}
  assert checks.pop('zeros as results.json says') is False
  assert all(checks.values())


@pytest.mark.parametrize(
  ('name', 'keep', 'words'),
  [
    ('nothing', None, 'No such file'),
    ('empty', 0, 'is of no known kind'),
    ('model.tflite', 600, 'cannot be read'),
    ('model.keras', 600, 'cannot be read'),
    ('model.h5', 600, 'cannot be read'),
    ('folder', None, 'neither a SavedModel nor a run directory'),
    ('saved', None, 'cannot be read'),
  ],
)
def test_what_cannot_be_read_gets_one_line(folder, tmp_path, name, keep, words):
  path = tmp_path / name
  if keep is not None:
    source = folder / name
    path.write_bytes(source.read_bytes()[:keep] if source.exists() else b'')
  if name in ('folder', 'saved'):
    path.mkdir()
  if name == 'saved':
    (path / 'saved_model.pb').write_bytes(b'broken')
  with pytest.raises(readers.UnreadableError, match=words) as error:
    readers.read(path)
  assert '\n' not in str(error.value)


@pytest.mark.long
def test_the_command_prints_and_compares(folder):
  finished = _run(
    *('-m', 'tf_unilth', 'inspect'),
    str(folder / 'model.tflite'),
    f'--against={folder / "run"}',
    cwd=_ROOT,
  )
  assert finished.returncode == 0, finished.stderr
  assert finished.stdout.startswith('TFLite file')
  assert 'outputs differ by' in finished.stdout.splitlines()[-1]


def test_the_recipe_is_the_command(monkeypatch):
  given = []
  monkeypatch.setattr(inspection, 'main', given.append)
  monkeypatch.setattr(sys, 'argv', ['inspect_model', 'a', '--against=b'])
  with pytest.raises(SystemExit):
    runpy.run_module('recipes.inspect_model', run_name='__main__')
  assert given == [['inspect', 'a', '--against=b']]


@pytest.mark.parametrize(
  ('arguments', 'words'),
  [
    pytest.param(
      ['inspect', 'nowhere'],
      "'nowhere': No such file",
      marks=pytest.mark.long,  # It imports TensorFlow.
    ),
    (['inspect'], 'required: PATH. See tf-unilth inspect --help.'),
    ([], 'required: command'),
    (['inspect', 'a', '--input_seed=-1'], 'must be a whole number >= 0'),
    (['inspect', 'a', 'b'], 'unrecognized arguments: b'),
  ],
  ids=str,
)
def test_an_error_of_the_command_is_one_line(arguments, words):
  # From another folder: the command needs no checkout.
  paths = {'PYTHONPATH': str(_ROOT)}
  finished = _run(
    '-m', 'tf_unilth', *arguments, cwd='/', env={**os.environ, **paths}
  )
  assert finished.returncode == 1 and not finished.stdout
  assert finished.stderr.startswith('error: ') and words in finished.stderr
  assert finished.stderr.count('\n') == 1


def test_a_failed_check_is_an_error_of_the_command(tmp_path, capsys):
  model = toys.dense()
  weights = model.get_weights()
  weights[0][0] = np.nan
  model.set_weights(weights)
  model.save(tmp_path / 'a.keras')
  assert inspection.main(['inspect', str(tmp_path / 'a.keras')]) == 1
  said = capsys.readouterr()
  assert 'FAILED' in said.out
  assert said.err == 'error: checks failed: finite\n'
  assert inspection.main(['inspect', 'nowhere']) == 1
  said = capsys.readouterr()
  assert "'nowhere': No such file" in said.err and not said.out


def test_the_help_of_the_command_names_what_is_read():
  finished = _run('-m', 'tf_unilth', 'inspect', '--help', cwd=_ROOT)
  assert finished.returncode == 0 and not finished.stderr
  for word in ('PATH', '--against OTHER', '--input_seed N', 'SavedModel'):
    assert word in finished.stdout
  assert max(map(len, finished.stdout.splitlines())) <= 80


def test_the_console_script_is_the_command():
  setup = (_ROOT / 'setup.py').read_text()
  place = 'tf_unilth.inspection.command:main'
  assert f"'console_scripts': ['tf-unilth={place}']" in setup
  module, _, name = place.partition(':')
  assert getattr(importlib.import_module(module), name) is inspection.main
