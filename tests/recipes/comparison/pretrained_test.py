"""recipes.pretrained: what it runs, how it goes on, and what it reports."""

import pytest
from absl import flags
from absl.testing import flagsaver

from recipes import pretrained
from recipes.comparison import pretrained_rows, pretrained_trials
from recipes.comparison.pretrained_trials import Trial
from tests.testing import tiny_recipe

pytestmark = pytest.mark.long

# Test accuracies by method, of two seeds; the dense model has 0.95.
_FOUND = {'unilth': (0.96, 0.94), 'polynomial_decay': (0.9, 0.91)}


class _Bench:
  """Stands for data and training: an accuracy for each method and setting."""

  def __init__(self, task, seed, data_dir, directory):
    self.dense = {'validation_accuracy': 0.9, 'test_accuracy': 0.95}
    self._seed = seed
    _Bench.made.append((task, seed))

  def run(self, trial):
    if len(_Bench.done) == _Bench.dies_after:
      raise KeyboardInterrupt
    _Bench.done.append(trial)
    second = trial.words == 'begin=0.2 end=0.7'  # The best that is tried.
    return {
      'sparsity': 0.9,
      'rounds': None,
      'validation_accuracy': 0.9 if second else 0.8,
      'test_accuracy': _FOUND[trial.method][self._seed % 2],
      'seconds': 1.0,
    }


@pytest.fixture
def main(monkeypatch, tmp_path):
  """Returns a function that runs the binary on the stand-in."""
  monkeypatch.setattr(pretrained, 'Bench', _Bench)
  _Bench.made, _Bench.done, _Bench.dies_after = [], [], -1

  def run(*arguments):
    if not flags.FLAGS.is_parsed():
      flags.FLAGS(['test'])
    with flagsaver.flagsaver():
      quick = '--tasks=digits_cnn', '--seed_count=2'
      pruned_by = '--pruned_by=unilth,polynomial_decay'
      given = [f'--output_dir={tmp_path}', *quick, pruned_by, *arguments]
      arguments = ['pretrained', *given]
      return tiny_recipe.error_of(
        lambda: pretrained._main(pretrained._parse(arguments))
      )

  return run


def test_it_goes_on_where_it_stopped(main, tmp_path):
  _Bench.dies_after = 13
  with pytest.raises(KeyboardInterrupt):
    main()
  before = list(_Bench.done)
  _Bench.dies_after = -1
  assert main() is None
  assert len(_Bench.done) == len(set(_Bench.done)) == 10 + 2 * 4
  assert _Bench.done[:13] == before
  assert main() is None  # It is finished.
  assert len(_Bench.done) == 18
  rows = pretrained_rows.read(tmp_path / 'pretrained.csv')
  assert len(rows) == 8 and set(rows[0]) == set(pretrained_rows.COLUMNS)
  assert all('tensorflow=' in row['versions'] for row in rows)


def test_the_settings_that_are_compared_are_the_best_of_the_search(main):
  main()
  compared = _Bench.done[10:]
  assert {t.seed for t in compared} == {0, 1}
  assert not {0, 1} & {t.seed for t in _Bench.done[:10]}
  settings = {(t.method, t.optimizer): t.words for t in compared}
  assert settings['polynomial_decay', 'sgd'] == 'begin=0.2 end=0.7'
  assert settings['unilth', 'sgd'] == settings['unilth', 'adam'] == ''


def test_the_report_has_means_and_differences(main, tmp_path):
  main()
  report = (tmp_path / 'report.md').read_text()
  # 96 and 94, 90 and 91: points 1 and -1, -5 and -4, and 6 and 3.
  cell = '95.00 ± 1.41 (2)'
  assert f'| unilth | {cell} | {cell} |' in report
  assert '| dense | 95.00 ± 0.00 (2) | 95.00 ± 0.00 (2) |' in report
  cell = '+0.00 ± 12.71 (2), not told apart'
  assert f'| unilth | {cell} | {cell} |' in report
  cell = '-4.50 ± 6.35 (2), not told apart'
  assert f'| polynomial_decay | {cell} | {cell} |' in report
  cell = '+4.50 ± 19.06 (2), not told apart'
  assert f'| polynomial_decay | {cell} | {cell} |' in report
  assert '| digits_cnn | sgd | unilth | defaults | 80.00 (1) |' in report


@pytest.mark.parametrize(
  ('argument', 'said'),
  [
    ('--tasks=cifar', "--tasks=['cifar']: must be of digits_cnn, mnist_lenet"),
    (
      '--pruned_by=gmp',
      "--pruned_by=['gmp']: must be of polynomial_decay",
    ),
    ('extra', "'extra' is no flag"),
  ],
)
def test_bad_flags_are_one_line(main, argument, said):
  error = main(argument)
  assert error.startswith('error: ') and said in error and not _Bench.done


def test_a_run_prunes_what_was_trained(monkeypatch, tmp_path):
  recipe = pretrained_trials.TASKS['digits_cnn'].recipe
  monkeypatch.setitem(
    pretrained_trials.TASKS,
    'digits_cnn',
    pretrained_trials.Task(
      pretrained_trials.dataclasses.replace(recipe, epochs=4, batch_size=256),
      0.5,
    ),
  )
  monkeypatch.setattr(pretrained_trials, 'EPOCHS', 3)
  bench = pretrained_trials.Bench('digits_cnn', 0, None, tmp_path)
  assert bench.dense['validation_accuracy'] > 0.2  # Of ten classes.
  kept = (tmp_path / 'digits_cnn-seed0.npz').stat().st_mtime_ns
  again = pretrained_trials.Bench('digits_cnn', 0, None, tmp_path)
  assert again.dense == bench.dense
  assert (tmp_path / 'digits_cnn-seed0.npz').stat().st_mtime_ns == kept
  settings = (('begin', 0.0), ('end', 0.5), ('rate', 0.3))
  for method in ('unilth', 'polynomial_decay'):
    given = settings if method == 'polynomial_decay' else settings[2:]
    found = again.run(Trial('digits_cnn', 'sgd', method, 0, given))
    assert found['sparsity'] == pytest.approx(0.5, abs=1e-3)
