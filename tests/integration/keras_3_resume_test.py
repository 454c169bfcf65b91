"""CheckpointAndResume with Keras 3: runs that died end bit-identical."""

import keras
import pytest

from tests.stress import torture_keras_run
from tests.testing import import_order
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


_WITHOUT_TENSORFLOW = """
import keras, numpy as np, tempfile, tf_unilth
def train(directory, epochs):
  keras.utils.set_random_seed(0)
  model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
  model.compile('sgd', 'mse')
  class Stop(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
      if epoch == epochs:
        raise KeyboardInterrupt
  resume = tf_unilth.CheckpointAndResume(directory, verbose=0)
  try:
    model.fit(np.ones((8, 4)), np.ones((8, 2)), epochs=2, verbose=0,
              callbacks=[resume, Stop()])
  except KeyboardInterrupt:
    pass
  return model.get_weights()[0].tobytes()
directory = tempfile.mkdtemp()
train(directory, 1)
assert train(directory, 9) == train(tempfile.mkdtemp(), 9)
"""


@pytest.mark.long
def test_it_needs_no_tensorflow_on_other_backends():
  if keras.backend.backend() != 'jax':
    pytest.skip('tried on JAX')
  blocked = 'tensorflow', 'tf_keras', 'tensorflow_model_optimization'
  import_order.run(_WITHOUT_TENSORFLOW, blocked, KERAS_BACKEND='jax')
