"""The algorithms on Keras 3, on the backend of the process: the invariants.

The rows are those of `algorithm_table.py`. CI runs this file on each backend.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import tf_unilth
from tests.testing import algorithm_table, keras_3_toys
from tests.testing.algorithm_table import ALGORITHMS, ROUNDS, SEED
from tf_unilth.engines.keras3 import backend_values
from tf_unilth.selection import mask_selection, round_sparsity

pytestmark = [pytest.mark.keras3, pytest.mark.long]
BACKEND = keras.backend.backend()


@dataclasses.dataclass(frozen=True)
class Case:
  """One combination of what surrounds an algorithm."""

  optimizer: str
  mode: str
  model: Callable[[], keras.Model]
  target: float
  steps_per_execution: int = 1
  structure: dict[str, Any] = dataclasses.field(default_factory=dict)
  units: Callable[[np.ndarray], int] = np.size  # The units of a mask.


def _blocks(mask: np.ndarray) -> int:
  """Returns the number of 5 x 3 blocks of a mask, or of those with a True."""
  height, width = mask.shape
  return sum(
    bool(mask[top : top + 5, left : left + 3].any())
    for top in range(0, height, 5)
    for left in range(0, width, 3)
  )


CASES = {
  'a': Case('sgd', 'auto', keras_3_toys.conv, 0.9),
  'b': Case('adam', 'graph', keras_3_toys.dense, 0.5, steps_per_execution=4),
  'c': Case('sgd', 'eager', keras_3_toys.nested, 0.98),
  'd': Case(
    *('adam', 'auto', keras_3_toys.dense, 0.8),
    structure={'block_size': (5, 3)},
    units=_blocks,
  ),
}
# Backends differ in how a step runs, not in the algorithms: TensorFlow has all
# rows, the others one of each kind.
_ALL = dict.fromkeys(ALGORITHMS, 'a') | {'unilth': 'abcd', 'lth': 'bc'}
_SOME = {'unilth': 'abcd', 'lth': 'b', 'lr_rewind': 'a', 'dlth': 'a'}
_CELLS = [
  (name, case)
  for name, cases in (_ALL if BACKEND == 'tensorflow' else _SOME).items()
  for case in cases
]
every_cell = pytest.mark.parametrize('name, case', _CELLS)


@dataclasses.dataclass(frozen=True)
class Run:
  """A finished run, as the spy saw it."""

  case: Case
  model: keras.Model
  spy: keras_3_toys.Spy
  history: dict[str, list[float]]
  callback: Any


_optimizer = functools.partial(algorithm_table.make_optimizer, package=keras)


@functools.cache
def run(name: str, case_name: str) -> Run:
  """Trains one cell of the table, once."""
  algorithm, case = ALGORITHMS[name], CASES[case_name]
  keras.utils.set_random_seed(1)
  model = tf_unilth.prune_low_magnitude(
    case.model(),
    tf_unilth.IterativeSparsity(case.target, rounds=ROUNDS),
    **case.structure,
  )
  keras_3_toys.compiled_for_labels(
    model,
    _optimizer(case.optimizer, algorithm.staged),
    run_eagerly=case.mode == 'eager',
    jit_compile='auto' if case.mode == 'auto' else False,
    # Keras has no other on torch.
    steps_per_execution=1 if BACKEND == 'torch' else case.steps_per_execution,
  )
  callback, spy = algorithm.callback(), keras_3_toys.Spy()
  history = keras_3_toys.fit(model, callback, spy)
  return Run(case, model, spy, history.history, callback)


def _cut(case: Case, masks: list[np.ndarray]) -> int:
  """Returns how many units are pruned."""
  ones = [np.ones(mask.shape, bool) for mask in masks]
  return sum(map(case.units, ones)) - sum(
    case.units(mask) if case.structure else np.count_nonzero(mask)
    for mask in masks
  )


@every_cell
def test_masks_of_successive_steps_are_nested(name, case):
  seen = [masks for masks, _ in run(name, case).spy.batches]
  for before, after in itertools.pairwise(seen):
    for old, new in zip(before, after, strict=True):
      assert not np.any(new & ~old)


@every_cell
def test_each_round_ends_at_its_sparsity_to_the_unit(name, case):
  finished = run(name, case)
  assert max(finished.spy.rounds) == ROUNDS
  pace = 'cubic' if name.startswith('uni') else 'geometric'
  total = sum(
    finished.case.units(np.ones(mask.shape, bool))
    for mask in keras_3_toys.masks(finished.model)
  )
  for number, masks in finished.spy.rounds.items():
    sparsity = round_sparsity.sparsity_at_round(
      finished.case.target, number, ROUNDS, pace
    )
    assert _cut(finished.case, masks) == round(sparsity * total)


@every_cell
def test_a_pruned_weight_is_zero_after_every_step_and_epoch(name, case):
  spy = run(name, case).spy
  for masks, weights in [*spy.batches, *spy.epochs]:
    for mask, weight in zip(masks, weights, strict=True):
      assert not weight[~mask].any()
      assert not np.signbit(weight[~mask]).any()  # +0.0, as files have it.


@every_cell
def test_other_weights_train_on(name, case):
  finished = run(name, case)
  masks, last = finished.spy.batches[-1]
  _, before = finished.spy.batches[-3]
  for mask, old, new in zip(masks, before, last, strict=True):
    assert (old[mask] != new[mask]).any()


@every_cell
def test_the_epoch_logs_tell_sparsity_stage_round_and_lambda(name, case):
  finished = run(name, case)
  history, masks = finished.history, keras_3_toys.masks(finished.model)
  zeros = sum(int((~mask).sum()) for mask in masks)
  assert history['sparsity'][-1] == zeros / sum(mask.size for mask in masks)
  assert history['stage'][-1] == 3
  assert history['round'][-1] == ROUNDS == finished.callback.rounds
  assert history['l2_lambda'][-1] == 0
  assert any(history['l2_lambda']) == ALGORITHMS[name].ramped
  assert tf_unilth.sparsity_summary(finished.model).zeros == zeros
  assert finished.callback.reached_target


@pytest.mark.parametrize(
  'name', [name for name in ('dlth', 'unidlth') if (name, 'a') in _CELLS]
)
def test_a_random_ticket_is_the_one_that_the_seed_drew(name):
  masks = keras_3_toys.masks(run(name, 'a').model)
  shapes = [mask.shape for mask in masks]
  drawn = mask_selection.select(
    mask_selection.random_scores(shapes, SEED),
    [np.ones(shape, bool) for shape in shapes],
    CASES['a'].target,
    'erk' if name == 'unidlth' else 'layer',
  )
  for mask, expected in zip(masks, drawn, strict=True):
    np.testing.assert_array_equal(mask, expected)


def _dropout_model() -> keras.Model:
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


@pytest.mark.parametrize('name', ['lth', 'unidlth'])
def test_a_target_of_zero_is_bit_identical_to_plain_keras(name):
  plain = keras_3_toys.compiled_for_labels(_dropout_model(), _optimizer('adam'))
  plain_history = keras_3_toys.fit(plain, shuffle=True)
  model = keras_3_toys.planned(
    _dropout_model(), tf_unilth.IterativeSparsity(0.0), _optimizer('adam')
  )
  history = keras_3_toys.fit(model, ALGORITHMS[name].callback(), shuffle=True)
  assert plain_history.history['loss'] == history.history['loss']
  assert plain_history.history['val_loss'] == history.history['val_loss']
  variables = [*plain.weights, *plain.optimizer.variables]
  for before, after in zip(
    map(backend_values.read, variables),
    keras_3_toys.training_state(model),
    strict=True,
  ):
    np.testing.assert_array_equal(before, after)


class _SetValLoss(keras.callbacks.Callback):
  """Sets `val_loss` to given values; lists before the ticket callback."""

  def __init__(self, *values: float):
    super().__init__()
    self._values = values

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    logs['val_loss'] = self._values[min(epoch, len(self._values) - 1)]


def test_a_plateau_rewinds_everything_bit_for_bit():
  keras.utils.set_random_seed(1)
  model = keras_3_toys.planned(
    keras_3_toys.conv(),
    tf_unilth.IterativeSparsity(0.9, rounds=ROUNDS),
    _optimizer('adam'),
  )
  spy = keras_3_toys.Spy()
  # The lowest at epoch 2, a plateau of two epochs at epoch 4.
  val_loss = _SetValLoss(3.0, 2.0, 2.5, 2.2)
  keras_3_toys.fit(model, val_loss, ALGORITHMS['unilth'].callback(), spy)
  kept, rewound = spy.states[1], spy.states[3]
  assert len(kept) == len(rewound) > 20  # Weights, statistics, slots, steps.
  for before, after in zip(kept, rewound, strict=True):
    np.testing.assert_array_equal(before, after)
  assert any(
    not np.array_equal(a, b) for a, b in zip(kept, spy.states[2], strict=True)
  )


class _RoundEnds(keras.callbacks.Callback):
  """Records the training state at step k and after each round's end."""

  def __init__(self, rewind_step: int):
    super().__init__()
    self._rewind_step = rewind_step
    self._steps = 0
    self.kept: list[np.ndarray] = []
    self.ends: list[list[np.ndarray]] = []
    self.masks: list[list[np.ndarray]] = []

  def on_train_batch_end(self, batch, logs=None):
    self._steps += 1
    if self._steps == self._rewind_step:
      self.kept = keras_3_toys.training_state(self.model)
    masks = keras_3_toys.masks(self.model)
    cut = sum(int((~mask).sum()) for mask in masks)
    known = sum(int((~m).sum()) for m in self.masks[-1]) if self.masks else 0
    if cut > known:
      self.ends.append(keras_3_toys.training_state(self.model))
      self.masks.append(masks)


def test_lth_rewinds_survivors_bit_for_bit_in_every_round():
  keras.utils.set_random_seed(1)
  model = keras_3_toys.planned(
    keras_3_toys.conv(),
    tf_unilth.IterativeSparsity(0.9, rounds=ROUNDS),
    _optimizer('adam'),
  )
  watch = _RoundEnds(5)
  keras_3_toys.fit(model, tf_unilth.LTH(rewind_step=5, verbose=0), watch)
  assert len(watch.ends) == ROUNDS
  for end, masks in zip(watch.ends, watch.masks, strict=True):
    by_shape = {mask.shape: mask for mask in masks}
    masked = 0
    for before, after in zip(watch.kept, end, strict=True):
      if after.shape in by_shape:  # A kernel, or one of its slots.
        before = np.where(by_shape[after.shape], before, 0)
        masked += 1
      np.testing.assert_array_equal(before, after)
    assert masked == 3 * len(masks)  # Adam has two slots.


class _Weights(keras.callbacks.Callback):
  """Records round, limit of the ramp, candidates and kernels."""

  def __init__(self):
    super().__init__()
    self.seen: list[tuple[int, float, Any, Any]] = []

  def on_train_batch_end(self, batch, logs=None):
    plan = self.model._pruning_plan
    kernels = plan.read_weights()
    chosen = [backend_values.read(c) for c in plan.variables.candidates]
    self.seen.append((plan.state.round, plan.state.ramp_limit, chosen, kernels))


@pytest.mark.parametrize(
  ('name', 'optimizer'), [('dlth', 'sgd'), ('unilth', 'adam')]
)
def test_only_candidates_shrink_and_val_loss_has_no_penalty(name, optimizer):
  keras.utils.set_random_seed(1)
  model = tf_unilth.prune_low_magnitude(
    keras_3_toys.dense(), tf_unilth.IterativeSparsity(0.5, rounds=2)
  )
  # The loss has no gradient: only a penalty moves weights.
  model.compile(
    _optimizer(optimizer),
    lambda _, outputs: 0.0 * outputs,
    jit_compile=keras_3_toys.JIT,
  )
  watch, ramp = _Weights(), tf_unilth.L2Ramp(limit=0.2)
  history = keras_3_toys.fit(
    model, ALGORITHMS[name].callback(ramp=ramp), watch, epochs=20
  ).history
  assert any(history['l2_lambda']) and not any(history['val_loss'])
  ramped = [row for row in watch.seen if row[1] > 0 and row[0] == 0]
  shrunk = False
  for before, after in itertools.pairwise(ramped):
    for chosen, old, new in zip(after[2], before[3], after[3], strict=True):
      np.testing.assert_array_equal(old[~chosen], new[~chosen])
      shrunk |= bool(np.any(np.abs(new[chosen]) < np.abs(old[chosen])))
  assert shrunk
  still = [row[3] for row in watch.seen if row[1] == 0 and row[0] == 2]
  for before, after in zip(still[0], still[-1], strict=True):
    np.testing.assert_array_equal(before, after)  # Stage 3: none.
