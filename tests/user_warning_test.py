"""Warnings show a line of the user's program."""

import warnings

import numpy as np
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tf_unilth.user_warning import warn_user


def test_a_warning_shows_the_line_of_the_caller():
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    warn_user('few epochs')
  assert [w.filename for w in caught] == [__file__]
  assert caught[0].category is UserWarning


def test_a_warning_in_fit_shows_the_line_of_fit():
  model = toys.wrapped(toys.dense(), tf_unilth.IterativeSparsity(0.9))
  x, y = toys.data()

  class _Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
      self.model.stop_training = epoch == 1

  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    lth = tf_unilth.LTH(verbose=0)
    model.fit(x, y, 8, 6, verbose=0, callbacks=[lth, _Stop()])
  ours = [w for w in caught if str(w.message).startswith('LTH: ')]
  said = ['as many as fit into', 'NOT met']
  assert [any(text in str(w.message) for w in ours) for text in said] == [1, 1]
  assert {w.filename for w in ours} == {__file__}
  assert np.isfinite(toys.kernels(model)[0]).all()
