"""What ticket callbacks refuse: models, callbacks, optimizers, arguments."""

import copy

import keras as keras3
import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys

SGD = keras.optimizers.SGD


def _schedule(target=0.5, **arguments):
  return tf_unilth.IterativeSparsity(target, **arguments)


def _model(target=0.5, optimizer=None, **arguments):
  keras.utils.set_random_seed(1)
  return toys.wrapped(toys.dense(), _schedule(target, **arguments), optimizer)


# Bad input.


def _error(match, model, *callbacks, error=ValueError, **arguments):
  with pytest.raises(error, match=match):
    toys.fit(model, *callbacks, **arguments)


def test_a_model_without_wrapped_layers_is_refused():
  model = toys.compiled_for_labels(toys.dense())
  _error('model has no wrapped layer', model, tf_unilth.UniLTH())


def test_a_schedule_that_is_not_ours_is_refused():
  schedule = tfmot.sparsity.keras.ConstantSparsity(0.5, 0)
  model = toys.wrapped(toys.dense(), schedule)
  _error(
    "layer 'flatten.*' must be a tf_unilth.IterativeSparsity, but is a Const",
    model,
    tf_unilth.UniLTH(),
  )


def test_two_ticket_callbacks_are_refused():
  _error(
    'one ticket callback, but contain UniLTH and LTH',
    _model(),
    tf_unilth.UniLTH(),
    tf_unilth.LTH(),
  )


def test_no_validation_data_is_refused_before_the_first_epoch():
  begun = []
  watch = keras.callbacks.LambdaCallback(
    on_epoch_begin=lambda epoch, logs: begun.append(epoch)
  )
  _error(
    "monitor='val_loss' needs validation data",
    _model(),
    watch,
    tf_unilth.UniLTH(),
    validation_data=None,
  )
  assert not begun


@pytest.mark.parametrize('validation_freq', [1, 2])
def test_an_unknown_monitor_names_those_there_are(validation_freq):
  _error(
    "'val_los' is not in the logs of epoch.*'val_accuracy', 'val_loss'",
    _model(),
    tf_unilth.UniLTH(monitor='val_los', patience=5, max_dense_fraction=0.9),
    validation_freq=validation_freq,
  )


def test_restore_best_weights_is_refused():
  stop = keras.callbacks.EarlyStopping(restore_best_weights=True)
  _error('must be False, but is True', _model(), tf_unilth.UniLTH(), stop)


def test_use_ema_is_refused():
  optimizer = SGD(0.1, use_ema=True)
  _error('use_ema.*must be False', _model(optimizer=optimizer), tf_unilth.LTH())


def test_a_hidden_restore_of_old_weights_is_noticed_and_undone(capsys):
  class Restore(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
      self._kept = self.model.get_weights()

    def on_epoch_end(self, epoch, logs=None):
      if epoch == 7:
        self.model.set_weights(self._kept)

  model = _model()
  toys.fit(model, tf_unilth.UniLTH(), Restore())
  masks = toys.masks(model)
  assert toys.zeros(masks) == round(0.5 * toys.size(masks))
  assert toys.zeros(toys.kernels(model)) == toys.zeros(masks)
  assert 'the masks are restored' in capsys.readouterr().out


def test_backup_before_ours_is_refused(tmp_path):
  backup = keras.callbacks.BackupAndRestore(str(tmp_path))
  with pytest.raises(ValueError, match='must list UniLTH before Backup'):
    toys.fit(_model(), backup, tf_unilth.UniLTH())


def test_a_csv_logger_before_ours_is_warned_of(tmp_path):
  before = keras.callbacks.CSVLogger(str(tmp_path / 'before.csv'))
  after = keras.callbacks.CSVLogger(str(tmp_path / 'after.csv'))
  with pytest.warns(UserWarning, match='CSVLogger is listed before UniLTH'):
    toys.fit(_model(), before, tf_unilth.UniLTH(verbose=0), after)
  header = (tmp_path / 'after.csv').read_text().splitlines()[0]
  for name in ('sparsity', 'stage', 'round', 'l2_lambda'):
    assert name in header


@pytest.mark.parametrize('make', [tf_unilth.UniLTH, tf_unilth.LTH])
def test_nan_weights_stop_the_run_and_name_the_layer(make):
  model = _model(0.9)
  spoil = keras.callbacks.LambdaCallback(
    on_train_batch_end=lambda batch, logs: (
      model.layers[1].layer.kernel[0, 0].assign(np.nan)
    )
  )
  name = model.layers[1].layer.name
  _error(
    f"layer '{name}' has NaN or infinite weights",
    model,
    make(verbose=0),
    spoil,
    error=FloatingPointError,
  )
  assert not toys.zeros(toys.masks(model))  # Never became a mask.


def test_a_nan_loss_stops_the_run():
  x, y = toys.data()
  model = _model()
  model.compile(SGD(0.0), lambda _, y: 0.0 * y + np.nan)
  with pytest.raises(FloatingPointError, match='loss is nan'):
    model.fit(
      x,
      y,
      verbose=0,
      epochs=4,
      validation_data=(x, y),
      callbacks=[tf_unilth.UniLTH(verbose=0)],
    )


@pytest.mark.parametrize('first', [True, False])
@pytest.mark.parametrize('made', ['ticket', 'resume'])
def test_a_keras_3_callback_is_refused_with_the_way_out(made, first, tmp_path):
  model = toys.compiled_for_labels(
    tf_unilth.prune_low_magnitude(
      toys.dense(), tf_unilth.IterativeSparsity(0.5)
    )
  )
  ours = tf_unilth.UniLTH(verbose=0)
  if made == 'resume':
    ours = tf_unilth.CheckpointAndResume(tmp_path)
  callbacks = [ours, keras3.callbacks.EarlyStopping()]
  with pytest.raises(TypeError) as error:
    toys.fit(model, *callbacks[:: 1 if first else -1])
  assert 'callbacks must be a tf_keras.Callback, but it is a keras.src.' in str(
    error.value
  )
  assert 'Make it with tf_keras: `import tf_keras as keras`' in str(error.value)


@pytest.mark.parametrize(
  ('arguments', 'words'),
  [
    (
      {'optimizer': keras3.optimizers.SGD(0.1)},
      'optimizer must be a tf_keras.Optimizer, but it is a keras.src.',
    ),
    (
      {'metrics': ['accuracy', keras3.metrics.SparseCategoricalAccuracy()]},
      'metrics must be a tf_keras.Metric, but it is a keras.src.',
    ),
  ],
)
def test_what_compile_gets_of_keras_3_is_refused_with_the_way_out(
  arguments, words
):
  model = tf_unilth.prune_low_magnitude(
    keras.Sequential([keras.layers.Dense(4)]), tf_unilth.IterativeSparsity(0.5)
  )
  given = {'optimizer': 'sgd', 'loss': 'mse', **arguments}
  other = copy.deepcopy(model)
  for one in (model, other):
    with pytest.raises(TypeError, match=f'{words}.*import tf_keras as keras'):
      one.compile(**given)
  # And what is not refused is compiled as without.
  other.compile('adam', 'mse', metrics=['accuracy'], run_eagerly=True)
  assert other.optimizer is not None and other.run_eagerly
  assert model.optimizer is None


@pytest.mark.parametrize(
  'make, arguments, match',
  [
    (tf_unilth.UniLTH, {'patience': 0}, 'patience must be None or.*>= 1'),
    (tf_unilth.UniLTH, {'patience': -1}, 'patience.*but is -1'),
    (tf_unilth.UniLTH, {'patience': 1.5}, 'patience.*but is 1.5'),
    (tf_unilth.UniLTH, {'rewind_epochs': -1}, 'rewind_epochs must be'),
    (tf_unilth.UniLTH, {'min_delta': -0.1}, 'min_delta must be a finite'),
    (tf_unilth.UniLTH, {'mode': 'up'}, "mode must be.*but is 'up'"),
    (tf_unilth.UniLTH, {'max_dense_fraction': 1.0}, 'max_dense_fraction'),
    (tf_unilth.UniLTH, {'finetune_fraction': 1.1}, 'finetune_fraction'),
    (tf_unilth.UniLTH, {'ramp': 0.1}, 'ramp must be None or an L2Ramp'),
    (tf_unilth.UniDLTH, {'seed': -1}, 'seed must be a whole number'),
    (tf_unilth.DLTH, {'seed': 0.5}, 'seed must be a whole number'),
    (tf_unilth.LTH, {'rewind': 'mask'}, "rewind must be.*but is 'mask'"),
    (tf_unilth.LTH, {'rewind_step': -1}, 'rewind_step.*but is -1'),
  ],
)
def test_arguments_out_of_range_are_named(make, arguments, match):
  with pytest.raises(ValueError, match=match):
    make(**arguments)


# What died without a word, and what others do.


@pytest.mark.parametrize(
  'arguments, match',
  [
    ({'finetune_fraction': '0.4'}, "finetune_fraction must .* but is '0.4'"),
    ({'finetune_fraction': True}, 'finetune_fraction must .* but is True'),
    ({'seed': 1.0}, 'seed must be a whole number >= 0, but is 1.0'),
    ({'seed': True}, 'seed must be a whole number >= 0, but is True'),
    ({'ramp': np.ones((2, 2))}, 'ramp must be None or an L2Ramp, but is array'),
  ],
)
def test_arguments_of_a_wrong_type_are_named(arguments, match):
  with pytest.raises(ValueError, match=match):
    tf_unilth.DLTH(**arguments)


@pytest.mark.parametrize(
  'arguments, match',
  [
    ({'rewind': np.ones(2)}, 'rewind must be one of'),
    (
      {'rewind_step': True},
      'rewind_step must be a whole number >= 0, but is T',
    ),
    ({'rewind_step': '3'}, "rewind_step .* but is '3'"),
  ],
)
def test_arguments_of_lth_of_a_wrong_type_are_named(arguments, match):
  with pytest.raises(ValueError, match=match):
    tf_unilth.LTH(**arguments)
