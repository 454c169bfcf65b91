"""Breaks the core in many ways, each of which a fast test must notice.

  python -m tests.stress.mutants [NUMBER ...]

Each mutant is a copy of the library with one change; the tests of its row are
run on the copy, and must fail. Without numbers all mutants are tried. Exits
with 1 if one survives, or if the code no longer has what a row changes.
"""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

_ROOT = pathlib.Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Mutant:
  """One change of the library.

  Args:
    path: the module, below `tf_unilth/`.
    before: a text in it; its first occurrence is replaced.
    after: what it is replaced by.
    tests: the file below `tests/` whose tests must fail, and a name of some of
      them for `pytest -k`.
  """

  path: str
  before: str
  after: str
  tests: tuple[str, str]


def _rounds(name: str) -> tuple[str, str]:
  return 'algorithms/rounds_test.py', name


def _run(name: str) -> tuple[str, str]:
  return 'algorithms/pruning_run_test.py', name


def _goes_on(name: str) -> tuple[str, str]:
  return 'algorithms/continuation_test.py', name


def _engine(name: str) -> tuple[str, str]:
  return 'engines/engine_contract_test.py', name


def _patches(name: str) -> tuple[str, str]:
  return 'engines/tfmot/patches_test.py', name


MUTANTS = (
  Mutant(
    'selection/smallest_k.py',
    'self._has_pruned = not mask.all()',
    'self._has_pruned = False',
    ('selection/mask_selection_test.py', 'nested'),
  ),
  Mutant(
    'selection/smallest_k.py',
    '      ranks -= ~kept\n',
    '',
    ('selection/mask_selection_test.py', 'of_zero'),
  ),
  Mutant(
    'selection/smallest_k.py',
    '[-surplus:]',
    '[:surplus]',
    ('selection/mask_selection_test.py', 'ties'),
  ),
  Mutant(
    'selection/smallest_k.py',
    'self.size - 1 - int(np.argmax(best[::-1]))',
    'int(np.argmin(best))',
    ('selection/mask_selection_test.py', ''),
  ),
  Mutant(
    'selection/channel_selection.py',
    '  ranks[~kept] = -np.inf\n',
    '',
    ('selection/channel_selection_test.py', 'stays_gone'),
  ),
  Mutant(
    'selection/channel_selection.py',
    'low, high = (low, middle) if reaches(middle)',
    'low, high = (low, middle) if reaches(middle - 1)',
    ('selection/channel_selection_test.py', 'fewest'),
  ),
  Mutant(
    'selection/channel_selection.py',
    '  ranks[last] = np.inf\n',
    '',
    ('selection/channel_selection_test.py', 'one_unit'),
  ),
  Mutant(
    'selection/channels.py',
    'mask &= _along(axis.kept(units), axis.axis, len(self.shape))',
    'mask &= _along(axis.kept(units) | (not axis.makes), axis.axis, mask.ndim)',
    ('algorithms/channel_pruner_test.py', 'fewest_whole'),
  ),
  Mutant(
    'algorithms/mask_updates.py',
    'structure.unit_sparsity(sparsity, schedule.target_sparsity)',
    'structure.unit_sparsity(sparsity, schedule.target_sparsity) * 0.99',
    _rounds('nested'),
  ),
  Mutant(
    'algorithms/rounds.py',
    'before & ~after',
    'before & after',
    _rounds('shrink_exponent'),
  ),
  Mutant(
    'algorithms/rounds.py',
    'state.round, state.ramp_limit = number, 0.0',
    'state.round = number',
    _rounds('only_candidates'),
  ),
  Mutant(
    'algorithms/rounds.py',
    '      state.clear_snapshots()\n',
    '',
    _rounds('frees_the_snapshots'),
  ),
  Mutant(
    'algorithms/rounds.py',
    '    run.engine.check_kernels()\n',
    '',
    _goes_on('become_nan'),
  ),
  Mutant(
    'algorithms/pruning_run.py',
    'self.algorithm.rewind_weights = weights\n    self.apply_masks()',
    'self.algorithm.rewind_weights = weights',
    _rounds('zero_after_every_step'),
  ),
  Mutant(
    'algorithms/pruning_run.py',
    "      warnings.warn(f'{self.algorithm.name}: {message}.', stacklevel=2)\n",
    '',
    _run('ending_early'),
  ),
  Mutant(
    'algorithms/pruning_run.py',
    'on_epoch(self, epoch, logs)\n        self._schedule_next_event()',
    'on_epoch(self, epoch, logs)',
    _run('one_line_per_event'),
  ),
  Mutant(
    'algorithms/pruning_run.py',
    'self.state.decay_begin = self.engine.iterations() - done',
    'self.state.decay_begin = self.engine.iterations()',
    _rounds('late_rewinding'),
  ),
  Mutant(
    'algorithms/run_start.py',
    '    state.reset(algorithm.snapshot_count)\n',
    '    pass\n',
    _rounds('rewinds_everything'),
  ),
  Mutant(
    'algorithms/lth.py',
    'state.rewind_step if self.rewinds_weights else 0',
    '0',
    _rounds('late_rewinding'),
  ),
  Mutant(
    'algorithms/lth.py',
    'return 1 / (rounds + 1)',
    'return 1 / (rounds + 2)',
    _rounds('survivors_bit_for_bit'),
  ),
  Mutant(
    'algorithms/dlth.py',
    '    run.restart_decay(run.timeline.steps - done)',
    '    pass',
    _rounds('dlth_restarts'),
  ),
  Mutant(
    'algorithms/unilth.py',
    'shrink_exponent = 10.0',
    'shrink_exponent = 3.0',
    _rounds('its_shrink_exponent'),
  ),
  Mutant(
    'run/timeline.py',
    'return since * self._state.steps_per_epoch',
    'return epoch * self._state.steps_per_epoch',
    ('run/budget_test.py', 'begins_late'),
  ),
  Mutant(
    'run/budget.py',
    'return begin + pruning_steps * number // rounds',
    'return begin + pruning_steps * number // rounds + 1',
    ('run/budget_test.py', 'end_in_time'),
  ),
  Mutant(
    'run/plateau.py',
    'state.best_epoch >= self.patience',
    'state.best_epoch > self.patience',
    ('run/plateau_test.py', ''),
  ),
  Mutant(
    'run/continuation.py',
    '    and state.zeros == zeros\n',
    '',
    _goes_on('another_budget'),
  ),
  Mutant(
    'run/continuation.py',
    '    and state.epochs == epochs\n',
    '',
    _goes_on('another_budget'),
  ),
  Mutant(
    'engines/tfmot/engine.py',
    '[*self._layers.model_weights, *optimizer.variables()]',
    '[*self._layers.model_weights]',
    _engine(''),
  ),
  Mutant(
    'engines/tfmot/engine.py',
    '      self._armed.hook.clear_slots(masks)',
    '      pass',
    _engine('stay_zero_in_training'),
  ),
  Mutant(
    'engines/tfmot/engine.py',
    '    self._layers.assign_masks(masks)\n',
    '',
    _engine('written_masks'),
  ),
  Mutant(
    'engines/tfmot/variable_bytes.py',
    '    variable.assign(array)',
    '    variable.assign(array if array.ndim else variable)',
    ('run/snapshots_test.py', 'every_bit'),
  ),
  Mutant(
    'engines/tfmot/ramp_variables.py',
    'tf.cast(iterations, tf.int64) - self.begin, 0)',
    'tf.cast(iterations, tf.int64) - self.begin + 1, 0)',
    _engine('follows_the_ramp'),
  ),
  Mutant(
    'engines/tfmot/armed_fit.py',
    '    hook, self.hook = self.hook, None\n'
    '    if hook is not None:\n'
    '      hook.detach()',
    '    self.hook = None',
    _engine('disarmed_model'),
  ),
  Mutant(
    'engines/tfmot/armed_fit.py',
    '    self._patches.restore()\n',
    '',
    _patches(''),
  ),
  Mutant(
    'engines/tfmot/callback_list.py',
    '  callback_list.callbacks = [*others, callback]',
    '  callback_list.callbacks.append(callback)',
    _patches('is_replaced'),
  ),
  Mutant(
    'engines/patches.py',
    'in reversed(self._entries):\n      if',
    'in self._entries:\n      if',
    _patches('in_reverse_order'),
  ),
)


def survives(mutant: Mutant, folder: pathlib.Path) -> bool:
  """Returns whether the tests of a mutant pass.

  Args:
    mutant: the change.
    folder: a copy of the repository, which is left as it was.

  Raises:
    ValueError: the code does not have what the mutant changes.
  """
  path = folder / 'tf_unilth' / mutant.path
  code = path.read_text()
  if mutant.before not in code:
    raise ValueError(f'{mutant.path} has no {mutant.before!r}')
  file, name = mutant.tests
  options = ['-qx', '-o', 'addopts=', '-p', 'no:cacheprovider']
  path.write_text(code.replace(mutant.before, mutant.after, 1))
  try:
    done = subprocess.run(
      [sys.executable, '-m', 'pytest', *options, f'tests/{file}', '-k', name],
      cwd=folder,
      env={**os.environ, 'PYTHONPATH': str(folder)},
      stdout=subprocess.DEVNULL,
      check=False,
    )
  finally:
    path.write_text(code)
  if done.returncode not in (0, 1):
    raise ValueError(f'tests/{file} has no test of the name {name!r}')
  return done.returncode == 0


def main(argv: list[str]) -> None:
  """Prints a line per mutant; leaves with 1 if one survives."""
  numbers = [int(word) for word in argv[1:]] or range(len(MUTANTS))
  alive = 0
  with tempfile.TemporaryDirectory() as place:
    folder = pathlib.Path(place, 'mutant')
    ignored = shutil.ignore_patterns('.git', '.*_cache', 'results')
    shutil.copytree(_ROOT, folder, ignore=ignored)
    for number in numbers:
      mutant = MUTANTS[number]
      survived = survives(mutant, folder)
      alive += survived
      word = 'SURVIVES' if survived else 'killed'
      change = f'{mutant.before.strip()!r} -> {mutant.after.strip()!r}'
      print(f'{number} {word} {mutant.path}: {change}', flush=True)
  print(f'{len(numbers) - alive} of {len(numbers)} killed')
  sys.exit(alive > 0)


if __name__ == '__main__':
  main(sys.argv)
