"""The fuzz of shrunk models: some of its cases, and that it sees faults."""

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
