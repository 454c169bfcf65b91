"""Every algorithm x every invariant of the design, in one table.

`tests/testing/algorithm_table.py` has its rows and cases. Each row is trained
once per case; what a spy saw of these runs is then held against each invariant.
"""

import dataclasses
import functools
import itertools
import os
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tests.testing.algorithm_table import (
  ALGORITHMS,
  CASES,
  ROUNDS,
  SEED,
  Algorithm,
  Case,
  make_optimizer,
)
from tf_unilth.selection import mask_selection, round_sparsity

# The cells that the suite runs; the long step of CI runs all others.
_IN_SUITE = {
  'unilth': 'abdfgh',
  'unidlth': 'bh',
  'dlth': 'ag',
  'lth': 'g',
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
    make_optimizer(case.optimizer, algorithm.staged),
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
