"""The fuzz of shrunk models: some of its cases, and that it sees faults."""

import dataclasses

import pytest

from tests.stress import shrink_fuzz
from tf_unilth.compression import channel_values

pytestmark = pytest.mark.long


@pytest.mark.parametrize('index', (0, 4, 5, 8, 13, 17))
def test_a_random_model_shrinks_and_computes_the_same(index):
  row = shrink_fuzz.run(1, index)
  assert row.outcome != shrink_fuzz.FAILED, row


def test_a_wrong_constant_is_a_failure(monkeypatch):
  # Constants that are padded with zeros would no longer be told apart.
  monkeypatch.setattr(
    channel_values, 'usable', lambda step, values: values == values
  )
  row = shrink_fuzz.run(1, 5)
  assert (
    row.outcome == shrink_fuzz.FAILED and 'smaller model is wrong' in row.text
  )


@pytest.mark.parametrize('index', (4, 15))
def test_a_known_network_becomes_smaller_and_says_what_stays(index):
  row = shrink_fuzz.run_network(0, index)
  assert row.outcome == shrink_fuzz.SMALLER, row
  assert row.model in ('ResNet-20', 'Transformer encoder')
  assert row.weights_kept < row.weights and row.flops_kept < row.flops
  assert 'output of the model (1 layer)' in row.pinned
  assert 'KerasTensor' not in row.pinned


def test_outputs_that_are_not_numbers_differ():
  layers = shrink_fuzz.keras.layers
  one = shrink_fuzz.keras.Sequential([layers.ReLU(input_shape=(3,))])
  other = shrink_fuzz.keras.Sequential(
    [layers.Lambda(lambda x: x / 0 * 0, input_shape=(3,))]
  )
  assert not shrink_fuzz._difference(one, other) <= shrink_fuzz._TOLERANCE
  assert shrink_fuzz._difference(other, other) == 0


def test_a_file_is_continued(tmp_path):
  row = dataclasses.asdict(shrink_fuzz.Row(3, 5, 'net', outcome='same'))
  del row['layers']
  path = tmp_path / 'rows.csv'
  shrink_fuzz.write(path, [{**row, 'index': 12, 'versions': 'v'}])
  shrink_fuzz.write(path, [*shrink_fuzz.known(path, 3), row])
  assert [r['index'] for r in shrink_fuzz.known(path, 3)] == ['5', '12']
  assert shrink_fuzz.known(path, 3)[1]['versions'] == 'v'
  assert not shrink_fuzz.known(path, 4)
