"""Silent faults of earlier versions, in the form that they have on Keras 3.

Forgotten callbacks, plain `fit` after a run, loops with `train_on_batch`, and
optimizers of one's own are in `model_hooks_test.py` and `keras_3_fit_test.py`.
"""

import warnings

import keras
import numpy as np
import pytest

import tf_unilth
from tests.testing import keras_3_toys, toys
from tf_unilth.files.checkpoint_errors import CheckpointError

pytestmark = [pytest.mark.keras3, pytest.mark.long]
layers = keras.layers
callbacks = keras.callbacks


def _planned(target=0.8, optimizer=None, model=None, **arguments):
  keras.utils.set_random_seed(1)
  schedule = tf_unilth.IterativeSparsity(target, **arguments)
  return keras_3_toys.planned(
    model or keras_3_toys.dense(), schedule, optimizer, jit_compile=False
  )


class _Die(callbacks.Callback):
  """Dies as an epoch begins."""

  def __init__(self, epoch):
    super().__init__()
    self._epoch = epoch

  def on_epoch_begin(self, epoch, logs=None):
    if epoch == self._epoch:
      raise KeyboardInterrupt


@pytest.fixture(scope='module')
def run_to_resume(tmp_path_factory):
  """Returns the directory of a dense run that died."""
  directory = tmp_path_factory.mktemp('run')
  with pytest.raises(KeyboardInterrupt):
    _dense_run(directory, _Die(1))
  return directory


def _dense_run(
  directory, *more, rate=0.1, activation='relu', loss=None, dropout=0.1
):
  keras.utils.set_random_seed(1)
  model = keras.Sequential(
    [layers.Input((6, 6, 1)), layers.Flatten()]
    + [layers.Dense(4, activation=activation), layers.Dropout(dropout)]
    + [layers.Dense(2)]
  )
  labels = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  model.compile(keras.optimizers.SGD(rate), loss or labels, jit_compile=False)
  resume = tf_unilth.CheckpointAndResume(directory, verbose=0)
  plateau = callbacks.ReduceLROnPlateau(patience=50)
  keras_3_toys.fit(model, plateau, *more, resume, epochs=3)


@pytest.mark.parametrize(
  'change, words',
  [
    ({'rate': 0.2}, 'learning rate.optimizer was 0.1 and is now 0.2'),
    ({'activation': 'tanh'}, "activation was 'relu' and is now 'tanh'"),
    ({'dropout': 0.3}, 'rate was 0.1 and is now 0.3'),
    ({'loss': 'sparse_categorical_crossentropy'}, 'loss'),
  ],
)
def test_a_resumed_run_with_another_setting_is_refused(
  change, words, run_to_resume
):
  with pytest.raises(CheckpointError, match='another run') as refused:
    _dense_run(run_to_resume, **change)
  assert words in str(refused.value)


def test_counters_are_not_given_to_another_callback(run_to_resume):
  with pytest.raises(CheckpointError, match='callbacks with counters were'):
    _dense_run(run_to_resume, callbacks.EarlyStopping(patience=60))


def test_a_run_that_stops_before_it_prunes_is_warned_of():
  model = _planned(optimizer=keras.optimizers.SGD(1e-6))
  stop = callbacks.EarlyStopping(patience=1, min_delta=1.0)
  with pytest.warns(UserWarning, match='target was NOT met'):
    keras_3_toys.fit(
      model, tf_unilth.UniLTH(patience=None, verbose=0), stop, epochs=20
    )
  with pytest.warns(UserWarning, match='is dense'):
    tf_unilth.strip_pruning(model)


def test_evaluate_writes_no_weights_after_strip():
  model = _planned()
  keras_3_toys.fit(model, tf_unilth.DLTH(verbose=0), epochs=3)
  model = tf_unilth.strip_pruning(model)
  kernel = model.trainable_variables[0]
  kernel.assign(np.ones(kernel.shape))
  model.evaluate(*toys.data(), verbose=0)
  assert (keras.ops.convert_to_numpy(kernel.value) == 1).all()


@pytest.mark.parametrize('optimizer', ['sgd', 'adam'])
def test_frozen_kernels_are_named(optimizer):
  frozen = keras_3_toys.dense()
  for layer in frozen.layers:
    layer.trainable = False
  head = [layers.Dense(2, name='head')]
  model = keras.Sequential([layers.Input((6, 6, 1)), frozen, *head])
  schedule = tf_unilth.IterativeSparsity(0.8)
  model = tf_unilth.prune_low_magnitude(model, schedule, skip=['head'])
  keras_3_toys.compiled_for_labels(model, optimizer, jit_compile=False)
  with pytest.raises(ValueError, match='frozen'):
    keras_3_toys.fit(model, tf_unilth.UniLTH(verbose=0), epochs=6)


def test_rounds_that_do_not_fit_are_counted(capsys):
  model = _planned(0.9)
  keras_3_toys.fit(model, tf_unilth.LTH(), epochs=6)
  assert 'of 11 rounds' in capsys.readouterr().out


def test_a_ticket_without_weights_to_rewind_to_is_warned_of():
  model, callback = _planned(), tf_unilth.UniLTH(patience=None, verbose=0)
  keras_3_toys.fit(model, callback, epochs=4)
  with pytest.warns(UserWarning, match='no rewind weights to begin from'):
    ticket = tf_unilth.Ticket.from_model(model, callback)
  with pytest.raises(ValueError, match='rewind'):
    ticket.apply(keras_3_toys.dense())


class _Unfreeze(callbacks.Callback):
  """Unfreezes a layer and makes the train function anew."""

  def on_epoch_begin(self, epoch, logs=None):
    if epoch == 2:
      self.model.layers[1].trainable = True
      self.model.make_train_function(force=True)


def test_a_train_function_that_is_made_anew_holds_masks_and_ramp():
  model, spy = _planned(), keras_3_toys.Spy()
  callback = tf_unilth.UniLTH(patience=None, verbose=0)
  history = keras_3_toys.fit(model, callback, _Unfreeze(), spy, epochs=8)
  assert callback.reached_target and any(history.history['l2_lambda'][2:])
  for masks, weights in spy.batches:
    for mask, weight in zip(masks, weights, strict=True):
      assert not weight[~mask].any()


def test_a_ticket_on_kernels_of_zeros_warns_of_nothing():
  model = _planned()
  start = model.get_weights()
  keras_3_toys.fit(model, tf_unilth.DLTH(verbose=0), epochs=3)
  ticket = tf_unilth.Ticket.from_model(model, rewind_weights=start)
  blank = keras_3_toys.dense()
  for weight in blank.trainable_variables:
    weight.assign(np.zeros(weight.shape))
  with warnings.catch_warnings():
    warnings.simplefilter('error', UserWarning)
    ticket.apply(blank)
  assert keras.ops.convert_to_numpy(blank.trainable_variables[0].value).any()


def test_a_pruning_policy_is_refused():
  with pytest.raises(TypeError, match='pruning_policy'):
    tf_unilth.prune_low_magnitude(
      keras_3_toys.dense(),
      tf_unilth.IterativeSparsity(0.5),
      pruning_policy='nonsense',
    )


def test_kernels_in_containers_of_keras_are_pruned_or_named():
  cells = [layers.GRUCell(3), layers.StackedRNNCells([layers.LSTMCell(3)])]
  for layer, shape in (
    (layers.SpectralNormalization(layers.Conv2D(4, 3)), (6, 6, 1)),
    (layers.RNN(layers.StackedRNNCells(cells)), (5, 3)),
  ):
    model = keras.Sequential([layers.Input(shape), layer, layers.Dense(3)])
    with warnings.catch_warnings(record=True) as said:
      warnings.simplefilter('always')
      tf_unilth.prune_low_magnitude(model, tf_unilth.IterativeSparsity(0.5))
    kernels = sum(
      int(np.prod(v.shape))
      for v in model.trainable_variables
      if len(v.shape) > 1 and 'bias' not in v.path
    )
    found = tf_unilth.sparsity_summary(model).total_weights
    assert found == kernels or any(layer.name in str(w.message) for w in said)
