"""CheckpointAndResume with Keras 3: runs that died end bit-identical."""

import functools

import keras
import pytest

import tf_unilth
from tests.stress import torture_keras_run
from tests.testing import import_order, keras_3_toys
from tests.testing.interrupts import At

pytestmark = pytest.mark.keras3
BACKEND = keras.backend.backend()


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
@pytest.mark.skipif(BACKEND == 'tensorflow', reason='the backend is TensorFlow')
def test_it_needs_no_tensorflow_on_other_backends():
  blocked = 'tensorflow', 'tf_keras', 'tensorflow_model_optimization'
  import_order.run(_WITHOUT_TENSORFLOW, blocked, KERAS_BACKEND=BACKEND)


def _run_with_tickets(directory, keep, *more):
  """Trains to the end, and saves a ticket per epoch, and the worst of all.

  Args:
    directory: of the tickets.
    keep: the callback that saves and restores the run.
    *more: further callbacks.

  Returns:
    The weights of the tickets by file, and the state of the training.
  """
  keras.utils.set_random_seed(1)
  model = keras_3_toys.planned(
    keras_3_toys.dense(),
    tf_unilth.IterativeSparsity(0.9, rounds=2),
    jit_compile=False,
  )
  each = tf_unilth.TicketCheckpoint(
    str(directory / '{epoch}-{val_loss:.6f}.weights.h5'), save_weights_only=True
  )
  # The loss falls: a resumed run that knew no value from before would save
  # another ticket.
  worst = tf_unilth.TicketCheckpoint(
    str(directory / 'worst.weights.h5'),
    mode='max',
    save_best_only=True,
    save_weights_only=True,
  )
  tickets = (each,) if isinstance(keep, _Backup) else (each, worst)
  keras_3_toys.fit(
    *(model, tf_unilth.UniLTH(patience=None, verbose=0), *tickets, keep),
    *more,
    epochs=10,
    shuffle=False,
  )
  saved = {}
  for file in directory.glob('*.h5'):
    loaded = keras_3_toys.dense()
    loaded.load_weights(file)
    saved[file.name] = [weight.tobytes() for weight in loaded.get_weights()]
  state = keras_3_toys.training_state(model)
  return saved, [array.tobytes() for array in state]


_Resume = functools.partial(
  tf_unilth.CheckpointAndResume, every_steps=3, verbose=0
)
_Backup = keras.callbacks.BackupAndRestore


@pytest.mark.long
@pytest.mark.parametrize(
  ('keep', 'deaths'),
  [
    (_Resume, (20, 57)),  # Before there is a ticket, and after some.
    (_Backup, (77,)),  # Keras's, which keeps no state of other callbacks.
  ],
)
def test_ticket_checkpoints_of_a_run_that_died_go_on(keep, deaths, tmp_path):
  whole, died = tmp_path / 'whole', tmp_path / 'died'
  expected = _run_with_tickets(whole, keep(str(tmp_path / 'kept whole')))
  for steps in deaths:
    assert not list(died.glob('*.h5'))
    with pytest.raises(Died):
      _run_with_tickets(died, keep(str(tmp_path / 'kept')), At(steps, _die))
  assert 0 < len(list(died.glob('*.h5'))) < len(expected[0])
  assert _run_with_tickets(died, keep(str(tmp_path / 'kept'))) == expected
