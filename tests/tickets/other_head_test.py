"""Ticket.apply with another head: the rest is taken, what lacks is named."""

import functools

import numpy as np
import pytest
import tf_keras as keras

import tf_unilth
from tests.testing import found_ticket, toys
from tf_unilth.engines.tfmot import prunable_weights
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers

layers = keras.layers
EPOCHS = 6
# The plateau is seen at epoch 4 and rewound to the end of epoch 2.
VAL_LOSS = (3, 2, 2.5, 2.2)


def _assert_equal(some, others):
  for one, other in zip(some, others, strict=True):
    assert one.dtype == other.dtype
    np.testing.assert_array_equal(one, other)


def _with_zeros(model):
  """Cuts the first half of each kernel of a model."""
  for _, kernel in prunable_weights.model_kernels(model):
    value = kernel.numpy()
    value.reshape(-1)[: value.size // 2] = 0
    kernel.assign(value)
  return model


def _with_head(*units, name='head', filters=6):
  inputs = layers.Input((6, 6, 1))
  x = layers.Conv2D(4, 3, padding='same')(inputs)
  x = layers.BatchNormalization()(x)
  x = layers.Conv2D(filters, 3, activation='relu')(layers.ReLU()(x))
  x = layers.Flatten()(x)
  for number, count in enumerate(units):
    x = layers.Dense(count, name=f'{name}{number or ""}')(x)
  return keras.Model(inputs, x, name='other')


@functools.cache
def _found_with_head():
  """Returns a ticket whose head has two units, and what it was rewound to."""
  callback = tf_unilth.UniLTH(verbose=0)
  model, after = found_ticket.run(callback, functools.partial(_with_head, 2))
  return tf_unilth.Ticket.from_model(model, callback), after[2]


@pytest.mark.parametrize(
  ('units', 'name', 'skip'),
  [
    ((3,), 'head', ['head']),  # Another shape.
    ((2,), 'classes', 'classes'),  # Another name.
    ((5, 3), 'new', ['new', 'new1']),  # Another number of layers.
  ],
)
@pytest.mark.parametrize('wrapped', [False, True])
def test_a_model_with_another_head_takes_the_rest(units, name, skip, wrapped):
  ticket, rewound = _found_with_head()
  model = _with_head(*units, name=name)
  heads = {
    layer: layer.get_weights() for layer in model.layers if name in layer.name
  }
  assert len(heads) == len(units)
  if wrapped:
    model = tf_unilth.prune_low_magnitude(model, tf_unilth.FixedMask())
  model = ticket.apply(model, skip=skip)
  for layer, weights in heads.items():
    _assert_equal(layer.get_weights(), weights)
  masks = list(ticket.masks.values())[:-1]
  _assert_equal(toys.masks(model)[:2], masks)
  assert all(mask.all() for mask in toys.masks(model)[2:])
  rest = len(rewound) - 2
  variables = PrunedLayers(model).model_weights
  # The statistics of the normalisation stand behind the head's weights.
  expected = dict(zip(ticket.rewind_weights, rewound, strict=True))
  for kind in ('gamma', 'beta', 'moving_mean', 'moving_variance', 'bias'):
    (first, *_) = [v.numpy() for v in variables if kind in v.name]
    (value, *_) = [v for n, v in expected.items() if kind in n]
    np.testing.assert_array_equal(first, value)
  for kernel, value, mask in zip(
    toys.kernels(model),
    [v for n, v in expected.items() if n.endswith('kernel')][:-1],
    masks,
  ):
    np.testing.assert_array_equal(kernel, np.where(mask, value, 0))
  assert len(variables) == rest + 2 * len(units)
  _assert_trains(model, masks, heads)


def _assert_trains(model, masks, heads):
  """Asserts that layers train, and that masks are held meanwhile."""
  before = {layer: layer.get_weights() for layer in heads}
  toys.compiled_for_labels(model)
  toys.fit(model, tf_unilth.UniLTH(verbose=0), epochs=1)
  for layer, weights in before.items():
    assert all((a != b).any() for a, b in zip(layer.get_weights(), weights))
  for kernel, mask in zip(toys.kernels(model), masks):
    assert not kernel[~mask].any() and kernel[mask].all()


def test_layers_in_the_middle_and_models_inside_are_left_too():
  def make(middle, count=4):
    inside = [layers.Input((4,)), layers.Dense(4), layers.Dense(count)]
    return keras.Sequential(
      [
        layers.Input((5,)),
        layers.Dense(4, name='first'),
        keras.Sequential(inside, name=middle),
        layers.Dense(3, name='last'),
      ]
    )

  source = _with_zeros(make('body'))
  ticket = tf_unilth.Ticket.from_model(
    source, rewind_weights=source.get_weights()
  )
  model = make('other', 6)
  inner = model.get_layer('other')
  before = inner.get_weights()
  with pytest.raises(ValueError, match="its kernel 4 is 'last' of shape "):
    ticket.apply(model, skip=[inner])
  model = make('other')
  inner = model.get_layer('other')
  before = inner.get_weights()
  sparse = ticket.apply(model, skip=[inner])
  _assert_equal(inner.get_weights(), before)
  first, _, _, last = ticket.masks.values()
  _assert_equal(toys.masks(sparse), [first, last])


def test_what_does_not_fit_beside_what_is_skipped_is_named():
  ticket, _ = _found_with_head()
  model = _with_head(3, filters=5)
  before = model.get_weights()
  with pytest.raises(
    ValueError,
    match=r"kernel 2 is 'conv2d_\d+' of shape \(3, 3, 4, 6\), the model's "
    r"'conv2d_\d+' of shape \(3, 3, 4, 5\)",
  ):
    ticket.apply(model, skip=['head'])
  with pytest.raises(ValueError, match="skip names 'heat', which is no layer"):
    ticket.apply(model, skip=['heat'])
  with pytest.raises(ValueError, match='skip names all layers'):
    ticket.apply(model, skip=model.layers)
  with pytest.raises(ValueError, match='kernel 3 is'):
    ticket.apply(_with_head(3))
  _assert_equal(model.get_weights(), before)


def test_more_than_one_way_to_skip_is_refused():
  # One of two like layers is to be put between layers that are skipped.
  like = np.eye(4, dtype=bool)
  ticket = tf_unilth.Ticket({'d': like, 'd_1': like, 'head': like[:, :2]})
  model = keras.Sequential(
    [
      layers.Input((4,)),
      layers.Dense(4, name='x'),
      layers.Dense(4, name='d_7'),
      layers.Dense(4, name='y'),
      layers.Dense(2, name='head'),
    ]
  )
  with pytest.raises(ValueError, match="'d' or 'd_1': skip fewer layers"):
    ticket.apply(model, weights=False, skip=['x', 'y'])
