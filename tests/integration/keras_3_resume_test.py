"""CheckpointAndResume with Keras 3: runs that died end bit-identical."""

import pytest

from tests.stress import torture_keras_run
from tests.testing.interrupts import At

pytestmark = pytest.mark.keras3


class Died(Exception):
  """A `fit` that died."""


def _die():
  raise Died


def _case(method, optimizer, every_steps=None):
  return {'method': method, 'optimizer': optimizer, 'every_steps': every_steps}


@pytest.mark.parametrize(
  ('case', 'died_at'),
  [
    # In stage 1: its snapshot must survive.
    pytest.param(_case('unilth', 'adam'), 20, marks=pytest.mark.long),
    (_case('unidlth', 'sgd', 5), 46),  # In a ramp, between two epochs.
    # The weights at step 0 must survive.
    pytest.param(_case('lth', 'sgd', 3), 5, marks=pytest.mark.long),
  ],
)
def test_a_run_that_died_ends_bit_identical(case, died_at, tmp_path):
  whole, history = torture_keras_run.train(case, tmp_path / 'whole')
  with pytest.raises(Died):
    torture_keras_run.train(case, tmp_path / 'died', At(died_at, _die))
  resumed, resumed_history = torture_keras_run.train(
    case, tmp_path / 'died', At(0, _die)
  )
  assert torture_keras_run.hashes(whole, history) == torture_keras_run.hashes(
    resumed, resumed_history
  )
  # Once more: it is finished, and nothing is trained.
  again, again_history = torture_keras_run.train(
    case, tmp_path / 'died', At(1, _die)
  )
  assert torture_keras_run.hashes(whole, history) == torture_keras_run.hashes(
    again, again_history
  )
