"""Differences of a comparison: their 95% intervals, and what they say."""

import pytest

from recipes.comparison import intervals, report, tables, trials

# Of published tables of Student's t, two-sided, 95%.
_KNOWN = {
  1: 12.706,
  2: 4.303,
  3: 3.182,
  4: 2.776,
  5: 2.571,
  9: 2.262,
  10: 2.228,
  29: 2.045,
  30: 2.042,
  60: 2.000,
  120: 1.980,
}


@pytest.mark.parametrize('degrees', _KNOWN)
def test_half_of_an_interval_is_students_t(degrees):
  found = intervals.half_width(degrees)
  assert found == pytest.approx(_KNOWN[degrees], abs=5.1e-4)


def test_an_interval_is_of_the_mean_of_the_seeds():
  found = tables.mean([1.0, 2.0, 4.0, 5.0, 8.0])
  # 4 with a deviation of sqrt(7.5), over five seeds.
  assert found.value == 4 and found.error == pytest.approx(1.5**0.5)
  assert found.margin == pytest.approx(2.776445 * 1.5**0.5)
  assert tables.mean([3.0]).margin == float('inf')


@pytest.mark.parametrize(
  ('values', 'said'),
  [
    # Both have the same mean and are more than two standard errors above 0.
    ((0.9, 1.0, 1.1), '+1.00 ± 0.25 (3), above'),
    ((0.2, 1.0, 1.8), '+1.00 ± 1.99 (3), not told apart'),
    ((-0.9, -1.0, -1.1), '-1.00 ± 0.25 (3), below'),
    ((0.5, 0.5), '+0.50 ± 0.00 (2), above'),
    ((0.0, 0.0), '+0.00 ± 0.00 (2), not told apart'),
    ((7.0,), '+7.00 (1)'),
  ],
)
def test_above_is_said_where_the_interval_excludes_0(values, said):
  assert tables.difference(values) == said


def _row(method, seed, accuracy):
  given = {
    'recipe': 'a',
    'method': method,
    'target_sparsity': 0.9,
    'seed': seed,
    'chosen': 1,
    'test_accuracy': accuracy,
  }
  return {**dict.fromkeys(trials.COLUMNS, 0), 'knobs': '', **given}


def test_the_differences_of_a_report_are_written_again(tmp_path):
  rows = [_row('unilth', seed, 0.97 + seed / 1000) for seed in range(3)]
  rows += [_row('gmp', seed, 0.96 + seed / 1000) for seed in range(3)]
  (tmp_path / 'comparison.csv').write_text(trials.csv_text(rows))
  path = tmp_path / 'report.md'
  old = '## unilth against the others\n\nOld.\n\n| unilth above | 90% |\n\n'
  path.write_text(f'# a\n\nBefore.\n\n{old}## Cost\n\nAfter.\n')
  for _ in range(2):
    report.write_differences(tmp_path)
    first, table, last = path.read_text().partition(
      '| unilth against | 90% |\n|---|---|\n| gmp | +1.00 ± 0.00 (3), above |\n'
    )
    assert first.startswith('# a\n\nBefore.\n\n## unilth against the others')
    assert f'\n\n{tables.DIFFERENCES}\n\n' in first and 'Old' not in first
    assert table and last == '\n## Cost\n\nAfter.\n'
  path.write_text('# a\n')
  with pytest.raises(ValueError, match='must have a section "## Cost"'):
    report.write_differences(tmp_path)
