"""The results of a run: the table that it ends with, and report.md."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from recipes.common import files, tables
from recipes.training import plots


def table(results: Mapping[str, Any]) -> str:
  """Returns the results as a table for a terminal."""
  return tables.plain(_rows(results).items())


def write(
  directory: pathlib.Path,
  command: str,
  config: Mapping[str, Any],
  results: Mapping[str, Any],
  drawn: Sequence[str],
) -> None:
  """Writes `report.md`.

  Args:
    directory: of the run.
    command: that makes the same run again.
    config: of the run.
    results: of the run.
    drawn: which of `plots.FILES` there are.
  """
  lines = [
    f'# {results["model"]}, {results["method"]}, seed {results["seed"]}',
    '',
    '```shell',
    command,
    '```',
    '',
    'The paths, `--data_dir` and `--output_dir`, are left out.',
    '',
    *_markdown_table(_rows(results)),
  ]
  for name in drawn:
    lines += [
      '',
      f'## {plots.FILES[name]}',
      '',
      f'![{plots.FILES[name]}]({name})',
    ]
  lines += ['', '## Configuration', '', *_markdown_table(config)]
  lines += ['', '## Versions', '', *_markdown_table(results['versions'])]
  text = '\n'.join(lines) + '\n'
  files.write_text(directory / 'report.md', text)


def _markdown_table(rows: Mapping[str, Any]) -> list[str]:
  _, *lines = tables.markdown(['', ''], rows.items())
  return ['| | |', *lines]


def _rows(results: Mapping[str, Any]) -> dict[str, str]:
  weights = (
    f'{results["nonzero_weights"]:,} of {results["total_weights"]:,} '
    'weights are not zero'
  )
  rows = {
    'method': f'{results["method"]} on {results["dataset"]}',
    'model': results['model'],
    'sparsity': f'{100 * results["sparsity"]:.3f}% ({weights})',
    'test accuracy': f'{100 * results["test_accuracy"]:.2f}%',
    'validation accuracy': f'{100 * results["validation_accuracy"]:.2f}%',
    'stage 1': _stage_1(results),
    'rounds': str(results['rounds']),
    'images': f'{results["train_examples"]:,} for training',
    'epochs, steps': f'{results["epochs"]}, {results["steps"]:,}',
    'time': f'{results["seconds"]:.1f} s on {results["devices"]}',
  }
  if results.get('shrunk'):  # Results of 0.1.0 have no such key.
    rows |= _shrunk_rows(results['shrunk'])
  elif results.get('flops') is not None:
    rows['FLOPs'] = f'{results["flops"]:,} for a sample, with those of zeros'
  for kind, found in results['exports'].items():
    rows[f'export {kind}'] = f'{found["bytes"]:,} bytes' + (
      f', outputs differ by {found["difference"]:.2g} at most'
      if found['difference'] is not None
      else ''
    )
  return rows


def _shrunk_rows(shrunk: Mapping[str, Any]) -> dict[str, str]:
  rows = {}
  for name, key in (('parameters', 'parameters'), ('FLOPs', 'flops')):
    before, after = shrunk[f'dense_{key}'], shrunk[key]
    share = f'{100 * after / before:.2f}%'
    rows[name] = f'{before:,} -> {after:,} ({share} are left)'
  for batch, times in shrunk['latency'].items():
    before, after = 1e3 * times['dense_seconds'], 1e3 * times['seconds']
    rows[f'a call, batch {batch}'] = (
      f'{before:.3g} ms -> {after:.3g} ms, {times["ratio"]:.2f} times as fast '
      f'({times["least_ratio"]:.2f} to {times["largest_ratio"]:.2f})'
    )
  return rows


def _stage_1(results: Mapping[str, Any]) -> str:
  if results['plateau_epoch'] is None:
    return 'no plateau'
  said = f'plateau at epoch {results["plateau_epoch"]}'
  if results['rewound_to_epoch'] is not None:
    said += f', rewound to the end of epoch {results["rewound_to_epoch"]}'
  return said
