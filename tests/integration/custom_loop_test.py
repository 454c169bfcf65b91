"""A training loop of the user's own: what its page shows, held to `fit`."""

import functools
import pathlib
import re
import tempfile

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing import toys

EPOCHS = 8
_PAGE = pathlib.Path(__file__).parents[2] / 'docs' / 'custom_loop.md'


def _wrapped(optimizer):
  keras.utils.set_random_seed(1)
  model = tf_unilth.prune_low_magnitude(
    toys.conv(), tf_unilth.IterativeSparsity(0.9, rounds=3)
  )
  return toys.compiled_for_labels(model, optimizer())


def _loop(model, ticket):
  """Runs the page's loop, and looks at the masks between its steps."""
  loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  x, y = toys.data()
  batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)

  class Watched:
    def __iter__(self):
      for batch in batches:
        yield batch
        assert _pruned_are_zero(model)

  text = _PAGE.read_text()
  (program,) = re.findall(r'```python\n(callbacks = .*?)print', text, re.S)
  names = {
    'data': Watched(),
    'epochs': EPOCHS,
    'keras': keras,
    'loss_of': loss_of,
    'model': model,
    'steps': len(batches),
    'tf': tf,
    'ticket': ticket,
    'validate': lambda model: float(loss_of(y, model(x, training=False))),
  }
  # A file of its own, since TensorFlow reads the source of what it compiles.
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, 'loop.py')
    path.write_text(program)
    exec(compile(program, str(path), 'exec'), names)


def _pruned_are_zero(model):
  pairs = zip(toys.kernels(model), toys.masks(model), strict=True)
  return not any(kernel[~mask].any() for kernel, mask in pairs)


_SGD = functools.partial(keras.optimizers.SGD, 0.05, momentum=0.9)
_ADAM = functools.partial(keras.optimizers.Adam, 0.01)


@pytest.mark.parametrize(
  ('make', 'optimizer'),
  [
    (tf_unilth.UniLTH, _SGD),
    (tf_unilth.LTH, _ADAM),
    pytest.param(tf_unilth.DLTH, _ADAM, marks=pytest.mark.long),
    pytest.param(tf_unilth.UniLTH, _ADAM, marks=pytest.mark.long),
    pytest.param(tf_unilth.DLTH, _SGD, marks=pytest.mark.long),
  ],
)
def test_a_loop_ends_as_fit_does(make, optimizer):
  looped, fitted = _wrapped(optimizer), _wrapped(optimizer)
  _loop(looped, make(verbose=0))
  toys.fit(fitted, make(verbose=0), epochs=EPOCHS, shuffle=False)
  kernels = toys.kernels(looped)
  assert toys.zeros(kernels) == round(0.9 * toys.size(kernels))
  for one, other in zip(kernels, toys.kernels(fitted), strict=True):
    np.testing.assert_allclose(one, other, atol=2e-4)


def test_a_loop_that_does_not_tell_its_epochs_is_refused():
  model, ticket = _wrapped(keras.optimizers.SGD), tf_unilth.UniLTH()
  ticket.set_model(model)
  with pytest.raises(ValueError, match='epochs of the training loop'):
    ticket.on_train_begin()


def test_a_loop_without_an_optimizer_on_the_model_is_refused():
  model = tf_unilth.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(0.5)
  )
  ticket = tf_unilth.UniLTH()
  ticket.set_model(model)
  ticket.set_params({'epochs': 4})
  with pytest.raises(ValueError, match='optimizer of the model'):
    ticket.on_train_begin()
