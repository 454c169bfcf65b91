"""The model fuzz test: a few of its cases, and that it sees what is wrong."""

import dataclasses

import keras
import numpy as np
import pytest

from tests.stress import (
  fuzz_case,
  fuzz_errors,
  keras_fuzz_case,
  model_fuzz,
)
from tf_unilth.engines.keras3 import layer_tree
from tf_unilth.selection import (
  channel_selection,
  mask_selection,
  round_sparsity,
)

pytestmark = pytest.mark.long

# Of seed 0: quick ones, of every kind; one is refused.
CASES = (62, 68, 73, 76, 80)
# A quick one with several kernels.
_KERAS_3 = 16


@pytest.mark.parametrize('index', CASES)
def test_a_random_model_is_pruned_or_refused(index):
  row = fuzz_case.run(0, index)
  assert row.outcome != fuzz_case.FAILED, row


@pytest.mark.keras3
@pytest.mark.parametrize('index', (2, 6, 14, 16))
def test_a_random_model_of_keras_3_is_pruned_or_refused(index):
  row = keras_fuzz_case.run(0, index)
  assert row.outcome != fuzz_case.FAILED, row
  assert row.backend == keras.backend.backend()


@pytest.mark.keras3
def test_a_kernel_of_keras_3_that_is_left_out_is_a_failure(monkeypatch):
  found = layer_tree.kernel_layers
  monkeypatch.setattr(layer_tree, 'kernel_layers', lambda m: list(found(m))[1:])
  row = keras_fuzz_case.run(0, _KERAS_3)
  assert row.outcome == fuzz_case.FAILED
  assert 'kernels are pruned, of' in row.text


def test_a_case_is_a_function_of_seed_and_index():
  one, other = fuzz_case.run(0, 7), fuzz_case.run(0, 7)
  assert 'target_sparsity must be in [0, 1), but is nan' in one.text
  assert (one.layers, one.pruning, one.text) == (
    other.layers,
    other.pruning,
    other.text,
  )


@pytest.mark.parametrize(
  ('run', 'index'),
  [
    (fuzz_case.run, 68),
    pytest.param(keras_fuzz_case.run, _KERAS_3, marks=pytest.mark.keras3),
  ],
)
def test_a_wrong_sparsity_is_a_failure(run, index, monkeypatch):
  for module in (round_sparsity, mask_selection):
    monkeypatch.setattr(
      module, 'zeros_at', lambda s, n: max(0, round(s * n) - 1)
    )
  row = run(0, index)
  assert row.outcome == fuzz_case.FAILED
  assert 'are pruned instead of' in row.text


def test_whole_channels_go():
  row = fuzz_case.run(0, 0, channels=True)
  assert row.outcome == fuzz_case.TRAINED, row
  assert row.kind == 'network' and 'channels' in row.pruning


def test_more_channels_than_needed_are_a_failure(monkeypatch):
  def all_but_one(channels, scores, kept, *_):
    first = np.searchsorted(channels.group_of, range(len(channels.groups)))
    return np.isin(np.arange(kept.size), first)

  monkeypatch.setattr(channel_selection, 'select_units', all_but_one)
  row = fuzz_case.run(0, 0, channels=True)
  assert row.outcome == fuzz_case.FAILED
  assert 'more than needed' in row.text


def test_only_errors_of_ours_that_name_an_argument_are_refusals():
  with pytest.raises(ValueError) as ours:
    mask_selection.random_scores([(2,)], seed=-1)
  assert not fuzz_errors.is_documented(ours.value)
  with pytest.raises(ValueError) as named:
    fuzz_case.tf_unilth.IterativeSparsity(2.0)
  assert fuzz_errors.is_documented(named.value)
  with pytest.raises(ValueError) as others:
    int('target_sparsity')
  assert not fuzz_errors.is_documented(others.value)


def test_a_case_that_hangs_is_a_failure():
  worker = model_fuzz.worker(seed=0, limit=0.01)
  row = worker.run(0)
  assert (row.outcome, row.index) == (fuzz_case.FAILED, 0)
  assert 'took more than' in row.text


def test_rows_are_read_again(tmp_path):
  row = fuzz_case.Row(3, 5, 'nested', 'Dense', outcome='failed', text='a\nb')
  of_keras_3 = dataclasses.replace(row, backend='jax')
  path = tmp_path / 'rows.csv'
  model_fuzz.add(path, row)
  model_fuzz.add(path, of_keras_3)
  assert model_fuzz.known(path, 3) == [row]
  assert model_fuzz.known(path, 3, 'jax') == [of_keras_3]
  assert model_fuzz.known(path, 3, 'torch') == []
  assert model_fuzz.known(path, 4) == []
  again = 'python -m tests.stress.model_fuzz --seed=3 --start=5 --count=1'
  assert f'    {again}' in model_fuzz.summary([row]).splitlines()
  again = f'    KERAS_BACKEND=jax {again} --keras=keras'
  assert again in model_fuzz.summary([of_keras_3]).splitlines()
