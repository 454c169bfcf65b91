"""What does less than its name says, says so by a warning."""

import warnings

import numpy as np
import pytest
import tf_keras as keras

import tf_unilth
from tests.testing import toys

_EARLY = keras.callbacks.EarlyStopping
_REDUCE = keras.callbacks.ReduceLROnPlateau
_SCHEDULER = keras.callbacks.LearningRateScheduler


def _wrapped(target=0.8, optimizer=None, **schedule):
  keras.utils.set_random_seed(1)
  model = tf_unilth.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(target, **schedule)
  )
  return toys.compiled_for_labels(model, optimizer)


def _warned(model, *callbacks, **arguments):
  """Fits, and returns what was warned of."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    toys.fit(model, *callbacks, **arguments)
  return ' | '.join(str(w.message) for w in caught)


@pytest.mark.parametrize('verbose', [0, 1])
def test_a_fit_that_ends_before_its_target_warns(verbose):
  stop = keras.callbacks.LambdaCallback(
    on_epoch_end=lambda epoch, logs: setattr(model, 'stop_training', True)
  )
  model = _wrapped()
  said = _warned(model, tf_unilth.UniLTH(verbose=verbose), stop)
  assert 'UniLTH: fit ended early and the target was NOT met: 0 of 608' in said


@pytest.mark.parametrize(
  'stopping, warns',
  [
    (_EARLY(patience=3), True),
    (_EARLY('val_accuracy', patience=3, start_from_epoch=3), True),
    (_EARLY(patience=3, start_from_epoch=5), False),
    (_EARLY('sparsity', patience=3, mode='max'), False),
    (tf_unilth.TicketEarlyStopping(patience=3), False),
  ],
)
def test_early_stopping_on_what_the_cuts_worsen_is_warned_of(stopping, warns):
  said = _warned(_wrapped(), tf_unilth.DLTH(verbose=0), stopping)
  assert ('TicketEarlyStopping' in said) == warns
  assert ('start_from_epoch=4' in said) == warns


def test_early_stopping_of_a_finished_ticket_is_not_warned_of():
  model = tf_unilth.prune_low_magnitude(toys.dense(), tf_unilth.FixedMask())
  toys.compiled_for_labels(model)
  stopping = _EARLY(patience=1)
  assert not _warned(model, tf_unilth.DLTH(verbose=0), stopping, epochs=2)


@pytest.mark.parametrize(
  'rate, callback, warns',
  [
    (0.05, _REDUCE(patience=2), "monitors 'val_loss', which pruning worsens"),
    (0.05, _REDUCE(patience=50), ''),
    (tf_unilth.StagedLearningRate(0.05), _REDUCE(patience=2), 'does nothing'),
    (
      tf_unilth.StagedLearningRate(0.05),
      _SCHEDULER(lambda epoch, rate: rate),
      'LearningRateScheduler does nothing: the learning rate is a StagedLe',
    ),
    (0.05, _SCHEDULER(lambda epoch, rate: rate), ''),
  ],
)
def test_a_learning_rate_that_another_callback_moves(rate, callback, warns):
  model = _wrapped(optimizer=keras.optimizers.SGD(rate))
  said = _warned(model, tf_unilth.DLTH(verbose=0), callback, epochs=4)
  assert warns in said if warns else not said


def test_ticket_early_stopping_waits_for_the_target():
  model = _wrapped()
  stopping = tf_unilth.TicketEarlyStopping(
    'epoch', mode='min', patience=2, restore_best_weights=True
  )

  class Number(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
      logs['epoch'] = epoch  # Worse in each.
      weights.append(self.model.get_weights())

  weights: list = []
  ticket = tf_unilth.DLTH(verbose=0)
  history = toys.fit(model, ticket, Number(), stopping, epochs=12)
  # Stage 3 begins when epoch 6 ends; the best of it is the first.
  stages = history.history['stage']
  assert stages.index(3) == 5 and len(stages) == 8
  assert toys.zeros(toys.kernels(model)) == round(0.8 * 608)
  for now, then in zip(model.get_weights(), weights[5]):
    np.testing.assert_array_equal(now, then)


def test_ticket_early_stopping_without_a_ticket_is_that_of_keras():
  for model in (toys.dense(), _wrapped(0.0)):
    toys.compiled_for_labels(model)
    stopping = tf_unilth.TicketEarlyStopping('epoch', patience=1)
    number = keras.callbacks.LambdaCallback(
      on_epoch_end=lambda epoch, logs: logs.update(epoch=epoch)
    )
    callbacks = [number, stopping]
    if toys.masks(model):
      callbacks.insert(0, tf_unilth.UniLTH(verbose=0))
    assert len(toys.fit(model, *callbacks, epochs=5).epoch) == 2


@pytest.mark.parametrize('run_eagerly', [False, True])
@pytest.mark.parametrize('train', ['fit', 'train_on_batch'])
@pytest.mark.parametrize(
  'schedule', [tf_unilth.IterativeSparsity(0.5), tf_unilth.FixedMask()]
)
def test_training_without_a_callback_names_it_in_one_line(
  schedule, train, run_eagerly
):
  model = tf_unilth.prune_low_magnitude(toys.dense(), schedule)
  toys.compiled_for_labels(model, run_eagerly=run_eagerly)
  options = {'verbose': 0} if train == 'fit' else {}
  with pytest.raises(ValueError) as error:
    getattr(model, train)(*toys.data(), **options)
  assert 'tf_unilth.UniLTH()' in str(error.value)
  assert len(str(error.value).splitlines()) == 1
