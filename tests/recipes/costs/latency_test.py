"""recipes.costs.latency: its files, how it times them, table and plot."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tf_keras as keras

import tf_unilth
from recipes.common import call_times
from recipes.costs import file_calls, latency_files, latency_report
from tests.testing import pictures
from tf_unilth import inspection

layers = keras.layers


def _small():
  return keras.Sequential(
    [layers.Dense(48, 'relu', input_shape=(30,)), layers.Dense(48)]
  )


@pytest.fixture(scope='module')
def written(tmp_path_factory):
  """The files of a small network."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(latency_files.NETWORKS, 'small', _small)
    return latency_files.write(
      *('small', list(latency_files.VARIANTS), [0.9]),
      tmp_path_factory.mktemp('files'),
    )


@pytest.mark.long
def test_there_is_a_file_of_each_variant_and_runtime(written):
  assert {file.label: file.kernels for file in written} == {
    'TFLite, dense': {'dense': 2},
    'SavedModel, dense': {},
    'TFLite, unstructured 90%': {'dense speed': 2},
    'SavedModel, unstructured 90%': {},
    'TFLite, blocks 90%': {'sparse 1x4': 2},
    'SavedModel, blocks 90%': {},
    'TFLite, channels': {'dense': 2},
    'SavedModel, channels': {},
    'TFLite, int8': {'dense': 2},
  }
  assert all(file.bytes > 0 for file in written)
  assert {file.base for file in written} == {
    'TFLite, dense',
    'SavedModel, dense',
  }


def test_blocks_have_the_share_of_zeros_and_convolutions_none():
  model = keras.Sequential(
    [
      layers.Conv2D(4, 3, input_shape=(5, 5, 2)),
      layers.Flatten(),
      layers.Dense(10),
    ]
  )
  latency_files._zero_smallest(model, 0.5, 4)
  convolution, dense = (model.layers[i].kernel.numpy() for i in (0, 2))
  assert convolution.all()
  zero_blocks = (dense.reshape(9, 4, 10) == 0).all(1)
  assert zero_blocks.sum() * 4 == np.sum(dense == 0) == 180
  latency_files._zero_smallest(model, 0.5, 1)
  assert np.sum(model.layers[0].kernel == 0) == 36


@pytest.mark.long
def test_channels_leave_a_quarter_of_the_flops(written):
  dense, small = (
    inspection.read(file.path).facts['FLOPs a sample']
    for label in ('dense', 'channels')
    for file in written
    if file.label == f'SavedModel, {label}'
  )
  # Each of the 48 units is read 48 times and reads 30 values; the fewest go
  # that leave a quarter.
  assert dense == f'{2 * 48 * (30 + 48):,}'
  assert small == f'{2 * 12 * (30 + 48):,}'


@pytest.mark.long
def test_every_file_is_timed_at_every_batch_size(written):
  paths = [file.path for file in written]
  found = file_calls.measure(paths, [1, 2], threads=1, repeats=5)
  for times in (*found['1'].values(), *found['2'].values()):
    assert len(times) == call_times.PARTS and min(times) > 0


def test_a_file_of_one_batch_size_is_timed_at_that_alone(tmp_path):
  model = keras.Sequential([layers.Input((4,), 2), layers.Dense(3)])
  paths = [str(tmp_path / name) for name in ('a', 'b.tflite')]
  tf_unilth.export_saved_model(model, paths[0])
  tf_unilth.export_tflite(model, paths[1])
  found = file_calls.measure(paths, [1, 2], threads=1, repeats=5)
  assert found['1'] == {path: None for path in paths}
  assert all(found['2'].values())


def test_calls_are_timed_in_turn_and_the_least_of_each_part_counts(monkeypatch):
  clock, log = [0.0], []
  monkeypatch.setattr(call_times.time, 'perf_counter', lambda: clock[0])

  def call(name, seconds):
    log.append(name)
    clock[0] += seconds + len(log) // 100

  calls = {'a': lambda: call('a', 1), 'b': lambda: call('b', 2)}
  found = call_times.minima(calls, 10, 5)
  assert ''.join(log[6:]) == 'ab' * 10
  assert found == {'a': [1.0] * 5, 'b': [2.0] * 5}


def _row(label, *times, **more):
  seconds = {'1 thread, batch 1': list(times), '1 thread, batch 32': None}
  return {
    **{'network': 'net', 'label': label, 'base': 'dense', 'bytes': 1234},
    **{'kernels': {}, 'seconds': seconds, **more},
  }


ROWS = [
  _row('dense', 0.002, 0.004, kernels={'dense': 2}),
  _row('blocks', 0.001, 0.001, kernels={'sparse 1x4': 1, 'dense': 1}),
]


def test_the_table_has_the_ratios_of_the_least_times():
  assert latency_report.table(ROWS).splitlines() == [
    '| network | file | bytes | run sparse | 1 thread, batch 1 | 1 thread, '
    'batch 32 |',
    '|---|---|---|---|---|---|',
    '| net | dense | 1,234 | 0 of 2 | 2 ms |  |',
    '| net | blocks | 1,234 | 1 of 2 | 2.00 (2.00 to 4.00) |  |',
  ]


def test_the_table_of_files_has_no_columns_without_a_cell():
  files = [{**row, 'network': '', 'kernels': {}} for row in ROWS]
  assert latency_report.table(files).splitlines() == [
    '| file | bytes | 1 thread, batch 1 | 1 thread, batch 32 |',
    '|---|---|---|---|',
    '| dense | 1,234 | 2 ms |  |',
    '| blocks | 1,234 | 2.00 (2.00 to 4.00) |  |',
  ]


def test_the_summary_has_a_row_per_variant_and_columns_per_runtime():
  rows = []
  for runtime, seconds in (('TFLite', 1.0), ('SavedModel', 4.0)):
    for label, ratio in (('dense', 1), ('blocks 90%', 2)):
      label = f'{runtime}, {label}'
      row = _row(label, seconds / ratio, base=f'{runtime}, dense')
      rows.append(row)
  assert latency_report.summary(rows) == [
    '| network | variant | TFLite, batch 1 | TFLite, batch 32 | '
    'SavedModel, batch 1 | SavedModel, batch 32 |',
    '|---|---|---|---|---|---|',
    '| net | blocks 90% | 2.00 (2.00 to 2.00) |  | 2.00 (2.00 to 2.00) |  |',
  ]


def test_the_plot_shows_them(tmp_path):
  latency_report.plot(tmp_path / 'plot.png', ROWS)
  assert pictures.coloured_share(tmp_path / 'plot.png') > 0.0005


def test_a_path_that_is_no_model_is_named(tmp_path):
  with pytest.raises(ValueError, match=r'--files: .*nothing. is neither a Sav'):
    latency_files.existing([str(tmp_path / 'nothing')])


@pytest.mark.long
def test_the_program_times_files_and_writes_a_result(written, tmp_path):
  dense, _, ticket, *_ = (file.path for file in written)
  command = [sys.executable, '-m', 'recipes.costs.latency', '--calls=5']
  options = [
    *(f'--files={dense},{ticket}', f'--output={tmp_path / "found"}'),
    *('--threads=1', '--batches=1,2'),
  ]
  done = subprocess.run(
    [*command, *options], capture_output=True, text=True, check=True
  )
  content = json.loads((tmp_path / 'found.json').read_text())
  assert [row['base'] for row in content['files']] == [dense, dense]
  names = [latency_report.setting_name(1, batch) for batch in (1, 2)]
  for row in content['files']:
    assert list(row['seconds']) == names
    assert all(len(times) == 5 for times in row['seconds'].values())
  assert (tmp_path / 'found.md').read_text() in done.stdout
  assert (tmp_path / 'found.png').exists()
