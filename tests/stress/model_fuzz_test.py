"""The model fuzz test: a few of its cases, and that it sees what is wrong."""

import keras
import numpy as np
import pytest

from tests.stress import fuzz_case, keras_fuzz_case, model_fuzz
from tf_unilth.selection import (
  channel_selection,
  mask_selection,
  round_sparsity,
)

pytestmark = pytest.mark.long

# Of seed 0: quick ones, of every kind; one is refused.
CASES = (62, 68, 73, 76, 80)


@pytest.mark.parametrize('index', CASES)
def test_a_random_model_is_pruned_or_refused(index):
  row = fuzz_case.run(0, index)
  assert row.outcome != fuzz_case.FAILED, row


@pytest.mark.keras3
@pytest.mark.parametrize('index', range(6))
def test_a_random_model_of_keras_3_is_pruned_or_refused(index):
  if keras.backend.backend() != 'tensorflow':
    pytest.skip('tried on one backend')
  row = keras_fuzz_case.run(0, index)
  assert row.outcome != fuzz_case.FAILED, row


def test_a_case_is_a_function_of_seed_and_index():
  one, other = fuzz_case.run(0, 7), fuzz_case.run(0, 7)
  assert 'target_sparsity must be in [0, 1), but is nan' in one.text
  assert (one.layers, one.pruning, one.text) == (
    other.layers,
    other.pruning,
    other.text,
  )


def test_a_wrong_sparsity_is_a_failure(monkeypatch):
  for module in (round_sparsity, mask_selection):
    monkeypatch.setattr(
      module, 'zeros_at', lambda s, n: max(0, round(s * n) - 1)
    )
  row = fuzz_case.run(0, 68)
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
  assert not fuzz_case.is_documented(ours.value)
  with pytest.raises(ValueError) as named:
    fuzz_case.tf_unilth.IterativeSparsity(2.0)
  assert fuzz_case.is_documented(named.value)
  with pytest.raises(ValueError) as others:
    int('target_sparsity')
  assert not fuzz_case.is_documented(others.value)


def test_a_case_that_hangs_is_a_failure():
  worker = model_fuzz.worker(seed=0, limit=0.01)
  row = worker.run(0)
  assert (row.outcome, row.index) == (fuzz_case.FAILED, 0)
  assert 'took more than' in row.text


def test_rows_are_read_again(tmp_path):
  row = fuzz_case.Row(3, 5, 'nested', 'Dense', outcome='failed', text='a\nb')
  path = tmp_path / 'rows.csv'
  model_fuzz.add(path, row)
  assert model_fuzz.known(path, 3) == [row]
  assert model_fuzz.known(path, 4) == []
  assert '--seed=3 --start=5 --count=1' in model_fuzz.summary([row])
