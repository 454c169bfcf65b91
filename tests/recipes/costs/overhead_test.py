"""The recipes that time what pruning costs."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tf_keras as keras

from recipes.costs import (
  keras_3_times,
  mask_update,
  memory,
  overhead_report,
  overhead_times,
  step_times,
  workloads,
)
from tests.testing import pictures, toys


def _build(input_shape, classes):
  return keras.Sequential(
    [
      keras.layers.Flatten(input_shape=input_shape),
      keras.layers.Dense(20),
      keras.layers.Dense(classes),
    ]
  )


@pytest.fixture(scope='module')
def found():
  """The times of a small model."""
  workload = workloads.Workload(_build, (6, 6, 1), 4, 2)
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(workloads.WORKLOADS, 'toy', workload)
    times = overhead_times.measure('toy', ['tfmot', 'LTH', 'UniLTH'], 3)
  times['footprints'] = [
    {'method': m, 'first_step': s, 'peak_bytes': p, 'wrapped_bytes': w}
    for m, s, p, w in (('dense', 1.0, 5e6, 0), ('UniLTH', 2.0, 9e6, 2e6))
  ]
  return times


@pytest.mark.long
def test_every_stage_is_timed_beside_the_same_epoch_of_the_dense_model(found):
  rows = found['steps']
  stages = {(row['method'], row['stage']) for row in rows}
  assert len(rows) == 4 * workloads.EPOCHS
  assert ('UniLTH', 'ramp') in stages and ('LTH', 'mask held') in stages
  for row in rows:
    assert len(row['seconds']) == 3 and min(row['seconds']) > 0
  dense = [row for row in rows if row['method'] == 'dense']
  for own, other in zip(dense, rows[-workloads.EPOCHS :]):
    np.testing.assert_allclose(
      other['ratios'], np.divide(other['seconds'], own['seconds'])
    )


@pytest.mark.long
def test_evaluations_and_events_are_timed(found):
  for kind in ('evaluate', 'predict'):
    assert {row['method'] for row in found[kind]} == {
      'dense',
      'tfmot',
      'LTH',
      'UniLTH',
    }
  assert {n: len(seconds) for n, seconds in found['events'].items()} == {
    'mask update': 3,
    'snapshot': 3,
    'rewind': 3,
    'checkpoint': 3,
  }


@pytest.mark.long
def test_the_table_and_the_plot_show_all_of_it(found, tmp_path):
  table = overhead_report.table('toy', found)
  assert all(line.count('|') == 5 for line in table.strip().splitlines())
  assert '| first step | UniLTH | 2 s | 2.000 |' in table
  assert '| peak memory | UniLTH | 9 MB | +4 MB, 2.0 copies of the w' in table
  assert '| checkpoint |' in table and 'UniLTH, mask held' in table
  overhead_report.plot(tmp_path / 'plot.png', {'a': found, 'b': found})
  assert pictures.coloured_share(tmp_path / 'plot.png') > 0.003


def test_panels_of_a_plot_share_rows_that_not_all_of_them_have(
  found, tmp_path, monkeypatch
):
  from matplotlib import axes

  drawn = []
  labels = []
  monkeypatch.setattr(
    axes.Axes, 'errorbar', lambda _, x, y, **__: drawn.append((x, y))
  )
  monkeypatch.setattr(
    axes.Axes, 'set_yticks', lambda _, places, names: labels.append(names)
  )
  fewer = {
    **found,
    'steps': [row for row in found['steps'] if row['method'] != 'tfmot'],
  }
  overhead_report.plot(tmp_path / 'plot.png', {'a': found, 'b': fewer})
  assert labels[0] == labels[1]
  last = [y for _, y in drawn].index(len(labels[0]) - 1) + 1
  assert set(drawn[last:]) < set(drawn[:last])  # The same in the same places.


@pytest.mark.parametrize('name', list(workloads.METHODS)[1:])
def test_contenders_are_in_the_stages_that_they_name(name):
  workload = workloads.Workload(_build, (6, 6, 1), 4, 2)
  method = workloads.METHODS[name]
  model = workloads.model_of(workload, method, 4, jit_compile=False)
  sparsities = []
  history = model.fit(
    workload.data(),
    epochs=workloads.EPOCHS,
    steps_per_epoch=4,
    callbacks=[
      *method.callbacks(),
      keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: sparsities.append(_sparsity(model))
      ),
    ],
    verbose=0,
  ).history
  for epoch, stage in enumerate(method.stages[1:], 1):
    assert (stage == 'mask held') == (sparsities[epoch - 1] > 0.89)
    if 'round' in history:
      assert (stage == 'ramp') == (
        history['round'][epoch - 1] == 0
        and history['stage'][epoch - 1] == 2
        and name != 'LTH'
      )


def _sparsity(model):
  masks = toys.masks(model)
  return toys.zeros(masks) / toys.size(masks)


def test_an_error_in_one_fit_ends_all():
  class Fail(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
      raise ValueError('mine')

  def fit(*callbacks):
    return step_times.Fit(
      toys.compiled_for_labels(_build((6, 6, 1), 10)),
      callbacks,
      workloads.Workload(_build, (6, 6, 1), 4, 2).data(),
    )

  with pytest.raises(ValueError, match='mine'):
    step_times.interleaved({'a': fit(), 'b': fit(Fail())}, 1, 2, 2)


def test_the_making_of_masks_is_timed_for_ours_and_tfmot():
  seconds = mask_update.measure(weights=10_000, layers=2, repeats=2)
  assert {name.split(',')[0] for name in seconds} == {
    'tfmot',
    'global',
    'layer',
  }
  assert all(len(times) == 2 and min(times) > 0 for times in seconds.values())


def test_mask_cost_checks_that_both_reach_the_sparsity():
  # What is timed must be the real thing: both make 90% zeros.
  model = mask_update._model(10_000, 2)
  for update in (
    mask_update._tfmot_update(model),
    mask_update._Ours(model, 'global').update,
  ):
    update()
    masks = [
      mask.numpy()
      for layer in model.layers
      for _, mask, _ in getattr(layer, 'pruning_vars', [])
    ]
    total = sum(mask.size for mask in masks)
    assert sum((mask == 0).sum() for mask in masks) == round(0.9 * total)


def test_a_peak_of_memory_is_not_that_of_the_process_before():
  code = 'from recipes.costs import memory; print(memory.peak())'
  own = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert 1e6 < int(own.stdout) < 100e6 < memory.peak()  # We have TensorFlow.


@pytest.mark.parametrize(('platform', 'unit'), [('darwin', 1), ('aix', 1024)])
def test_a_peak_without_proc_is_in_bytes(platform, unit, tmp_path, monkeypatch):
  monkeypatch.setattr(memory, '_STATUS', tmp_path / 'none')
  monkeypatch.setattr(memory.sys, 'platform', platform)
  usage = type('Usage', (), {'ru_maxrss': 7})
  monkeypatch.setattr(memory.resource, 'getrusage', lambda _: usage)
  assert memory.peak() == 7 * unit


def test_steps_of_keras_3_models_are_timed(monkeypatch, capsys, tmp_path):
  monkeypatch.setattr(keras_3_times, '_STEPS', 3)
  monkeypatch.setattr(keras_3_times, '_WARM', 1)
  # This process has computed.
  monkeypatch.setattr(keras_3_times, '_use_one_thread', lambda: None)
  networks = {'lenet': keras_3_times.lenet}
  monkeypatch.setattr(keras_3_times, 'NETWORKS', networks)
  keras_3_times.run(tmp_path / 'found', repeats=2)
  printed = capsys.readouterr().out
  assert printed.startswith('Keras 3.') and '| lenet | mask held |' in printed
  found = json.loads((tmp_path / 'found.json').read_text())
  assert found['backend'] == 'tensorflow' and found['versions']['tf_unilth']
  for seconds in found['seconds_per_step']['lenet'].values():
    assert len(seconds) == 2 and min(seconds) > 0
