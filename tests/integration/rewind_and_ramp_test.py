"""Every algorithm: what it rewinds, what its ramp shrinks, a target of zero."""

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tests.testing.algorithm_table import (
  ALGORITHMS,
  ROUNDS,
  Algorithm,
  make_optimizer,
)


def _rewinding_run(algorithm: Algorithm, **arguments: Any) -> tuple[Any, Any]:
  keras.utils.set_random_seed(1)
  model = toys.wrapped(
    toys.conv(),
    tf_unilth.IterativeSparsity(0.9, rounds=ROUNDS),
    make_optimizer('adam', algorithm.staged),
  )
  start = toys.training_state(model)
  spy = toys.Spy()
  # The lowest at epoch 2, a plateau of two epochs at epoch 4.
  val_loss = toys.SetValLoss(3.0, 2.0, 2.5, 2.2)
  toys.fit(model, val_loss, algorithm.callback(**arguments), spy)
  return start, spy


@pytest.mark.parametrize(
  'name, rewind_epochs, to',
  [
    ('unilth', None, 2),
    # Of all others, rounds_test.py sees the same on the fake engine.
    pytest.param('unidlth', 1, 3, marks=pytest.mark.long),
  ],
)
def test_a_plateau_rewinds_everything_bit_for_bit(name, rewind_epochs, to):
  _, spy = _rewinding_run(ALGORITHMS[name], rewind_epochs=rewind_epochs)
  kept, rewound = spy.states[to - 1], spy.states[3]
  assert len(kept) == len(rewound) > 20  # Weights, statistics, slots, steps.
  for before, after in zip(kept, rewound):
    np.testing.assert_array_equal(before, after)
  changed = [not np.array_equal(a, b) for a, b in zip(kept, spy.states[2])]
  assert any(changed) or to == 3


def test_a_rewind_never_goes_before_the_start():
  start, spy = _rewinding_run(ALGORITHMS['unilth'], rewind_epochs=7)
  weights = len(start) - 1  # The optimizer had no slots at the start.
  for before, after in zip(start[:weights], spy.states[3][:weights]):
    np.testing.assert_array_equal(before, after)


class _RoundEnds(keras.callbacks.Callback):
  """Records the training state at step k and after each round's end."""

  def __init__(self, rewind_step: int):
    super().__init__()
    self._rewind_step = rewind_step
    self._steps = self._rounds = 0
    self.kept: list[np.ndarray] = []
    self.ends: list[list[np.ndarray]] = []
    self.masks: list[list[np.ndarray]] = []

  def on_epoch_begin(self, epoch, logs=None):
    if epoch == 0 and self._rewind_step == 0:
      self.kept = toys.training_state(self.model)

  def on_train_batch_end(self, batch, logs=None):
    self._steps += 1
    if self._steps == self._rewind_step:
      self.kept = toys.training_state(self.model)
    found = toys.masks(self.model)
    if toys.zeros(found) > (toys.zeros(self.masks[-1]) if self.masks else 0):
      self.ends.append(toys.training_state(self.model))
      self.masks.append(found)


@pytest.mark.parametrize(
  'rewind_step', [5, pytest.param(0, marks=pytest.mark.long)]
)
def test_lth_rewinds_survivors_bit_for_bit_in_every_round(rewind_step):
  keras.utils.set_random_seed(1)
  model = toys.wrapped(
    toys.conv(),
    tf_unilth.IterativeSparsity(0.9, rounds=ROUNDS),
    make_optimizer('adam'),
  )
  watch = _RoundEnds(rewind_step)
  callback = tf_unilth.LTH(rewind_step=rewind_step, verbose=0)
  toys.fit(model, callback, watch)
  assert len(watch.ends) == ROUNDS
  for end, found in zip(watch.ends, watch.masks):
    assert len(end) == len(watch.kept)
    by_shape = {mask.shape: mask for mask in found}
    assert len(by_shape) == len(found)
    masked = 0
    for before, after in zip(watch.kept, end):
      if after.shape in by_shape:  # A kernel, or one of its slots.
        before = np.where(by_shape[after.shape], before, 0)
        masked += 1
      np.testing.assert_array_equal(before, after)
    assert masked == 3 * len(found)  # Adam has two slots.


def _nothing_to_learn(optimizer: Any, ramp: Any, algorithm: Algorithm) -> Any:
  """Trains where the loss has no gradient: only a penalty moves weights."""
  keras.utils.set_random_seed(1)
  model = tfmot.sparsity.keras.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(0.5, rounds=2)
  )
  model.compile(optimizer, lambda _, outputs: 0.0 * outputs)
  watch = _Weights()
  callback = algorithm.callback(ramp=ramp)
  history = toys.fit(model, callback, watch, epochs=20)
  return watch, history.history


class _Weights(keras.callbacks.Callback):
  """Records the weights after every batch."""

  def __init__(self):
    super().__init__()
    self.seen: list[tuple[int, float, list[np.ndarray], list[np.ndarray]]] = []

  def on_train_batch_end(self, batch, logs=None):
    pruning = self.model.layers[1].pruning_schedule.run
    candidates = [c.numpy() != 0 for c in pruning.ramp.candidates]
    self.seen.append(
      (
        pruning.state.round,
        pruning.state.ramp_limit,
        candidates,
        toys.kernels(self.model),
      )
    )


# Each algorithm that has a ramp, under one of two optimizers.
@pytest.mark.parametrize(
  'name, optimizer',
  zip(
    [name for name, row in ALGORITHMS.items() if row.ramped],
    itertools.cycle(['sgd', 'adam']),
  ),
)
def test_only_candidates_shrink_and_val_loss_has_no_penalty(name, optimizer):
  watch, history = _nothing_to_learn(
    make_optimizer(optimizer), tf_unilth.L2Ramp(limit=0.2), ALGORITHMS[name]
  )
  assert any(history['l2_lambda']) and not any(history['val_loss'])
  first = watch.seen[0][3]
  ramped = [row for row in watch.seen if row[1] > 0 and row[0] == 0]
  shrunk = False
  for before, after in itertools.pairwise(ramped):
    for chosen, old, new in zip(after[2], before[3], after[3]):
      np.testing.assert_array_equal(old[~chosen], new[~chosen])
      shrunk |= bool(np.any(np.abs(new[chosen]) < np.abs(old[chosen])))
  assert shrunk
  for before, after in zip(first, ramped[0][3]):
    np.testing.assert_array_equal(before, after)  # Stage 1: no penalty.
  still = [row[3] for row in watch.seen if row[1] == 0 and row[0] == 2]
  for before, after in zip(still[0], still[-1]):
    np.testing.assert_array_equal(before, after)  # Stage 3: none either.


@pytest.mark.parametrize(
  'name', ['unilth', 'dlth', pytest.param('lth', marks=pytest.mark.long)]
)
@pytest.mark.usefixtures('optimized')
def test_a_target_of_zero_is_bit_identical_to_plain_keras(name):
  def build() -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential(
      [
        keras.layers.Input((6, 6, 1)),
        keras.layers.Conv2D(4, 3),
        keras.layers.BatchNormalization(),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(2),
      ]
    )

  plain = toys.compiled_for_labels(build(), make_optimizer('adam'))
  plain_history = toys.fit(plain, shuffle=True)
  wrapped = toys.wrapped(
    build(), tf_unilth.IterativeSparsity(0.0), make_optimizer('adam')
  )
  history = toys.fit(wrapped, ALGORITHMS[name].callback(), shuffle=True)
  assert plain_history.history['loss'] == history.history['loss']
  assert plain_history.history['val_loss'] == history.history['val_loss']
  for before, after in zip(
    toys.training_state(plain), toys.training_state(wrapped), strict=True
  ):
    np.testing.assert_array_equal(before, after)
