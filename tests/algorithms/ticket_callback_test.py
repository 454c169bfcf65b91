"""Ticket callbacks in `fit`: budget, messages, resuming, what is refused."""

import copy
import pathlib

import keras as keras3
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys

SGD = keras.optimizers.SGD
_ROOT = pathlib.Path(__file__).parents[2]


def _schedule(target=0.5, **arguments):
  return tf_unilth.IterativeSparsity(target, **arguments)


def _model(target=0.5, optimizer=None, **arguments):
  keras.utils.set_random_seed(1)
  return toys.wrapped(toys.dense(), _schedule(target, **arguments), optimizer)


def _finished(target=0.5):
  model = _model(target)
  toys.fit(model, tf_unilth.UniLTH(verbose=0), epochs=5)
  return model


# What a user sees.


def test_an_interrupt_says_that_the_target_was_not_met(capsys):
  class Interrupting(keras.layers.Layer):
    calls = 0

    def call(self, inputs, training=None):
      if training:
        Interrupting.calls += 1
        if Interrupting.calls > 20:
          raise KeyboardInterrupt
      return inputs

  model = keras.Sequential([toys.dense(), Interrupting()])
  for_pruning = tfmot.sparsity.keras.prune_low_magnitude(
    model.layers[0], _schedule(0.9)
  )
  model = keras.Sequential([for_pruning, Interrupting()])
  model.build((None, 6, 6, 1))
  toys.compiled_for_labels(model, run_eagerly=True)
  with pytest.raises(KeyboardInterrupt):
    toys.fit(model, tf_unilth.UniLTH())
  assert 'target was NOT met' in capsys.readouterr().out
  assert 'train_step' not in vars(model)  # The hook has left the model.


@pytest.mark.parametrize(
  'name',
  ['plateau_epoch', 'rewound_to_epoch', 'rounds', 'sparsity', 'reached_target'],
)
def test_before_fit_there_is_nothing_to_tell(name):
  with pytest.raises(RuntimeError, match='UniLTH has not been used in fit yet'):
    getattr(tf_unilth.UniLTH(), name)


# The budget.


@pytest.mark.parametrize('name', ['unilth', 'lth'])
def test_unknown_steps_are_counted_in_the_first_epoch(name):
  make = {'unilth': tf_unilth.UniLTH, 'lth': tf_unilth.LTH}[name]
  x, y = toys.data()

  def batches():
    for index in range(0, len(x), 8):
      yield x[index : index + 8], y[index : index + 8]

  signature = (tf.TensorSpec((8, 6, 6, 1)), tf.TensorSpec((8,), tf.int64))
  data = tf.data.Dataset.from_generator(batches, output_signature=signature)
  model = _model(0.9)
  model.fit(
    data,
    validation_data=(x, y),
    epochs=8,
    verbose=0,
    callbacks=[make(verbose=0)],
  )
  masks = toys.masks(model)
  assert toys.zeros(masks) == round(0.9 * toys.size(masks))


def test_dlth_asks_for_the_steps_of_an_epoch():
  x, y = toys.data()
  model = _model(0.9)
  with pytest.raises(ValueError, match='steps_per_epoch must be given'):
    model.fit(
      ((x[:8], y[:8]) for _ in range(100)),
      epochs=8,
      verbose=0,
      callbacks=[tf_unilth.DLTH(verbose=0)],
    )


# Learning rates and optimizers.


@pytest.mark.parametrize(
  'optimizer',
  [
    keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    keras.optimizers.AdamW(0.01),
    keras.optimizers.RMSprop(0.01),
    keras.optimizers.legacy.SGD(0.05, momentum=0.9),
    keras.optimizers.legacy.Adam(0.01),
    keras.optimizers.SGD(tf_unilth.StagedLearningRate(0.05)),
    keras.optimizers.legacy.SGD(tf_unilth.StagedLearningRate(0.05)),
    keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 64)),
  ],
  ids=lambda o: f'{type(o).__module__.split(".")[-1]}',
)
def test_new_and_legacy_optimizers_rewind_and_reach_the_target(optimizer):
  model = _model(0.9, optimizer)
  spy = toys.Spy()
  callback = tf_unilth.UniLTH(verbose=0)
  toys.fit(model, toys.SetValLoss(3, 2, 2.5, 2.2), callback, spy, epochs=12)
  assert callback.reached_target and callback.rewound_to_epoch == 2
  for before, after in zip(spy.states[1], spy.states[3], strict=True):
    np.testing.assert_array_equal(before, after)


def test_a_plain_rate_works_with_reduce_lr_on_plateau():
  model = _model(0.9)
  reduce = keras.callbacks.ReduceLROnPlateau(patience=1)
  callback = tf_unilth.UniLTH(verbose=0)
  toys.fit(model, toys.SetValLoss(1.0), callback, reduce, epochs=10)
  assert callback.reached_target
  assert float(model.optimizer.learning_rate.numpy()) < 0.05


def test_validation_freq_delays_the_plateau_only():
  class EveryOther(toys.SetValLoss):
    def on_epoch_end(self, epoch, logs=None):
      if 'val_loss' in logs:
        super().on_epoch_end(epoch, logs)

  callback = tf_unilth.UniLTH(verbose=0, max_dense_fraction=0.6)
  val_loss = EveryOther(0, 3, 0, 2, 0, 2.5)  # Of epochs 2, 4 and 6.
  model = _model(0.9)
  toys.fit(
    model, val_loss, callback, epochs=20, validation_freq=2, initial_epoch=1
  )
  assert callback.reached_target
  assert (callback.plateau_epoch, callback.rewound_to_epoch) == (6, 4)


# A second fit, and pretrained weights.


def test_a_finished_model_fitted_again_keeps_its_mask(capsys):
  model = _finished()
  masks, weights = toys.masks(model), toys.kernels(model)
  history = toys.fit(model, tf_unilth.UniLTH(), epochs=4)
  assert 'was reached before: the masks stay fixed' in capsys.readouterr().out
  for before, after in zip(masks, toys.masks(model)):
    np.testing.assert_array_equal(before, after)
  for mask, weight in zip(masks, toys.kernels(model)):
    assert not weight[~mask].any()
  assert any(
    not np.array_equal(a, b) for a, b in zip(weights, toys.kernels(model))
  )
  assert set(history.history['l2_lambda']) == {0.0}


def test_a_finished_model_without_our_callback_keeps_its_mask():
  model = _finished()
  masks = toys.masks(model)
  toys.fit(model, tfmot.sparsity.keras.UpdatePruningStep(), epochs=2)
  for mask, after, weight in zip(masks, toys.masks(model), toys.kernels(model)):
    np.testing.assert_array_equal(mask, after)
    assert not weight[~mask].any()


def test_update_pruning_step_beside_ours_is_harmless():
  def train(*more):
    model = _model(0.9)
    toys.fit(model, tf_unilth.UniLTH(verbose=0), *more, shuffle=False)
    return toys.kernels(model)

  alone = train()
  both = train(tfmot.sparsity.keras.UpdatePruningStep())
  for before, after in zip(alone, both):
    np.testing.assert_array_equal(before, after)


# Checkpoints.


def test_checkpoints_between_epochs_are_sparse(tmp_path):
  model = _model(0.9, rounds=4)
  path = str(tmp_path / 'step-{batch}.weights.h5')
  save = keras.callbacks.ModelCheckpoint(
    path, save_freq=3, save_weights_only=True
  )
  toys.fit(model, tf_unilth.LTH(verbose=0), save, epochs=8)
  seen = 0
  for file in sorted(tmp_path.iterdir()):
    copy = _model(0.9, rounds=4)
    copy.load_weights(str(file))
    for mask, weight in zip(toys.masks(copy), toys.kernels(copy)):
      assert not weight[~mask].any()
      seen += int(np.sum(~mask))
  assert seen > 0


def test_ticket_checkpoint_keeps_the_best_epoch_at_the_target(tmp_path):
  # The dense epochs look best, then epoch 7 of the finetuned ones.
  val_loss = toys.SetValLoss(0.1, 0.2, 0.3, 0.9, 0.9, 0.9, 0.7, 0.8)
  path = str(tmp_path / 'best.weights.h5')
  keep = tf_unilth.TicketCheckpoint(
    path, save_best_only=True, save_weights_only=True
  )
  spy = toys.Spy()
  callback = tf_unilth.UniLTH(verbose=0, finetune_fraction=0.9)
  toys.fit(_model(), val_loss, callback, keep, spy, epochs=8)
  kept = _model()
  kept.load_weights(path)
  masks, weights = spy.epochs[6]
  for weight, expected in zip(toys.kernels(kept), weights):
    np.testing.assert_array_equal(weight, expected)
  assert toys.zeros(toys.kernels(kept)) == round(0.5 * toys.size(masks))


def test_save_best_only_is_warned_of(tmp_path):
  save = keras.callbacks.ModelCheckpoint(
    str(tmp_path / 'best.h5'), save_best_only=True, save_weights_only=True
  )
  with pytest.warns(UserWarning, match='TicketCheckpoint takes the same'):
    toys.fit(_model(), tf_unilth.UniLTH(verbose=0), save)


class _Crash(keras.callbacks.Callback):
  def __init__(self, epoch):
    super().__init__()
    self._epoch = epoch

  def on_epoch_begin(self, epoch, logs=None):
    if epoch == self._epoch:
      raise RuntimeError('crash')


def test_a_run_that_keras_backs_up_ends_bit_identical(tmp_path):
  # In stage 1, whose snapshot must survive. What else is in a checkpoint of
  # TensorFlow's, saving_test.py looks at.
  crash_before = 3

  def build():
    keras.utils.set_random_seed(1)
    optimizer = keras.optimizers.Adam(tf_unilth.StagedLearningRate(0.05))
    return toys.wrapped(toys.conv(), _schedule(0.9, rounds=5), optimizer)

  def train(model, *more):
    return toys.fit(
      model,
      toys.SetValLoss(3, 2, 2.5, 2.2),
      tf_unilth.UniLTH(verbose=0),
      *more,
      epochs=8,
      shuffle=False,
    )

  whole = build()
  train(whole)
  backup = str(tmp_path / 'backup')
  with pytest.raises(RuntimeError, match='crash'):
    train(
      build(),
      keras.callbacks.BackupAndRestore(backup),
      _Crash(crash_before),
    )
  resumed = build()
  history = train(resumed, keras.callbacks.BackupAndRestore(backup))
  assert history.epoch[0] == crash_before
  for before, after in zip(
    toys.training_state(whole), toys.training_state(resumed), strict=True
  ):
    np.testing.assert_array_equal(before, after)
  for before, after in zip(toys.masks(whole), toys.masks(resumed)):
    np.testing.assert_array_equal(before, after)


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


def test_a_keras_3_model_is_refused_with_the_way_out():
  model = keras3.Sequential([keras3.layers.Input((3,)), keras3.layers.Dense(2)])
  model.compile('sgd', 'mse')
  for attempt in (
    lambda: model.fit(
      np.ones((8, 3)), np.ones((8, 2)), callbacks=[tf_unilth.UniLTH()]
    ),
    lambda: tf_unilth.prune_low_magnitude(model, _schedule()),
    lambda: tf_unilth.prune_low_magnitude(model.layers[-1], _schedule()),
    lambda: tf_unilth.sparsity_summary(model),
  ):
    with pytest.raises(TypeError, match=r'Keras 3.*import tf_keras as keras'):
      attempt()


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


# A schedule used twice, other formats, several replicas.


def test_a_schedule_used_for_a_second_model_starts_afresh():
  schedule = _schedule(0.5, rounds=2)
  first = toys.wrapped(toys.dense(), schedule)
  toys.fit(first, tf_unilth.LTH(verbose=0), epochs=4)
  second = toys.wrapped(toys.dense(), schedule)
  watch = toys.Spy()
  start = toys.kernels(second)
  toys.fit(second, tf_unilth.LTH(verbose=0), watch, epochs=4)
  masks = toys.masks(second)
  assert toys.zeros(masks) == round(0.5 * toys.size(masks))
  # Round 2 ended at step 21 of 32 with a rewind to the second's own start.
  rewound = watch.batches[20][1]
  for mask, before, after in zip(watch.batches[20][0], start, rewound):
    np.testing.assert_array_equal(np.where(mask, before, 0), after)


def test_ticket_checkpoint_needs_our_schedule(tmp_path):
  schedule = tfmot.sparsity.keras.ConstantSparsity(0.5, 0)
  model = toys.wrapped(toys.dense(), schedule)
  with pytest.raises(ValueError, match='must be a tf_unilth'):
    toys.fit(model, tf_unilth.TicketCheckpoint(str(tmp_path / 'x.h5')))


@pytest.mark.parametrize('name', ['model.keras', 'model.h5'])
def test_a_wrapped_model_is_saved_in_every_epoch(name, tmp_path):
  save = keras.callbacks.ModelCheckpoint(str(tmp_path / name))
  model = _model(0.9)
  toys.fit(model, tf_unilth.UniLTH(verbose=0), save, epochs=6)
  with tfmot.sparsity.keras.prune_scope():
    copy = keras.models.load_model(str(tmp_path / name))
  x, _ = toys.data()
  np.testing.assert_array_equal(
    copy.predict(x, verbose=0), model.predict(x, verbose=0)
  )
  for before, after in zip(toys.kernels(model), toys.kernels(copy)):
    np.testing.assert_array_equal(before, after)


# What died without a word, and what others do.


class _Die(keras.callbacks.Callback):
  def __init__(self, epoch):
    super().__init__()
    self._epoch = epoch

  def on_epoch_end(self, epoch, logs=None):
    if epoch == self._epoch:
      raise KeyboardInterrupt


def test_a_fit_that_died_in_another_callback_leaves_nothing_behind(capsys):
  model = _model(0.9, rounds=3)
  with pytest.raises(KeyboardInterrupt):
    toys.fit(model, tf_unilth.UniLTH(), _Die(4))
  masks = toys.masks(model)
  # A fit without us: no penalty, and the mask is held by tfmot.
  update = tfmot.sparsity.keras.UpdatePruningStep()
  toys.fit(model, update, epochs=2)
  assert 'target was NOT met' in capsys.readouterr().out
  assert 'train_step' not in vars(model)
  assert 'apply_gradients' not in vars(model.optimizer)
  for before, after in zip(masks, toys.masks(model)):
    np.testing.assert_array_equal(before, after)


def test_a_fit_after_one_that_died_is_hooked_once():
  model = _model(0.9, rounds=3)
  with pytest.raises(KeyboardInterrupt):
    toys.fit(model, tf_unilth.UniLTH(verbose=0), _Die(0))
  own = type(model.optimizer).apply_gradients
  inner = []

  class Count(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
      hooked = self.model.optimizer.apply_gradients
      cells = [c.cell_contents for c in hooked.__closure__]
      inner.extend(getattr(c, '__func__', c) for c in cells if callable(c))

  callback = tf_unilth.UniLTH(verbose=0)
  toys.fit(model, callback, Count())
  assert set(inner) == {own} and callback.reached_target
  assert 'train_step' not in vars(model)
  assert 'apply_gradients' not in vars(model.optimizer)


def test_a_model_that_was_fitted_before_is_hooked_too():
  # Keras keeps the train function of an earlier fit.
  model = _model(0.9, begin_step=10**6, rounds=3)
  toys.fit(model, tfmot.sparsity.keras.UpdatePruningStep(), epochs=1)
  spy = toys.Spy()
  toys.fit(model, tf_unilth.LTH(verbose=0), spy)
  for masks, weights in spy.batches:
    for mask, weight in zip(masks, weights):
      assert not weight[~mask].any()
  assert toys.zeros(spy.batches[-1][0]) == 547


def test_others_that_write_weights_when_training_ends_are_undone(capsys):
  class Average(keras.callbacks.Callback):
    def on_train_end(self, logs=None):
      self.model.set_weights(
        [weight + 1 for weight in self.model.get_weights()]
      )

  model = _model(0.9)
  toys.fit(model, tf_unilth.UniLTH(), Average())
  assert toys.zeros(toys.kernels(model)) == toys.zeros(toys.masks(model)) == 547
  assert 'the masks are restored' in capsys.readouterr().out


def test_wrapped_layers_without_kernels_may_have_schedules_of_their_own():
  wrap = tfmot.sparsity.keras.prune_low_magnitude
  model = keras.Sequential(
    [
      wrap(keras.layers.Flatten(input_shape=(6, 6, 1)), _schedule(0.3)),
      wrap(keras.layers.Dense(16), _schedule(0.9)),
    ]
  )
  toys.compiled_for_labels(model)
  toys.fit(model, tf_unilth.LTH(verbose=0))
  assert toys.zeros(toys.masks(model)) == round(0.9 * 36 * 16)


def test_a_train_step_that_ignores_losses_ramps_too():
  class Own(keras.Sequential):
    def train_step(self, data):
      x, y = data
      with tf.GradientTape() as tape:
        loss = tf.reduce_mean(
          keras.losses.sparse_categorical_crossentropy(
            y, self(x, training=True), from_logits=True
          )
        )
      variables = self.trainable_variables
      gradients = tape.gradient(loss, variables)
      self.optimizer.apply_gradients(zip(gradients, variables))
      return {'loss': loss}

  wrap = tfmot.sparsity.keras.prune_low_magnitude
  model = Own(
    [
      keras.layers.Flatten(input_shape=(6, 6, 1)),
      wrap(keras.layers.Dense(2), _schedule(0.9)),
    ]
  )
  spy = toys.Spy()
  ramp = tf_unilth.L2Ramp(limit=20.0)
  callback = tf_unilth.DLTH(ramp=ramp, finetune_fraction=0.5, verbose=0)
  toys.fit(toys.compiled_for_labels(model), callback, spy, epochs=4)
  mask = toys.masks(model)[0]
  # What goes is small before it goes: half of the steps prepare it.
  candidates = [weights[0][~mask] for _, weights in spy.batches]
  before = spy.batches[2 * toys.STEPS - 2]
  assert before[0][0].all() and not candidates[-1].any()
  first, last = (np.abs(candidates[i]).mean() for i in (0, 2 * toys.STEPS - 2))
  assert 0 < last < 0.5 * first


def test_the_same_callback_twice_is_refused():
  callback = tf_unilth.UniLTH()
  _error('one ticket callback', _model(), callback, callback)


def test_the_logs_reach_tensorboard(tmp_path):
  board = keras.callbacks.TensorBoard(str(tmp_path))
  toys.fit(_model(0.9), tf_unilth.UniLTH(verbose=0), board)
  tags = set()
  for file in tmp_path.rglob('events*'):
    for event in tf.compat.v1.train.summary_iterator(str(file)):
      tags |= {value.tag for value in event.summary.value}
  assert tags >= {
    'epoch_sparsity',
    'epoch_stage',
    'epoch_round',
    'epoch_l2_lambda',
  }


@pytest.mark.parametrize('optimizer', ['sgd', 'clipped', 'adam'])
def test_clipping_does_not_weaken_the_ramp(optimizer):
  made = {
    'sgd': SGD(0.02),
    'clipped': SGD(0.02, momentum=0.9, clipnorm=1e-6),
    'adam': keras.optimizers.Adam(0.02),
  }[optimizer]
  keras.utils.set_random_seed(1)
  model = tfmot.sparsity.keras.prune_low_magnitude(toys.dense(), _schedule(0.5))
  model.compile(made, lambda _, outputs: 0.0 * outputs)
  before = toys.kernels(model)

  class Last(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
      if not toys.zeros(toys.masks(self.model)):
        self.kept = toys.kernels(self.model)

  last = Last()
  toys.fit(model, tf_unilth.DLTH(verbose=0), last, epochs=10)
  drawn = toys.masks(model)
  for mask, old, new in zip(drawn, before, last.kept):
    assert np.max(np.abs(new[~mask])) < 1e-3 * np.max(np.abs(old[~mask]))
    np.testing.assert_array_equal(old[mask], new[mask])


def test_evaluating_and_predicting_in_mid_run_changes_nothing():
  def train(*more):
    model = _model(0.9)
    toys.fit(model, tf_unilth.UniLTH(verbose=0), *more, shuffle=False)
    return model

  class Evaluate(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
      self.model.evaluate(*toys.data(), verbose=0)
      self.model.predict(toys.data()[0], verbose=0)

  alone, watched = train(), train(Evaluate())
  assert toys.zeros(toys.masks(watched)) == 547
  for before, after in zip(toys.kernels(alone), toys.kernels(watched)):
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize('name', ['LTH', 'DLTH', 'UniLTH', 'UniDLTH'])
@pytest.mark.parametrize('verbose', [None, 3, 'auto', 1.5])
def test_verbose_is_0_1_or_2(name, verbose):
  with pytest.raises(ValueError, match='verbose must be one of'):
    getattr(tf_unilth, name)(verbose=verbose)


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
