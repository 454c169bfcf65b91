"""Units, schedules and late building of Keras 3 models."""

import warnings

import keras
import numpy as np
import pytest

import tf_unilth
from tests.testing import keras_3_planned as planned
from tests.testing import keras_3_toys, toys
from tf_unilth.engines.keras3 import pruning_plan

pytestmark = pytest.mark.keras3
layers = keras.layers
prune_low_magnitude = tf_unilth.prune_low_magnitude


# Units.


@pytest.mark.parametrize(
  'arguments',
  [
    {'block_size': (4, 1)},
    {'block_size': (4, 1), 'block_pooling_type': 'MAX'},
    {'sparsity_m_by_n': (2, 4)},
  ],
  ids=str,
)
def test_kernels_are_pruned_in_units(arguments):
  model = prune_low_magnitude(
    planned.three(), planned.schedule(0.5), **arguments
  )
  stripped = planned.fit(model, tf_unilth.UniLTH(verbose=0))
  assert sum(planned.zeros(stripped)) == 3 * 64 / 2
  for name in ('first', 'last'):
    kernel = keras.ops.convert_to_numpy(stripped.get_layer(name).kernel)
    zeros = (kernel.reshape(-1, 4, 8) == 0).sum(1)
    by_blocks = 'block_size' in arguments
    assert set(zeros.ravel()) <= ({0, 4} if by_blocks else {2})


def test_the_last_block_of_a_kernel_may_be_shorter():
  model = keras.Sequential([layers.Input((10,)), layers.Dense(8, name='a')])
  prune_low_magnitude(model, planned.schedule(0.5), block_size=(4, 1))
  x = np.random.default_rng(0).normal(size=(8, 10)).astype(np.float32)
  stripped = planned.fit(model, tf_unilth.UniLTH(verbose=0), x=x, y=x[:, :8])
  kernel = keras.ops.convert_to_numpy(stripped.get_layer('a').kernel)
  zeros = [(kernel[i : i + 4] == 0).sum(0) for i in (0, 4, 8)]
  assert {*np.ravel(zeros[:2])} <= {0, 4} and {*zeros[2]} <= {0, 2}
  # Half of the 24 blocks, whatever their size.
  assert sum(np.count_nonzero(found) for found in zeros) == 12


def test_groups_follow_the_inputs_of_a_layer():
  model = keras.Sequential(
    [layers.Input((4, 4)), layers.Conv1DTranspose(3, 2, name='transposed')]
  )
  prune_low_magnitude(model, planned.schedule(0.5), sparsity_m_by_n=(2, 4))
  (kernel,) = planned.kernels(model)
  assert kernel.shape == (2, 3, 4) and kernel.structure.axis == -1


def test_layers_without_such_units_stay_dense_with_a_warning():
  with pytest.warns(UserWarning, match=r'block_size=\(2, 1\) needs a ma') as c:
    model = prune_low_magnitude(
      keras_3_toys.conv(), planned.schedule(), block_size=(2, 1)
    )
  assert planned.files(c) == [__file__]
  assert [len(kernel.shape) for kernel in planned.kernels(model)] == [2]
  with pytest.warns(UserWarning, match=r'sparsity_m_by_n=\(2, 4\) needs'):
    model = prune_low_magnitude(
      keras_3_toys.conv(), planned.schedule(0.5), sparsity_m_by_n=(2, 4)
    )
  # The first convolution has one channel, too few for two of four.
  assert len(planned.kernels(model)) == 2


def test_a_target_of_a_layer_without_such_units_is_an_error():
  model = keras_3_toys.conv()
  name = model.layers[1].name
  with (
    pytest.warns(UserWarning, match='stay dense'),
    pytest.raises(ValueError, match=rf'targets must name.*{name}'),
  ):
    prune_low_magnitude(
      model, planned.schedule(), block_size=(2, 1), targets={name: 0.5}
    )


# The schedules.


@pytest.mark.parametrize(
  ('arguments', 'expected'),
  [
    ({'rounds': 1}, [0.5]),
    ({'rounds': 2, 'pace': 'geometric'}, [0.293, 0.5]),
    ({'rounds': 2, 'pace': 'cubic'}, [0.438, 0.5]),
    ({'prune_fraction': 0.4}, [0.293, 0.5]),
  ],
  ids=str,
)
def test_rounds_and_pace_are_followed(arguments, expected):
  class Spy(keras.callbacks.Callback):
    def __init__(self):
      super().__init__()
      self.found = []

    def on_train_batch_end(self, batch, logs=None):
      sparsity = round(tf_unilth.sparsity_summary(self.model).sparsity, 3)
      if sparsity and sparsity not in self.found:
        self.found.append(sparsity)

  model = prune_low_magnitude(
    planned.three(), planned.schedule(0.5, **arguments)
  )
  model.compile('sgd', 'mse', jit_compile=keras_3_toys.JIT)
  spy, x = Spy(), np.ones((16, 8), np.float32)
  model.fit(
    *(x, x, 8),
    epochs=9,
    verbose=0,
    callbacks=[tf_unilth.LTH(verbose=0), spy],
  )
  np.testing.assert_allclose(spy.found, expected, atol=0.003)


@pytest.mark.parametrize(
  ('scope', 'is_met'),
  [
    ('layer', lambda zeros: zeros == [32, 32, 32]),
    ('global', lambda zeros: sum(zeros) == 96 and zeros[0] > zeros[2]),
    ('erk', lambda zeros: sum(zeros) == 96),
  ],
)
def test_the_scope_is_followed(scope, is_met):
  model = planned.three()
  model.layers[0].kernel.assign(model.layers[0].kernel * 0.01)
  prune_low_magnitude(model, planned.schedule(0.5, scope=scope, rounds=1))
  assert is_met(planned.zeros(planned.fit(model, tf_unilth.LTH(verbose=0))))


def test_a_fixed_mask_keeps_the_zeros_in_any_fit():
  model = planned.three()
  kernel = np.array(model.layers[0].kernel)
  kernel[:4] = 0
  model.layers[0].kernel.assign(kernel)
  prune_low_magnitude(model, tf_unilth.FixedMask())
  model.compile('sgd', 'mse', jit_compile=keras_3_toys.JIT)
  x = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
  model.fit(x, x, 8, epochs=2, verbose=0)  # Without a callback.
  stripped = tf_unilth.strip_pruning(model)
  assert planned.zeros(stripped) == [32, 0, 0]
  trained = keras.ops.convert_to_numpy(stripped.layers[0].kernel)
  assert not trained[:4].any() and (trained[4:] != kernel[4:]).all()


def test_a_fixed_mask_of_zeros_alone_is_named():
  model = planned.three()
  model.layers[0].kernel.assign(np.zeros((8, 8)))
  words = "FixedMask of layer 'first' masks all weights"
  with pytest.warns(UserWarning, match=words) as caught:
    prune_low_magnitude(model, tf_unilth.FixedMask())
  assert planned.files(caught) == [__file__]


# Models that are built later.


def test_an_unbuilt_model_is_pruned_once_it_is_built():
  model = keras.Sequential(
    [layers.Dense(8, name='first'), planned.Matrix(name='own'), layers.Dense(8)]
  )
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    prune_low_magnitude(model, planned.schedule(0.5), skip='first')
  assert planned.kernels(model) == []
  model.build((None, 8))
  with pytest.warns(UserWarning, match="layer 'own' stays dense: a Matrix"):
    stripped = planned.fit(model, tf_unilth.UniLTH(verbose=0))
  assert planned.zeros(stripped) == [0, 16]


def test_a_subclassed_model_is_pruned():
  model = planned.Subclassed()
  prune_low_magnitude(model, planned.schedule(0.5))
  model(np.zeros((1, 8), np.float32))
  stripped = planned.fit(model, tf_unilth.UniDLTH(verbose=0))
  assert sum(planned.zeros(stripped)) == 64


def test_a_subclassed_model_is_pruned_that_only_seems_built():
  model = planned.Subclassed()
  # As `build` does for a class without one of its own, with a warning.
  model.built = True
  prune_low_magnitude(model, planned.schedule(0.5))
  assert planned.kernels(model) == []
  model(np.zeros((1, 8), np.float32))
  assert [kernel.name for kernel in planned.kernels(model)] == ['first', 'last']


def test_dense_layers_of_a_model_that_only_seems_built_are_named_later():
  model = planned.Subclassed()
  model.built = True
  prune_low_magnitude(model, planned.schedule(0.5))
  assert not pruning_plan.planned(model).has_warned


def test_a_kernel_of_a_late_model_that_does_not_divide_is_named():
  model = keras.Sequential([layers.Dense(8, name='first')])
  prune_low_magnitude(model, planned.schedule(0.5), sparsity_m_by_n=(2, 4))
  x, y = np.zeros((8, 3), np.float32), np.zeros((8, 8), np.float32)
  model.build((None, 3))
  words = r"'first' has shape \(3, 8\): name that layer in skip"
  with pytest.raises(ValueError, match=words):
    planned.fit(model, tf_unilth.LTH(verbose=0), x=x, y=y)


@pytest.mark.parametrize(
  ('of', 'arguments', 'message'),
  [
    ('weights', {'structure': 'channels'}, 'channels. needs a tf_keras model'),
    ('flops', {}, "of='flops' of pruning_schedule needs structure"),
  ],
)
def test_whole_channels_are_refused(of, arguments, message):
  schedule = tf_unilth.IterativeSparsity(0.5, of=of)
  with pytest.raises(ValueError, match=message):
    tf_unilth.prune_low_magnitude(keras_3_toys.dense(), schedule, **arguments)


def test_toys_are_pruned_to_the_weight():
  model = prune_low_magnitude(keras_3_toys.conv(), planned.schedule(0.9))
  x, y = toys.data()
  y = np.stack([y, 1 - y], 1).astype(np.float32)
  stripped = planned.fit(model, tf_unilth.UniLTH(verbose=0), x=x, y=y)
  summary = tf_unilth.sparsity_summary(stripped)
  assert summary.zeros == round(0.9 * summary.total_weights)
