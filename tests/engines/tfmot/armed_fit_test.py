"""A run stays armed while its fit runs, whatever callbacks do to training."""

import contextlib
import functools
import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing import toys

_SGD = keras.optimizers.SGD
_ADAM = keras.optimizers.Adam
# No ticket callback of this file monitors anything.
_train = functools.partial(toys.fit, validation_data=None)


def _dataset():
  return tf.data.Dataset.from_tensor_slices(toys.data()).batch(8)


def _wrapped(optimizer, **schedule):
  keras.utils.set_random_seed(1)
  model = tf_unilth.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(0.8, **schedule)
  )
  return toys.compiled_for_labels(model, optimizer)


# The long step of CI repeats all with a decoupled shrink.
_each_optimizer = pytest.mark.parametrize(
  'optimizer',
  [
    pytest.param(_SGD, id='sgd'),
    pytest.param(_ADAM, id='adam', marks=pytest.mark.long),
  ],
)


class _At(keras.callbacks.Callback):
  """Calls a function once, in the middle of a fit."""

  def __init__(self, act, epoch=3):
    super().__init__()
    self._act, self._epoch = act, epoch

  def on_epoch_begin(self, epoch, logs=None):
    if epoch == self._epoch:
      self._act(self.model)


def _make_anew(model):
  model.make_train_function(force=True)


def _forget_and_make(model):
  model.train_function = None
  model.make_train_function()


def _replace_step(model):
  step = model.train_step
  model.train_step = lambda data: step(data)
  model.make_train_function(force=True)


def _own_step(model):
  """Puts a step of a user's own in the place of the one that is there."""
  step = type(model).train_step
  model.train_step = lambda data: step(model, data)
  model.make_train_function(force=True)


def _train_on_batch(model):
  model.train_on_batch(*toys.data())


def _fit(model):
  model.fit(*toys.data(), batch_size=8, epochs=1, verbose=0)


def _failing_batch(model):
  with pytest.raises(ValueError):
    model.train_on_batch(np.ones((2, 7)), np.ones(2))


def _compile_anew(model):
  toys.compiled_for_labels(model, type(model.optimizer)(0.01))
  model.make_train_function()


def _compile_alone(model):
  toys.compiled_for_labels(model, type(model.optimizer)(0.01))


ACTS = [
  _make_anew,
  _forget_and_make,
  _replace_step,
  _own_step,
  _train_on_batch,
  _fit,
  _failing_batch,
  _compile_anew,
  _compile_alone,
]


@_each_optimizer
@pytest.mark.parametrize('act', ACTS)
def test_a_run_stays_armed(act, optimizer):
  model = _wrapped(optimizer(0.01), rounds=4)
  spy = toys.Spy()
  ticket = tf_unilth.DLTH(verbose=0, finetune_fraction=0.25)
  history = _train(model, ticket, _At(act), spy, epochs=6).history
  for masks, weights in spy.batches:
    for mask, weight in zip(masks, weights):
      assert not weight[~mask].any()
  assert max(history['l2_lambda'][3:]) > 0 and ticket.reached_target
  assert 'train_step' not in {*vars(model)} or act in (_replace_step, _own_step)
  assert 'make_train_function' not in vars(model)
  assert 'apply_gradients' not in vars(model.optimizer)


@_each_optimizer
def test_the_ramp_acts_in_a_train_function_that_was_made_anew(optimizer):
  sums = []
  for act in (_make_anew, _own_step, None):
    model = _wrapped(optimizer(0.01), rounds=2)
    spy = toys.Spy()
    callbacks = [_At(act)] if act else []
    ticket = tf_unilth.DLTH(ramp=tf_unilth.L2Ramp(limit=2.0), verbose=0)
    _train(model, ticket, *callbacks, spy, epochs=6, shuffle=False)
    sums.append([np.abs(weights[0]).sum() for _, weights in spy.batches])
  np.testing.assert_allclose(sums[0], sums[2], rtol=1e-6)
  np.testing.assert_allclose(sums[1], sums[2], rtol=1e-6)


def test_a_rewind_after_the_model_was_compiled_anew():
  model = _wrapped(_ADAM(0.01), rounds=2)
  _train(model, tf_unilth.LTH(verbose=0), _At(_compile_anew, 1), epochs=9)
  assert toys.zeros(toys.kernels(model)) == round(0.8 * 608)


def test_a_train_function_that_is_not_ours_is_refused():
  def replace(model):
    step = tf.function(
      lambda batches: type(model).train_step(model, next(batches))
    )
    model.train_function = step

  model = _wrapped(_SGD(0.01))
  with pytest.raises(ValueError, match='train_function of the model was repl'):
    _train(model, tf_unilth.DLTH(verbose=0), _At(replace), epochs=6)
  assert 'train_step' not in vars(model)


def test_a_function_around_the_train_function_is_none_of_our_business():
  calls = []

  def wrap(model):
    function = model.train_function

    def counted(iterator):
      calls.append(1)
      return function(iterator)

    model.train_function = counted

  model = _wrapped(_SGD(0.01))
  _train(model, tf_unilth.DLTH(verbose=0), _At(wrap), epochs=6)
  assert len(calls) == 24
  assert toys.zeros(toys.kernels(model)) == round(0.8 * 608)


@pytest.mark.parametrize('same', [True, False])
def test_a_ticket_callback_in_an_inner_fit_is_refused(same):
  outer = tf_unilth.DLTH(verbose=0)
  inner = outer if same else tf_unilth.LTH(verbose=0)

  def fit(model):
    _train(model, inner, epochs=3)

  model = _wrapped(_SGD(0.01))
  with pytest.raises(ValueError, match='a nested fit must not include'):
    _train(model, outer, _At(fit), epochs=6)


class _Die(keras.callbacks.Callback):
  def on_epoch_begin(self, epoch, logs=None):
    if epoch == 2:
      raise KeyboardInterrupt


def test_a_run_ends_with_a_fit_that_died_in_another_callback():
  model = _wrapped(_SGD(0.01))
  ticket = tf_unilth.DLTH(verbose=0)
  with pytest.warns(UserWarning, match='the target was NOT met: 0 of 608'):
    with contextlib.suppress(KeyboardInterrupt):
      _train(model, ticket, _Die(), epochs=6)
    gc.collect()
  left = {'train_step', 'make_train_function'} & set(vars(model))
  assert not left and 'apply_gradients' not in vars(model.optimizer)


def test_an_error_that_is_kept_does_not_keep_a_run():
  model = _wrapped(_SGD(0.01))
  with pytest.raises(KeyboardInterrupt) as kept:
    _train(model, tf_unilth.DLTH(verbose=0), _Die(), epochs=6)
  assert kept.traceback  # It holds the fit's frame.
  ticket = tf_unilth.DLTH(verbose=0)
  _train(model, ticket, epochs=6)
  del kept  # The first fit is dropped: the second run is another one.
  assert ticket.reached_target


def test_a_finished_run_is_not_ended_again_by_one_that_died_before():
  model = _wrapped(_SGD(0.01))
  ticket = tf_unilth.DLTH(verbose=0)
  with pytest.raises(KeyboardInterrupt) as kept:
    _train(model, ticket, _Die(), epochs=6)

  def drop(model):
    nonlocal kept
    kept = None
    gc.collect()

  _train(model, ticket, _At(drop), epochs=6)
  assert ticket.reached_target


# A loop of the user's own with train_on_batch as its step.


def _loop(model, ticket, after_step):
  x, y = toys.data()
  callbacks = keras.callbacks.CallbackList(
    [ticket], model=model, epochs=6, steps=8
  )
  callbacks.on_train_begin()
  for epoch in range(6):
    callbacks.on_epoch_begin(epoch)
    for i in range(8):
      callbacks.on_train_batch_begin(i)
      part = slice(8 * i, 8 * i + 8)
      model.train_on_batch(x[part], y[part])
      if after_step:
        ticket.after_step()
      callbacks.on_train_batch_end(i)
    callbacks.on_epoch_end(epoch, {'val_loss': 1.0})
  callbacks.on_train_end()


@_each_optimizer
def test_train_on_batch_in_an_own_loop_shrinks_once_a_step(optimizer):
  ends = []
  for after_step in (None, False, True):
    model = _wrapped(optimizer(0.01), rounds=2)
    # Weak, so that what is cut is not zero before.
    ticket = tf_unilth.DLTH(ramp=tf_unilth.L2Ramp(limit=2.0), verbose=0)
    if after_step is None:
      _train(model, ticket, epochs=6, shuffle=False)
    else:
      _loop(model, ticket, after_step)
    ends.append(model.get_weights())
  for looped in ends[1:]:
    for a, b in zip(ends[0], looped):
      np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def _trace_step(model):
  """Lets the loop below call a function of the user's own around train_step."""
  step = tf.function(lambda *batch: model.train_step(batch))
  model.train_on_batch = lambda *batch: step(*map(tf.constant, batch))


def test_a_train_step_that_a_user_traced_serves_all_rounds():
  ends = []
  for traced in (False, True):
    model = _wrapped(_ADAM(0.01), rounds=2)
    ticket = tf_unilth.DLTH(ramp=tf_unilth.L2Ramp(limit=2.0), verbose=0)
    if traced:
      _trace_step(model)
    _loop(model, ticket, False)
    ends.append(model.get_weights())
  for a, b in zip(*ends):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


# Other callbacks that write weights.


class _Noise(keras.callbacks.Callback):
  def __init__(self, name):
    super().__init__()
    setattr(self, name, lambda batch, logs=None: self._write())

  def _write(self):
    for weight in self.model.trainable_weights:
      weight.assign_add(tf.random.normal(weight.shape, stddev=0.01))


@pytest.mark.parametrize('name', ['on_train_batch_begin', 'on_train_batch_end'])
def test_weights_that_others_write_between_steps_are_masked(name):
  model = _wrapped(_ADAM(0.01), rounds=2)
  alive = []

  class Look(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
      for kernel, mask in zip(toys.kernels(model), toys.masks(model)):
        alive.append(np.count_nonzero(kernel[~mask]))

  ticket = tf_unilth.DLTH(verbose=0)
  _train(model, ticket, _Noise(name), Look(), epochs=5)
  assert ticket.reached_target and not any(alive)
  assert not [
    n for w in model.trainable_weights for n in vars(w) if 'assi' in n
  ]


def test_masks_that_others_write_are_put_back():
  model = _wrapped(_ADAM(0.01), rounds=2)
  spy, kept = toys.Spy(), []

  def restore(epoch, logs):
    if epoch == 1:  # Denser masks, as of a best epoch.
      kept.extend(model.get_weights())
    if epoch == 4:
      model.set_weights(kept)

  other = keras.callbacks.LambdaCallback(on_epoch_end=restore)
  _train(model, tf_unilth.DLTH(verbose=0), other, spy, epochs=6)
  for masks, weights in spy.batches[-8:]:
    assert toys.zeros(masks) == toys.zeros(weights) == round(0.8 * 608)


@pytest.mark.parametrize(
  'before, after',
  [(_SGD(0.1), _ADAM(1e-4)), (_ADAM(1e-3), _SGD(0.1))],
)
def test_a_ramp_is_as_strong_under_the_rate_of_another_optimizer(before, after):
  model = _wrapped(before)
  compiled = _At(lambda model: toys.compiled_for_labels(model, after), 1)
  spy, ticket = toys.Spy(), tf_unilth.DLTH(verbose=0)
  _train(model, ticket, compiled, spy, epochs=8)
  masks, _ = spy.batches[-1]
  last = next(i for i, (m, _) in enumerate(spy.batches) if not m[0].all())
  start = np.abs(spy.batches[0][1][0][~masks[0]]).mean()
  end = np.abs(spy.batches[last - 1][1][0][~masks[0]]).mean()
  assert ticket.reached_target and end < 0.3 * start


@pytest.mark.parametrize('kind', [_SGD, keras.optimizers.legacy.SGD])
def test_a_rate_that_a_callback_raises_in_mid_ramp_stays_stable(kind):
  model = _wrapped(kind(1e-3, momentum=0.5))
  rise = keras.callbacks.LearningRateScheduler(
    lambda epoch: [1e-3, 1e-2, 0.1][min(epoch, 2)]
  )
  ticket = tf_unilth.DLTH(verbose=0)
  _train(model, ticket, rise, epochs=8)
  assert ticket.reached_target


def test_an_error_when_training_ends_leaves_nothing_behind():
  def fail(logs):
    raise ZeroDivisionError

  model = _wrapped(_SGD(0.01))
  failing = keras.callbacks.LambdaCallback(on_train_end=fail)
  with pytest.raises(ZeroDivisionError):
    _train(model, tf_unilth.DLTH(verbose=0), failing, epochs=4)
  assert not {'train_step', 'make_train_function'} & set(vars(model))
  assert 'apply_gradients' not in vars(model.optimizer)


def test_the_data_of_a_fit_do_not_live_as_long_as_the_callback():
  model, callback, dataset = _wrapped(_SGD(0.1)), tf_unilth.LTH(), _dataset()
  data = weakref.ref(dataset)
  model.fit(dataset, epochs=4, verbose=0, callbacks=[callback])
  del dataset
  gc.collect()
  assert callback.reached_target and data() is None
