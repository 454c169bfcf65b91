"""Whole channels in `fit`, on a network with a branch, BN and depthwise."""

import functools
import itertools

import numpy as np
import pytest
import tf_keras as keras

import tf_unilth
from tests.testing import interrupts, toys
from tf_unilth.engines.tfmot import channel_plan
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers

layers = keras.layers
EPOCHS = 6
ALGORITHMS = {
  'lth': tf_unilth.LTH,
  'lth_late': functools.partial(tf_unilth.LTH, rewind_step=3),
  'unilth': functools.partial(tf_unilth.UniLTH, patience=1),
  'unidlth': functools.partial(tf_unilth.UniDLTH, seed=2, patience=1),
}
# The layers whose channels are coupled, and what of each is +0.0.
BRANCHES = ('stem', 'stem_bn', 'depthwise', 'branch', 'branch_bn')


def _network():
  """A convolution, added to what a depthwise and a 1x1 make of it; a head."""
  keras.utils.set_random_seed(1)
  inputs = layers.Input((6, 6, 1))
  x = layers.Conv2D(8, 3, padding='same', name='stem')(inputs)
  x = stem = layers.ReLU()(layers.BatchNormalization(name='stem_bn')(x))
  x = layers.DepthwiseConv2D(3, padding='same', name='depthwise')(x)
  x = layers.Conv2D(8, 1, use_bias=False, name='branch')(x)
  x = layers.BatchNormalization(name='branch_bn')(x)
  x = layers.Flatten()(layers.Add()([stem, x]))
  x = layers.Dense(12, 'sigmoid', name='hidden')(x)
  return keras.Model(inputs, layers.Dense(2, name='head')(x))


def _wrapped(of='flops', optimizer=None, target=0.5, skip=(), **compiled):
  schedule = tf_unilth.IterativeSparsity(target, of=of, rounds=1)
  model = tf_unilth.prune_low_magnitude(
    _network(), schedule, structure='channels', skip=skip
  )
  return toys.compiled_for_labels(model, optimizer, **compiled)


def _fit(model, *callbacks, **arguments):
  return toys.fit(
    model,
    toys.SetValLoss(3, 2, 2.5),
    *callbacks,
    **{'epochs': EPOCHS, 'shuffle': False, **arguments},
  )


def _weights(model):
  """Returns the weights of the layers by the names of layer and weight."""
  inside = [getattr(layer, 'layer', layer) for layer in model.layers]
  return {
    (layer.name, weight.name.split(':')[0].split('/')[-1]): weight.numpy()
    for layer in inside
    for weight in layer.weights
  }


def _removed(model):
  """Returns which channels are removed; all that belongs to them is zero."""
  found = _weights(model)
  kept = {
    layer.layer.name: layer.pruning_vars[0][1].numpy() != 0
    for layer in model.layers
    if hasattr(layer, 'pruning_vars')
  }
  # A ramp may shrink channels to zero before they are removed.
  stem, hidden = (
    ~kept.get(name, found[name, 'kernel']).reshape(-1, size).any(0)
    for name, size in (('stem', 8), ('hidden', 12))
  )
  # All that belongs to a removed channel is +0.0, not -0.0.
  for name, mask in (('stem', stem), ('hidden', hidden)):
    for (layer, weight), values in found.items():
      coupled = layer in BRANCHES if name == 'stem' else layer == name
      axis = 2 if weight == 'depthwise_kernel' else -1
      if coupled and not weight.startswith('moving'):
        removed = np.moveaxis(values, axis, 0)[mask]
        assert not removed.any(), (layer, weight)
        assert not np.signbit(removed).any(), (layer, weight)
  # So are the inputs of what reads it.
  assert not found['branch', 'kernel'][:, :, stem].any()
  assert not found['hidden', 'kernel'].reshape(36, 8, 12)[:, stem].any()
  assert not found['head', 'kernel'][hidden].any()
  assert not stem.all() and not hidden.all()
  return np.concatenate([stem, hidden])


def _costs(model):
  """Returns weights and FLOPs of what is left, counted without tf_unilth."""
  removed = _removed(model)
  channels, units = (int((~part).sum()) for part in (removed[:8], removed[8:]))
  weights = channels * (9 + channels + 36 * units) + units * 2
  macs = 36 * channels * (9 + 9 + channels) + units * (36 * channels + 2)
  return weights, 2 * macs


WEIGHTS, FLOPS = 8 * (9 + 8 + 36 * 12) + 24, 2 * (36 * 8 * 26 + 12 * 290)


class _EachBatch(keras.callbacks.Callback):
  """Records which channels are zero after every batch."""

  def __init__(self):
    super().__init__()
    self.removed, self.ramped = [], []

  def on_train_batch_end(self, batch, logs=None):
    self.removed.append(_removed(self.model))
    run = self.model.layers[1].pruning_schedule.run
    if run.state.ramp_limit:
      names = [k.name for k in PrunedLayers(self.model).kernels]
      chosen = [c.numpy() for c in run.ramp.candidates]
      self.ramped.append(dict(zip(names, chosen, strict=True)))


def _check(model, history, seen, of):
  for before, after in itertools.pairwise(seen.removed):
    assert not (before & ~after).any()
  logs = {name: values[-1] for name, values in history.history.items()}
  weights, flops = _costs(model)
  assert logs['sparsity'] == pytest.approx(1 - weights / WEIGHTS)
  assert logs['flops_sparsity'] == pytest.approx(1 - flops / FLOPS)
  assert logs['sparsity' if of == 'weights' else 'flops_sparsity'] >= 0.5
  summary = tf_unilth.sparsity_summary(model)
  assert summary.zeros == WEIGHTS - weights
  assert summary.channels.flops_removed == FLOPS - flops
  assert summary.channels.units == 20


LONG = pytest.mark.long


@pytest.mark.parametrize(
  ('algorithm', 'of', 'optimizer'),
  [
    ('unilth', 'flops', None),
    pytest.param('lth', 'weights', None, marks=LONG),
    pytest.param('unidlth', 'weights', 'adam', marks=LONG),
  ],
)
def test_whole_channels_go_and_stay_zero_at_each_batch(
  algorithm, of, optimizer
):
  model, seen = _wrapped(of, optimizer), _EachBatch()
  history = _fit(model, ALGORITHMS[algorithm](verbose=0), seen)
  _check(model, history, seen, of)
  assert bool(seen.ramped) == (algorithm != 'lth')
  for chosen in seen.ramped:
    stem = chosen['stem/bias']
    for name in ('stem', 'stem_bn/gamma', 'branch_bn/beta', 'branch'):
      assert np.array_equal(chosen[name].reshape(-1, 8)[-1][stem], stem[stem])
      assert not chosen[name].reshape(-1, 8)[0][~stem].any() or name == 'branch'
  x, _ = toys.data()
  expected = model.predict(x, verbose=0)
  stripped = tf_unilth.strip_pruning(model)
  assert not any('prune' in layer.name for layer in stripped.layers)
  np.testing.assert_array_equal(_removed(stripped), seen.removed[-1])
  np.testing.assert_allclose(
    stripped.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-5
  )


_SGD = functools.partial(keras.optimizers.SGD, 0.05, momentum=0.9)


@pytest.mark.parametrize(
  ('policy', 'optimizer', 'compiled'),
  [
    ('mixed_bfloat16', _SGD, {}),
    pytest.param('mixed_float16', _SGD, {}, marks=LONG),
    pytest.param(
      'float32',
      functools.partial(_SGD, global_clipnorm=0.5),
      {'steps_per_execution': 3},
      marks=LONG,
    ),
  ],
)
def test_options_of_compile_keep_removed_channels_at_zero(
  policy, optimizer, compiled
):
  keras.mixed_precision.set_global_policy(policy)
  try:
    model, seen = _wrapped(optimizer=optimizer(), **compiled), _EachBatch()
    history = _fit(model, ALGORITHMS['unilth'](verbose=0), seen)
    _check(model, history, seen, 'flops')
    assert seen.removed[-1].any()
    smaller = tf_unilth.shrink(model)
    assert smaller.get_layer('stem').compute_dtype == policy.split('_')[-1]
  finally:
    keras.mixed_precision.set_global_policy('float32')
  x, _ = toys.data()
  np.testing.assert_allclose(
    smaller(x),
    model(x),
    rtol=0,
    atol=1e-5 if policy == 'float32' else 0.05,
  )


@LONG
def test_late_rewinding_restores_what_is_left_and_a_file_goes_on(tmp_path):
  class Keep(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
      step = len(steps)
      steps.append(None)
      if step in (2, 23):  # The snapshot; the end of the only round.
        kept.append(_weights(self.model))

    def on_epoch_end(self, epoch, logs=None):
      if epoch == 2:
        self.model.save(tmp_path / 'half.keras')

  kept, steps = [], []
  model, ticket = _wrapped(), ALGORITHMS['lth_late'](verbose=0)
  _fit(model, Keep(), ticket)
  loaded = keras.models.load_model(tmp_path / 'half.keras')
  _fit(loaded, ALGORITHMS['lth_late'](verbose=0), initial_epoch=3)
  for one, other in zip(model.weights, loaded.weights, strict=True):
    np.testing.assert_array_equal(one.numpy(), other.numpy(), one.name)
  removed = _removed(model)
  assert removed.any()
  rewound = dict(zip(kept[0], ticket.rewind_weights, strict=True))
  for name, values in kept[0].items():
    np.testing.assert_array_equal(values, rewound[name])


@LONG
def test_a_run_that_died_ends_bit_identical(tmp_path):
  def run(directory, *more):
    model = _wrapped(optimizer='adam')
    resume = tf_unilth.CheckpointAndResume(directory, verbose=0)
    _fit(model, ALGORITHMS['unilth'](verbose=0), resume, *more)
    return [w.numpy() for w in [*model.weights, *model.optimizer.variables()]]

  class DiedError(Exception):
    pass

  def die():
    raise DiedError

  whole = run(tmp_path / 'whole')
  with pytest.raises(DiedError):
    run(tmp_path / 'died', interrupts.At(4 * toys.STEPS + 3, die))
  for one, other in zip(whole, run(tmp_path / 'died'), strict=True):
    np.testing.assert_array_equal(one, other)


# Without `fit`: tickets, files, errors.


def _pruned_by_hand(model, units=(0, 3, 9)):
  """Removes some channels, as a run does."""
  pruned = PrunedLayers(model)
  channels = channel_plan.find_channels(model, pruned.kernels)
  kept = np.ones(channels.unit_count, bool)
  kept[list(units)] = False
  pruned.assign_masks(channels.masks(kept))
  return model


def test_a_ticket_removes_the_same_channels_of_other_models():
  model = _pruned_by_hand(_wrapped())
  ticket = tf_unilth.Ticket.from_model(
    model, rewind_weights=_network().get_weights()
  )
  assert set(ticket.masks) == {'stem', 'branch', 'hidden', 'head'}
  again = ticket.apply(_wrapped())
  np.testing.assert_array_equal(_removed(again), _removed(model))
  assert np.flatnonzero(_removed(again)).tolist() == [0, 3, 9]
  # A model without structure keeps the biases of channels that nothing reads.
  x, _ = toys.data()
  plain = ticket.apply(_network())
  np.testing.assert_allclose(
    plain.predict(x, verbose=0), again.predict(x, verbose=0), atol=1e-5
  )
  masks = dict(ticket.masks)
  masks['branch'] = np.ones_like(masks['branch'])
  before = (target := _wrapped()).get_weights()
  with pytest.raises(ValueError, match='does not prune the same channels'):
    tf_unilth.Ticket(masks).apply(target, weights=False)
  masks['branch'] = np.eye(8, dtype=bool).reshape(1, 1, 8, 8)
  with pytest.raises(ValueError, match='prunes some channels in part'):
    tf_unilth.Ticket(masks).apply(target, weights=False)
  for one, other in zip(before, target.get_weights(), strict=True):
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('suffix', ['.keras', '.h5'])
def test_a_file_keeps_the_structure_and_writes_zeros(suffix, tmp_path):
  model = _pruned_by_hand(_wrapped())
  for layer in model.layers:
    if hasattr(layer, 'layer'):  # As foreign code does.
      layer.layer.set_weights([w + 1 for w in layer.layer.get_weights()])
  model.save(tmp_path / f'model{suffix}')
  loaded = keras.models.load_model(tmp_path / f'model{suffix}')
  assert np.flatnonzero(_removed(loaded)).tolist() == [0, 3, 9]
  found = tf_unilth.sparsity_summary(loaded)
  assert found == tf_unilth.sparsity_summary(model)
  assert found.channels.removed == 3


def test_skipped_layers_and_what_is_coupled_to_them_keep_their_width():
  model = _wrapped(skip=['branch_bn'])
  channels = tf_unilth.sparsity_summary(model).channels
  assert channels.units == 12
  assert channels.pinned == (
    'stem (branch_bn is not wrapped)',
    'head (output of the model)',
  )
  model = _wrapped(skip=['head'])
  assert tf_unilth.sparsity_summary(model).channels.units == 20
  assert 'keep their width: head (output of the model)' in str(
    tf_unilth.sparsity_summary(model)
  )


def test_shrinking_leaves_what_the_masks_leave():
  model = _pruned_by_hand(_wrapped(), (0, 3, 9, 10, 11))
  small = tf_unilth.shrink(model)
  assert small.get_layer('stem').filters == 6
  assert small.get_layer('hidden').units == 9
  summary = tf_unilth.sparsity_summary(model)
  left = tf_unilth.sparsity_summary(small)
  assert left.total_weights == summary.total_weights - summary.zeros
  again = tf_unilth.prune_low_magnitude(
    small, tf_unilth.IterativeSparsity(0.5), structure='channels'
  )
  channels = tf_unilth.sparsity_summary(again).channels
  assert channels.flops == _costs(model)[1]
  x, _ = toys.data()
  np.testing.assert_allclose(
    small.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5
  )
