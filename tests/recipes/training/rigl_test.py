"""RigL against its definition: its updates, its masks, its resumed runs."""

import dataclasses
import itertools
import os
import signal
import types

import numpy as np
import pytest
import tf_keras as keras

import tf_unilth
from recipes.common import figures
from recipes.training import progress, pruning_setup, rigl
from tests.testing import method_toys, tiny_recipe
from tf_unilth.resume.checkpoint_store import CheckpointDirectory

_STEPS, _EPOCHS, _BATCH = 4, 10, 8  # Steps per epoch, epochs, rows.
_SIZES = (12, 60, 10)
_SHAPES = ((12, 60), (60, 10))
_X = np.random.default_rng(0).normal(size=(_STEPS * _BATCH, _SIZES[0]))
_Y = _X[:, :10] ** 2


def _schedule(steps):
  return rigl.UpdateSchedule(steps)


@pytest.mark.parametrize(
  ('steps', 'interval', 'first', 'last', 'number'),
  [
    (100_000, 100, 100, 74_900, 749),
    # At least as many updates as gradual pruning has: 60 where there are steps.
    (4000, 50, 50, 2950, 59),
    (40, 1, 1, 29, 29),
  ],
)
@pytest.mark.parametrize('at_once', [1, 7])
def test_updates_come_at_equal_intervals_until_three_quarters_of_the_steps(
  steps, interval, first, last, number, at_once
):
  schedule = _schedule(steps)
  assert schedule.interval == interval
  ends = [*range(0, steps, at_once), steps]
  found = [schedule.due(*pair) for pair in itertools.pairwise(ends)]
  found = [step for step in found if step is not None]
  if at_once == 1 or interval > at_once:
    assert (found[0], found[-1], len(found)) == (first, last, number)
    assert schedule.updates == number
  assert (
    set(np.diff(found)) <= {interval, at_once} and max(found) < schedule.end
  )
  fractions = [schedule.fraction(step) for step in found]
  angles = np.pi * np.array(found) / (0.75 * steps)
  assert fractions == pytest.approx(0.15 * (1 + np.cos(angles)))


def test_the_shortest_run_has_an_update():
  assert _schedule(3).updates == 1 and _schedule(3).due(0, 1) == 1


def _defined(mask, weight, gradient, fraction):
  """Returns the definition of an update: its new mask, as sorted lists."""
  places = range(mask.size)
  on = [i for i in places if mask.flat[i]]
  number = int(fraction * len(on))
  on.sort(key=lambda i: (abs(weight.flat[i]), i))
  kept = on[number:]
  off = [i for i in places if i not in kept]
  off.sort(key=lambda i: (-abs(gradient.flat[i]), i))
  result = np.zeros(mask.size, bool)
  result[kept + off[:number]] = True
  return result.reshape(mask.shape)


@pytest.mark.parametrize('density', [0.02, 0.3, 0.9, 1.0])
def test_an_update_is_as_defined_also_where_values_are_equal(density):
  random = np.random.default_rng(1)
  for fraction in (0.0, 0.01, 0.3, 0.99):
    mask = random.permutation(np.arange(120) < density * 120).reshape(10, 12)
    # Whole numbers, of which many are equal.
    weight = random.integers(-3, 4, mask.shape) * mask
    gradient = random.integers(-3, 4, mask.shape)
    new = rigl.moved(mask, weight, gradient, fraction)
    np.testing.assert_array_equal(
      new, _defined(mask, weight, gradient, fraction)
    )
    assert new.sum() == mask.sum()


class _Spy(keras.callbacks.Callback):
  """Records kernels, masks and momentums after each step."""

  def __init__(self):
    super().__init__()
    self.steps, self.biases = [], []

  def on_train_batch_end(self, batch, logs=None):
    layers = self.model.layers
    kernels, masks = (
      [layer.pruning_vars[0][i].numpy() for layer in layers] for i in (0, 1)
    )
    momentums = [
      m.numpy() for m in self.model.optimizer.momentums if len(m.shape) > 1
    ]
    self.steps.append((kernels, masks, momentums))
    self.biases.append([layer.layer.bias.numpy() for layer in layers])


def _train(method, monkeypatch=None, x=_X, epochs=_EPOCHS, **given):
  """Trains a toy; returns what was there before and after the last callback."""
  keras.utils.set_random_seed(0)
  model, made = method_toys.wrapped(
    *(method, _SIZES, _STEPS * epochs, 0.9),
    target_sparsity=0.85,
    seed=3,
    schedule=given,
  )
  before, after = _Spy(), _Spy()
  ticket, *mover = made.callbacks
  callbacks = [ticket, before, *mover, after]
  model.fit(
    x, _Y, _BATCH, epochs, verbose=0, shuffle=False, callbacks=callbacks
  )
  assert 'compute_gradients' not in vars(model.optimizer)
  return before, after


@pytest.fixture(scope='module')
def trained():
  """Returns what the spies of a run with updates at 6, 12, 18 and 24 saw."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(rigl, 'GRADUAL_UPDATES', 5)
    return _train('rigl')


_UPDATES = [6, 12, 18, 24]


def _masks(seen):
  return np.stack(
    [np.concatenate([m.ravel() for m in masks]) for _, masks, _ in seen.steps]
  )


def test_masks_change_at_the_updates_alone_and_begin_as_the_random_ticket(
  trained,
):
  masks = _masks(trained[1])
  changed = 1 + np.flatnonzero((masks[1:] != masks[:-1]).any(axis=1))
  assert [*(changed + 1)] == _UPDATES
  ticket, _ = _train('random', epochs=3, scope='erk')
  np.testing.assert_array_equal(masks[0], _masks(ticket)[0])


def test_layers_keep_the_sparsities_of_erk(trained):
  # density = eps (inputs + outputs) / (inputs * outputs), of 1320 weights.
  sums, left = [72, 70], 198
  wanted = [round(left * s / sum(sums)) for s in sums]
  for kernels, masks, _ in trained[1].steps:
    assert [m.sum() for m in masks] == wanted
    assert [np.count_nonzero(k) for k in kernels] <= wanted


def test_zeros_hold_in_every_step(trained):
  for seen in trained:
    for kernels, masks, momentums in seen.steps:
      for kernel, mask, momentum in zip(kernels, masks, momentums, strict=True):
        assert not kernel[mask == 0].any() and not momentum[mask == 0].any()


def _gradients(kernels, biases, step):
  """Returns the gradients by the kernels of the batch of a step, from 0."""
  rows = slice(_BATCH * (step % _STEPS), _BATCH * (step % _STEPS + 1))
  x, y = _X[rows], _Y[rows]
  hidden = x @ kernels[0] + biases[0]
  error = 2 * (hidden @ kernels[1] + biases[1] - y) / y.size
  return x.T @ (error @ kernels[1].T), hidden.T @ error


@pytest.mark.parametrize('update', _UPDATES)
def test_an_update_drops_by_magnitude_and_grows_by_the_gradient_of_its_batch(
  trained, update
):
  before, after = trained
  step = update - 1
  # The step's gradient is at the weights with which it began.
  began, *_ = after.steps[step - 1]
  gradients = _gradients(began, after.biases[step - 1], step)
  fraction = 0.15 * (1 + np.cos(np.pi * update / 30))
  for gradient, *there, kernel, mask, momentum in zip(
    gradients, *before.steps[step], *after.steps[step], strict=True
  ):
    weight, old, speed = there
    grown = mask > old
    # Dropped ones that came back are kept too.
    kept = (old == 1) & (mask == 1)
    number = int(fraction * old.sum())
    largest_dropped = np.sort(np.abs(weight[old == 1]))[number - 1]
    free = (old == 0) | (np.abs(weight) <= largest_dropped)
    assert mask[~free].all() and (mask[free] == 1).sum() == number > 0
    assert grown.any()
    slope = np.abs(gradient)
    chosen, left = free & (mask == 1), free & (mask == 0)
    assert slope[chosen].min() >= slope[left].max() * (1 - 1e-4)
    # New ones begin at 0; the step itself has updated all others.
    np.testing.assert_array_equal(kernel, np.where(kept, weight, 0))
    np.testing.assert_array_equal(momentum, np.where(kept, speed, 0))
    # They are trained; some have no path to the outputs, and stay.
    trained_on = after.steps[step + 1][0][list(_SHAPES).index(mask.shape)]
    assert np.mean(trained_on[grown] != 0) > 0.5
    assert np.mean(trained_on[kept] != weight[kept]) > 0.5
    began_at = began[list(_SHAPES).index(mask.shape)]
    assert np.mean(weight[kept] != began_at[kept]) > 0.5


def test_a_gradient_that_is_not_finite_is_an_error(monkeypatch):
  monkeypatch.setattr(rigl, 'GRADUAL_UPDATES', 15)
  with pytest.raises(FloatingPointError, match=r'gradient of .* not fin'):
    _train('rigl', x=np.full_like(_X, np.nan))


def test_flags_that_it_cannot_serve_are_refused():
  refused = {
    'scope': 'erk',
    'rounds': 2,
    'block_size': ['2', '1'],
    'structure': 'channels',
  }
  for name, value in refused.items():
    config = tiny_recipe.config(method='rigl', **{name: value}).pruning
    with pytest.raises(ValueError, match=f'--{name} is not read by'):
      pruning_setup.check(config, keras)
  config = tiny_recipe.config(method='rigl').pruning
  keras_3 = types.SimpleNamespace(__name__='keras')
  with pytest.raises(ValueError, match='rigl needs --keras=tf_keras'):
    pruning_setup.check(config, keras_3)


@pytest.fixture
def no_plots(monkeypatch):
  monkeypatch.setattr(figures, 'available', lambda: False)


# In mixed precision, kernels are behind variables that cast them.
_RUN = {
  'method': 'rigl',
  'target_sparsity': 0.9,
  'export': ['ticket'],
  'mixed_precision': 'bfloat16',
}


@pytest.mark.long
@pytest.mark.filterwarnings('ignore:the ticket of model')
def test_a_run_that_was_stopped_ends_as_if_left_alone(
  no_plots, monkeypatch, tmp_path
):
  whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
  results = tiny_recipe.run(whole, **_RUN)
  calls = []

  def terminate(self, batch, logs=None):
    calls.append(batch)
    if len(calls) == 8:  # In the second epoch.
      os.kill(os.getpid(), signal.SIGTERM)

  with monkeypatch.context() as patch:
    patch.setattr(progress.Progress, 'on_train_batch_end', terminate)
    with pytest.raises(SystemExit):
      tiny_recipe.run(stopped, **_RUN)
  again = tiny_recipe.run(stopped, **_RUN)
  assert (again['sparsity'], again['test_accuracy']) == (
    *(results['sparsity'], results['test_accuracy']),
  )
  one, two = (
    CheckpointDirectory(path / 'checkpoints', 2).newest().variables
    for path in (whole, stopped)
  )
  assert one.keys() == two.keys()
  for name, value in one.items():
    np.testing.assert_array_equal(value, two[name], name)
  for name in ('history.csv', 'config.json'):
    assert (whole / name).read_text() == (stopped / name).read_text()
  # The ticket and the results have the masks of the last update.
  ticket = tf_unilth.Ticket.load(whole / 'ticket')
  zeros = sum(int(m.size - m.sum()) for m in ticket.masks.values())
  assert zeros == results['total_weights'] - results['nonzero_weights']
  assert results['sparsity'] == pytest.approx(0.9, abs=1e-3)


def _build(keras, image_shape, classes):
  layers = [keras.layers.Input(image_shape), keras.layers.Flatten()]
  layers += [keras.layers.Dense(n, activation='relu') for n in (100, 50)]
  return keras.Sequential([*layers, keras.layers.Dense(classes)])


@pytest.mark.long
def test_moving_connections_is_above_the_same_ticket_that_stays(
  no_plots, tmp_path
):
  # As Evci et al. report at high sparsities ("static").
  recipe = dataclasses.replace(tiny_recipe.RECIPE, build=_build, batch_size=64)
  given = {'target_sparsity': 0.98, 'epochs': 20, 'export': []}
  found = {
    name: tiny_recipe.run(tmp_path / name, recipe, method=name, **given, **more)
    for name, more in (('random', {'scope': 'erk'}), ('rigl', {}))
  }
  assert found['rigl']['sparsity'] == found['random']['sparsity']
  accuracy = {name: row['test_accuracy'] for name, row in found.items()}
  assert accuracy['rigl'] > accuracy['random'] + 0.02
