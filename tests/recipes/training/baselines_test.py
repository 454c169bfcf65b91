"""The baselines that our engine trains, against their definitions."""

import dataclasses

import numpy as np
import pytest
import tf_keras as keras

import tf_unilth
from recipes.training import cyclic, methods
from tests.testing import method_toys, tiny_recipe

_STEPS, _EPOCHS = 4, 10  # Steps per epoch, epochs.
_SIZES = (12, 40, 3)


class _Spy(keras.callbacks.Callback):
  """Records the kernels, the zeros and the learning rate after each step."""

  def __init__(self):
    super().__init__()
    self.kernels, self.zeros, self.rates = [], [], []

  def on_train_batch_begin(self, batch, logs=None):
    optimizer = self.model.optimizer
    rate = optimizer._learning_rate(optimizer.iterations)
    self.rates.append(float(rate))

  def on_train_batch_end(self, batch, logs=None):
    found = [
      w.numpy() for w in self.model.trainable_weights if len(w.shape) > 1
    ]
    self.kernels.append(np.concatenate([w.ravel() for w in found]))
    self.zeros.append(tf_unilth.sparsity_summary(self.model).zeros)


def _train(method, sparsity=0.9, **given):
  """Trains a toy by a method; returns what the spy saw."""
  keras.utils.set_random_seed(0)
  x = np.random.default_rng(0).normal(size=(_STEPS * 8, _SIZES[0]))
  y = x[:, :3] ** 2
  model, made = method_toys.wrapped(
    *(method, _SIZES, _STEPS * _EPOCHS),
    target_sparsity=sparsity,
    seed=0,
    **given,
  )
  spy = _Spy()
  model.fit(
    x, y, 8, _EPOCHS, verbose=0, shuffle=False, callbacks=[*made.callbacks, spy]
  )
  return spy, made.ticket


def _updates(zeros):
  """Returns the steps after which there are more zeros, and how many."""
  return [
    (step, after)
    for step, (before, after) in enumerate(
      zip([0, *zeros[:-1]], zeros, strict=True)
    )
    if after > before
  ]


def test_gmp_global_is_cubic_and_ranks_all_layers_together():
  spy, ticket = _train('gmp_global', schedule={'rounds': 5})
  found = _updates(spy.zeros)
  total = spy.kernels[0].size
  assert ticket.rounds == len(found) == 5
  # From a fifth of the steps to seven tenths, in rounds of four steps.
  assert [step + 1 for step, _ in found] == [12, 16, 20, 24, 28]
  for number, (_, zeros) in enumerate(found, 1):
    assert zeros == round(0.9 * (1 - (1 - number / 5) ** 3) * total)
  # The first cut took the smallest of all layers.
  step, zeros = found[0]
  values, after = np.abs(spy.kernels[step - 1]), spy.kernels[step]
  assert np.count_nonzero(after == 0) == zeros
  # As they were a step before.
  smallest = np.argsort(values)[:zeros]
  assert np.mean(after[smallest] == 0) > 0.95
  assert ticket.plateau_epoch is None and ticket.rewound_to_epoch is None


def test_gmp_global_updates_as_often_as_there_are_steps():
  spy, ticket = _train('gmp_global', begin_fraction=0.0)
  assert ticket.rounds == 14  # Two steps each.
  assert spy.zeros[-1] == round(0.9 * spy.kernels[0].size)


def test_gmp_global_restarts_the_rate_where_it_is_told():
  rates = [
    tiny_recipe.config(method='gmp_global', **given).pruning.lr_restart
    for given in ({}, {'lr_restart': True})
  ]
  assert rates == [None, True] and 'gmp_global' in methods.ONE_DECAY


@pytest.mark.parametrize(('begin', 'step'), [(None, 20), (0.3, 12)])
def test_oneshot_global_cuts_all_layers_once(begin, step):
  spy, ticket = _train('oneshot_global', begin_fraction=begin)
  kernels = spy.kernels[step - 1]
  assert _updates(spy.zeros) == [(step, round(0.9 * kernels.size))]
  largest = np.argsort(np.abs(kernels))[round(0.9 * kernels.size) :]
  # The cut is one step later, so that a few weights may have changed places.
  assert len({*np.flatnonzero(spy.kernels[step])} ^ {*largest}) <= 4
  assert ticket.rounds == 1 and 'oneshot_global' in methods.ONE_DECAY


def test_cyclic_has_the_rates_of_lr_rewind_and_cuts_once():
  rounds = {'rounds': 4}
  ours, ticket = _train('cyclic', schedule=dict(rounds))
  theirs, _ = _train('lr_rewind', schedule=dict(rounds))
  np.testing.assert_allclose(ours.rates, theirs.rates, rtol=1e-6)
  assert len(_updates(theirs.zeros)) == 4
  total = ours.kernels[0].size
  # After four of five cycles.
  assert _updates(ours.zeros) == [(32, round(0.9 * total))]
  assert ticket.rounds == 1


def test_the_cut_of_cyclic_leaves_a_cycle():
  assert [cyclic.dense_epochs(epochs, 4) for epochs in (15, 10, 5, 3)] == [
    *(12, 8, 4, 2)
  ]


def _build(keras, image_shape, classes):
  layers = [keras.layers.Input(image_shape), keras.layers.Flatten()]
  layers += [keras.layers.Dense(n, activation='relu') for n in (100, 50)]
  return keras.Sequential([*layers, keras.layers.Dense(classes)])


@pytest.mark.long
def test_gradual_pruning_and_cycles_are_above_one_cut(tmp_path):
  # As Zhu & Gupta (2017) and arXiv 2406.02773 report of high sparsities.
  recipe = dataclasses.replace(tiny_recipe.RECIPE, build=_build, batch_size=64)
  given = {'target_sparsity': 0.98, 'epochs': 15, 'export': [], 'plots': False}
  found = {
    name: tiny_recipe.run(tmp_path / name, recipe, method=name, **given)
    for name in ('oneshot', 'gmp_global', 'cyclic')
  }
  accuracy = {name: row['test_accuracy'] for name, row in found.items()}
  assert accuracy['gmp_global'] > accuracy['oneshot'] + 0.05
  assert accuracy['cyclic'] > accuracy['oneshot'] + 0.05
