"""Every algorithm x every invariant of the design, in one table.

To add an algorithm, add a row to `ALGORITHMS`. Each row is trained once per
combination of `CASES`, which cover optimizer, how the step runs, whose wrapper
it is and steps per execution pairwise, and each model and target at least once.
UniLTH and UniDLTH have all cases. The others, whose rounds and steps are the
same code, have some: LTH's three variants have all together. What a spy saw
of these runs is then held against each invariant.
"""

import dataclasses
import functools
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toy_algorithm, toys
from tf_unilth.selection import mask_selection, round_sparsity

SEED = 5
ours = tf_unilth.prune_low_magnitude
tfmots = tfmot.sparsity.keras.prune_low_magnitude


@dataclasses.dataclass(frozen=True)
class Algorithm:
  """One row: how to make the callback, and what it promises."""

  make: Callable[..., Any]
  random: bool = False
  staged: bool = False  # Needs a StagedLearningRate.
  ramped: bool = False
  cases: str = 'abcdefgh'  # Of `CASES`, each by its letter.

  def callback(self, **arguments: Any) -> Any:
    return self.make(verbose=0, **arguments)


ALGORITHMS = {
  'lth': Algorithm(tf_unilth.LTH, cases='abcg'),
  'lth_late': Algorithm(
    functools.partial(tf_unilth.LTH, rewind_step=5), cases='abch'
  ),
  'lr_rewind': Algorithm(
    functools.partial(tf_unilth.LTH, 'learning_rate'),
    staged=True,
    cases='defg',
  ),
  'dlth': Algorithm(
    functools.partial(tf_unilth.DLTH, seed=SEED),
    random=True,
    ramped=True,
    cases='abdg',
  ),
  'unilth': Algorithm(
    functools.partial(tf_unilth.UniLTH, finetune_fraction=0.4), ramped=True
  ),
  'unilth_pretrained': Algorithm(
    functools.partial(tf_unilth.UniLTH, finetune_fraction=0.4, pretrained=True),
    ramped=True,
    cases='ab',
  ),
  'unidlth': Algorithm(
    functools.partial(tf_unilth.UniDLTH, seed=SEED, finetune_fraction=0.4),
    random=True,
    ramped=True,
  ),
  # CONTRIBUTING.md says how to add an algorithm; this one follows it.
  'toy': Algorithm(toy_algorithm.OneShot, cases='ab'),
}


@dataclasses.dataclass(frozen=True)
class Case:
  """One combination of what surrounds an algorithm."""

  optimizer: str
  mode: str
  steps_per_execution: int
  model: Callable[[], keras.Model]
  target: float
  per_layer: bool  # A schedule for each layer, or one for all.
  block: tuple[int, int] = (1, 1)
  m_by_n: tuple[int, int] | None = None
  wrap: Callable[..., Any] = tfmots

  @property
  def structure(self) -> dict[str, Any]:
    """How the weights go together, as arguments of tfmot's wrapper."""
    return {'block_size': self.block, 'sparsity_m_by_n': self.m_by_n}

  def units(self, mask: np.ndarray) -> list[np.ndarray]:
    """Returns a mask in the parts that are cut as a whole."""
    if self.m_by_n:
      rows = np.moveaxis(mask, -2, -1).reshape(-1, mask.shape[-2])
      return list(rows.reshape(-1, self.m_by_n[1]))
    if self.block == (1, 1):
      return list(mask.ravel())
    height, width = self.block
    return [
      mask[top : top + height, left : left + width]
      for top in range(0, mask.shape[0], height)
      for left in range(0, mask.shape[1], width)
    ]

  def cut(self, found: list[np.ndarray]) -> int:
    """Returns how many units are cut, and checks that none is cut in part."""
    units = [unit for mask in found for unit in self.units(mask)]
    left = {int(np.sum(unit)) for unit in units if not np.all(unit)}
    assert left <= {self.m_by_n[1] - self.m_by_n[0] if self.m_by_n else 0}
    return sum(not np.all(unit) for unit in units)

  def expected(self, found: list[np.ndarray], sparsity: float) -> int:
    """Returns how many units shall be cut at a sparsity of the weights."""
    total = sum(len(self.units(mask)) for mask in found)
    share = sparsity / self.target if self.m_by_n else sparsity
    return round(share * total)


CASES = {
  'a': Case('sgd', 'graph', 1, toys.conv, 0.9, False),
  'b': Case('adam', 'jit', 4, toys.dense, 0.5, True, wrap=ours),
  'c': Case('sgd', 'eager', 4, toys.nested, 0.98, False, wrap=ours),
  'd': Case('adam', 'graph', 4, toys.conv, 0.9, False, wrap=ours),
  'e': Case('sgd', 'jit', 1, toys.nested, 0.995, False),
  'f': Case('adam', 'eager', 1, toys.conv, 0.5, True),
  # 36 x 16 and 16 x 2: smaller blocks at the bottom and at the right.
  'g': Case('sgd', 'graph', 1, toys.dense, 0.8, False, block=(5, 3), wrap=ours),
  'h': Case('adam', 'graph', 4, toys.conv, 0.5, True, m_by_n=(2, 4)),
}
ROUNDS = 3
# The cases that the suite runs; the long step of CI runs all others. Each case
# is there with a ticket that is found, and most with one that is drawn.
_IN_SUITE = {
  'unilth': 'abcdefgh',
  'unidlth': 'bdh',
  'dlth': 'adg',
  'lth': 'acg',
  'lth_late': 'h',
  'lr_rewind': 'd',
  'unilth_pretrained': 'a',
}


@dataclasses.dataclass(frozen=True)
class Run:
  """A finished run, as the spy saw it."""

  algorithm: Algorithm
  case: Case
  model: keras.Model
  schedules: list[Any]
  spy: toys.Spy
  history: dict[str, list[float]]
  callback: Any


def _optimizer(name: str, staged: bool = False) -> Any:
  rate = 0.05 if name == 'sgd' else 0.01
  if staged:
    rate = tf_unilth.StagedLearningRate(rate)
  if name == 'sgd':
    return keras.optimizers.SGD(rate, momentum=0.9)
  return keras.optimizers.Adam(rate)


def _wrap(case: Case) -> tuple[keras.Model, list[Any]]:
  schedules = []

  def schedule() -> Any:
    schedules.append(tf_unilth.IterativeSparsity(case.target, rounds=ROUNDS))
    return schedules[-1]

  def wrap_layer(layer: Any) -> Any:
    if not isinstance(layer, (keras.layers.Dense, keras.layers.Conv2D)):
      return layer
    if case.m_by_n and layer.kernel.shape[-2] % case.m_by_n[1]:
      return layer  # The first convolution sees one channel.
    return case.wrap(layer, schedule(), **case.structure)

  if case.per_layer:
    model = keras.models.clone_model(case.model(), clone_function=wrap_layer)
  else:
    model = case.wrap(case.model(), schedule(), **case.structure)
  return model, schedules


@functools.cache
def run(algorithm_name: str, case_name: str) -> Run:
  """Trains one cell of the table, once."""
  algorithm, case = ALGORITHMS[algorithm_name], CASES[case_name]
  keras.utils.set_random_seed(1)
  model, schedules = _wrap(case)
  toys.compiled_for_labels(
    model,
    _optimizer(case.optimizer, algorithm.staged),
    run_eagerly=case.mode == 'eager',
    jit_compile=case.mode == 'jit',
    steps_per_execution=case.steps_per_execution,
  )
  callback, spy = algorithm.callback(), toys.Spy()
  history = toys.fit(model, callback, spy)
  return Run(algorithm, case, model, schedules, spy, history.history, callback)


def _cells(names: Any) -> Any:
  """Returns the table's cells; some run in the long step of CI."""
  cells = [
    pytest.param(
      name,
      case,
      marks=[] if case in _IN_SUITE.get(name, '') else [pytest.mark.long],
    )
    for name in names
    for case in ALGORITHMS[name].cases
  ]
  return pytest.mark.parametrize('name, case', cells)


every_cell = _cells(ALGORITHMS)
every_algorithm = pytest.mark.parametrize(
  'name',
  [
    pytest.param(
      name, marks=[] if name in ('unilth', 'dlth') else [pytest.mark.long]
    )
    for name in ALGORITHMS
  ],
)


@functools.cache
def exported(algorithm_name: str, case_name: str) -> tuple[str, float]:
  """Strips and exports a finished run, once; returns where and how exact."""
  ticket = tfmot.sparsity.keras.strip_pruning(
    run(algorithm_name, case_name).model
  )
  path = os.path.join(tempfile.mkdtemp(), 'export')
  x, _ = toys.data()
  export = tf_unilth.export_saved_model(ticket, path, inputs=x)
  return path, export.output_difference


@every_cell
def test_masks_of_successive_steps_are_nested(name, case):
  seen = [found for found, _ in run(name, case).spy.batches]
  for before, after in itertools.pairwise(seen):
    for old, new in zip(before, after):
      assert not np.any(new & ~old)


@every_cell
def test_each_round_ends_at_its_sparsity_to_the_unit(name, case):
  finished = run(name, case)
  rounds = finished.spy.rounds
  assert max(rounds) == ROUNDS
  # The first layer's schedule and its mask, or one schedule and all masks.
  first = slice(1) if finished.case.per_layer else slice(None)
  pace = 'cubic' if name.startswith('uni') else 'geometric'
  for number, found in rounds.items():
    sparsity = round_sparsity.sparsity_at_round(
      finished.case.target, number, ROUNDS, pace
    )
    expected = finished.case.expected(found[first], sparsity)
    assert finished.case.cut(found[first]) == expected


@every_cell
def test_the_target_is_met_by_masks_by_zeros_and_in_the_export(name, case):
  finished = run(name, case)
  found = toys.masks(finished.model)
  groups = [[mask] for mask in found] if finished.case.per_layer else [found]
  for group in groups:
    expected = finished.case.expected(group, finished.case.target)
    assert finished.case.cut(group) == expected
  assert finished.callback.reached_target
  target = toys.zeros(found)
  assert toys.zeros(toys.kernels(finished.model)) == target
  ticket = tfmot.sparsity.keras.strip_pruning(finished.model)
  assert tf_unilth.sparsity_summary(ticket).zeros == target
  path, _ = exported(name, case)
  loaded = tf.saved_model.load(path)
  kernels = [v.numpy() for v in loaded.variables if v.shape.rank > 1]
  assert toys.zeros(kernels) == target


@every_cell
def test_a_pruned_weight_is_zero_after_every_step_and_epoch(name, case):
  spy = run(name, case).spy
  for found, weights in [*spy.batches, *spy.epochs]:
    for mask, weight in zip(found, weights):
      assert not weight[~mask].any()


@every_cell
def test_the_export_computes_what_the_model_computes(name, case):
  finished = run(name, case)
  ticket = tfmot.sparsity.keras.strip_pruning(finished.model)
  x, _ = toys.data()
  _, difference = exported(name, case)
  assert difference == 0
  # XLA, which the wrapped model ran under, may round the last bit otherwise.
  tolerance = 1e-5 if finished.case.mode == 'jit' else 0
  np.testing.assert_allclose(
    ticket.predict(x, verbose=0),
    finished.model.predict(x, verbose=0),
    atol=tolerance,
    rtol=0,
  )


@every_cell
def test_the_epoch_logs_tell_sparsity_stage_round_and_lambda(name, case):
  finished = run(name, case)
  history = finished.history
  found = toys.masks(finished.model)
  assert history['sparsity'][-1] == toys.zeros(found) / toys.size(found)
  assert history['stage'][-1] == 3
  assert history['round'][-1] == ROUNDS == finished.callback.rounds
  assert history['l2_lambda'][-1] == 0
  assert any(history['l2_lambda']) == finished.algorithm.ramped
  assert history['stage'] == sorted(history['stage'])


@_cells(name for name, row in ALGORITHMS.items() if row.random)
def test_a_random_ticket_is_the_one_that_the_seed_drew(name, case):
  finished = run(name, case)
  found, case = toys.masks(finished.model), finished.case
  # One number per weight, or per block, which then stands for the block.
  height, width = case.block
  shapes = [mask.shape for mask in found]
  if case.block != (1, 1):
    shapes = [(-(-h // height), -(-w // width)) for h, w in shapes]
  scores = mask_selection.random_scores(shapes, SEED)
  if case.m_by_n:
    m, _ = case.m_by_n
    for mask, score in zip(found, scores):
      ranks = [np.argsort(np.argsort(unit)) for unit in case.units(score)]
      np.testing.assert_array_equal(case.units(mask), np.array(ranks) >= m)
    return
  ones = [np.ones(shape, bool) for shape in shapes]
  # A layer that is ranked apart has the target for itself.
  erk = name == 'unidlth' and not case.per_layer
  scope = 'erk' if erk else 'layer'
  drawn = mask_selection.select(scores, ones, case.target, scope)
  for mask, units in zip(found, drawn):
    expected = np.kron(units, np.ones(case.block, bool))
    if case.block == (1, 1):
      expected = units  # Of any rank.
    expected = expected[tuple(slice(size) for size in mask.shape)]
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.long
def test_another_process_draws_the_same_ticket():
  code = (
    'from tf_unilth.selection import mask_selection; import hashlib;'
    'scores = mask_selection.random_scores([(36, 16), (16, 2)], 5);'
    'print(hashlib.sha256(b"".join(map(bytes, scores))).hexdigest())'
  )
  outputs = {
    subprocess.run(
      [sys.executable, '-c', code],
      capture_output=True,
      check=True,
      env={'PYTHONHASHSEED': seed, 'PATH': ''},
    ).stdout
    for seed in ('1', '2')
  }
  assert len(outputs) == 1


def _rewinding_run(algorithm: Algorithm, **arguments: Any) -> tuple[Any, Any]:
  keras.utils.set_random_seed(1)
  model = toys.wrapped(
    toys.conv(),
    tf_unilth.IterativeSparsity(0.9, rounds=ROUNDS),
    _optimizer('adam', algorithm.staged),
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
    ('unidlth', 1, 3),
    # Of all, pruning_run_test.py sees the same on the fake engine.
    pytest.param('unilth', 1, 3, marks=pytest.mark.long),
    pytest.param('unilth', 3, 1, marks=pytest.mark.long),
    pytest.param('unidlth', None, 2, marks=pytest.mark.long),
    pytest.param('unidlth', 3, 1, marks=pytest.mark.long),
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


@pytest.mark.parametrize('name', ['unilth', 'unidlth'])
def test_a_rewind_never_goes_before_the_start(name):
  start, spy = _rewinding_run(ALGORITHMS[name], rewind_epochs=7)
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


@pytest.mark.parametrize('rewind_step', [0, 5])
def test_lth_rewinds_survivors_bit_for_bit_in_every_round(rewind_step):
  keras.utils.set_random_seed(1)
  model = toys.wrapped(
    toys.conv(),
    tf_unilth.IterativeSparsity(0.9, rounds=ROUNDS),
    _optimizer('adam'),
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


@pytest.mark.parametrize(
  'name', [name for name, row in ALGORITHMS.items() if row.ramped]
)
@pytest.mark.parametrize('optimizer', ['sgd', 'adam'])
def test_only_candidates_shrink_and_val_loss_has_no_penalty(name, optimizer):
  watch, history = _nothing_to_learn(
    _optimizer(optimizer), tf_unilth.L2Ramp(limit=0.2), ALGORITHMS[name]
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


@every_algorithm
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

  plain = toys.compiled_for_labels(build(), _optimizer('adam'))
  plain_history = toys.fit(plain, shuffle=True)
  wrapped = toys.wrapped(
    build(), tf_unilth.IterativeSparsity(0.0), _optimizer('adam')
  )
  history = toys.fit(wrapped, ALGORITHMS[name].callback(), shuffle=True)
  assert plain_history.history['loss'] == history.history['loss']
  assert plain_history.history['val_loss'] == history.history['val_loss']
  for before, after in zip(
    toys.training_state(plain), toys.training_state(wrapped), strict=True
  ):
    np.testing.assert_array_equal(before, after)
