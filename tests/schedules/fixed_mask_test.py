"""FixedMask: a ticket that is trained further stays the ticket."""

import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers


def _ticket(target=0.8):
  model = tf_unilth.prune_low_magnitude(
    toys.conv(), tf_unilth.IterativeSparsity(target)
  )
  toys.compiled_for_labels(model)
  toys.fit(model, tf_unilth.UniLTH(verbose=0), epochs=5)
  return tf_unilth.strip_pruning(model)


def _zeros(model):
  return [kernel.weight.numpy() == 0 for kernel in PrunedLayers(model).kernels]


@pytest.mark.parametrize(
  'make',
  [
    tf_unilth.UniLTH,
    pytest.param(tf_unilth.LTH, marks=pytest.mark.long),
    tfmot.sparsity.keras.UpdatePruningStep,
  ],
)
def test_a_ticket_wrapped_again_keeps_its_zeros(make, tmp_path):
  path = str(tmp_path / 'ticket.keras')
  _ticket().save(path)
  model = tf_unilth.prune_low_magnitude(
    keras.models.load_model(path), tf_unilth.FixedMask()
  )
  toys.compiled_for_labels(model)
  before, weights = _zeros(model), toys.kernels(model)
  silent = (
    {} if make is tfmot.sparsity.keras.UpdatePruningStep else {'verbose': 0}
  )
  callback, spy = make(**silent), toys.Spy()
  # No validation: there is no plateau to look for.
  history = toys.fit(model, callback, spy, epochs=2, validation_data=None)
  for zeros, after, kernel, old in zip(
    before, _zeros(model), toys.kernels(model), weights, strict=True
  ):
    np.testing.assert_array_equal(zeros, after)
    assert (kernel != old).any()
  if silent:
    assert history.history['sparsity'] == [355 / 444] * 2
    for masks, kernels in spy.batches:
      for mask, kernel in zip(masks, kernels, strict=True):
        assert not kernel[~mask].any()


def test_layers_beside_it_are_pruned(capsys):
  ticket = _ticket(0.5)
  fixed = tf_unilth.FixedMask()
  head = ticket.layers[-1].name
  model = tf_unilth.prune_low_magnitude(
    ticket, tf_unilth.IterativeSparsity(0.9), skip=[]
  )
  model = tf_unilth.prune_low_magnitude(
    tf_unilth.strip_pruning(model),
    tf_unilth.IterativeSparsity(0.9),
    targets={
      layer.name: fixed
      for layer in ticket.layers
      if layer.name != head and isinstance(layer, keras.layers.Conv2D)
    },
  )
  toys.compiled_for_labels(model)
  *convolutions, _ = _zeros(model)
  ticket_callback = tf_unilth.UniLTH()
  toys.fit(model, ticket_callback, epochs=5)
  *after, last = _zeros(model)
  for zeros, held in zip(convolutions, after, strict=True):
    np.testing.assert_array_equal(zeros, held)
  assert last.sum() == round(0.9 * last.size)
  assert ticket_callback.reached_target
  total = sum(zeros.size for zeros in [*after, last])
  target = sum(zeros.sum() for zeros in after) + round(0.9 * last.size)
  printed = capsys.readouterr().out
  assert f'rounds to {100 * target / total:.4g}%' in printed
  assert 'the model has no state of their run' not in printed


def test_a_saved_model_with_it_goes_on(tmp_path):
  model = tf_unilth.prune_low_magnitude(_ticket(), tf_unilth.FixedMask())
  toys.compiled_for_labels(model)
  before = _zeros(model)
  path = str(tmp_path / 'model.keras')
  model.save(path)
  loaded = keras.models.load_model(path)
  toys.fit(loaded, tf_unilth.UniLTH(verbose=0), epochs=1)
  for zeros, after in zip(before, _zeros(loaded), strict=True):
    np.testing.assert_array_equal(zeros, after)


def test_a_model_without_zeros_stays_dense():
  model = tf_unilth.prune_low_magnitude(toys.dense(), tf_unilth.FixedMask())
  toys.compiled_for_labels(model)
  toys.fit(model, tf_unilth.UniLTH(verbose=0), epochs=1)
  assert toys.zeros(toys.kernels(model)) == 0


# What would let zeros grow back in silence.


def test_tfmots_wrapper_is_refused():
  model = tfmot.sparsity.keras.prune_low_magnitude(
    toys.dense(), tf_unilth.FixedMask()
  )
  toys.compiled_for_labels(model)
  with pytest.raises(
    ValueError, match=r'FixedMask of layer .* needs tf_unilth'
  ):
    toys.fit(model, tf_unilth.UniLTH(verbose=0))


def test_weights_that_were_loaded_after_wrapping_are_warned_of(tmp_path):
  ticket = _ticket()
  model = tf_unilth.prune_low_magnitude(toys.conv(), tf_unilth.FixedMask())
  toys.compiled_for_labels(model)
  for layer, sparse in zip(model.layers, ticket.layers, strict=True):
    layer.set_weights(sparse.get_weights())
  with pytest.warns(UserWarning, match='does not mask .* of its zeros'):
    toys.fit(model, tf_unilth.UniLTH(verbose=0), epochs=1)


def test_a_kernel_of_zeros_is_warned_of():
  model = toys.dense()
  model.layers[-1].kernel.assign(model.layers[-1].kernel * 0)
  with pytest.warns(UserWarning, match='masks all weights of a kernel'):
    tf_unilth.prune_low_magnitude(model, tf_unilth.FixedMask())


def test_tfmot_makes_no_mask_of_its_own_for_m_of_n():
  ticket = _ticket(0.8)
  model = tf_unilth.prune_low_magnitude(
    ticket,
    tf_unilth.FixedMask(),
    sparsity_m_by_n=(2, 4),
    skip=[ticket.layers[1].name],
  )
  toys.compiled_for_labels(model)
  before = _zeros(model)
  toys.fit(model, tfmot.sparsity.keras.UpdatePruningStep(), epochs=1)
  for zeros, after in zip(before, _zeros(model), strict=True):
    np.testing.assert_array_equal(zeros, after)
