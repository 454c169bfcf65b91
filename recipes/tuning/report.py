"""Reports of a search: a table, CSV, a plot, TensorBoard's HParams."""

import pathlib
import shutil
import textwrap
from typing import Any

import numpy as np

from recipes.common import figures, files, provenance, tables
from recipes.common.wording import count
from recipes.training import exports
from recipes.tuning import plots, recipe_model
from tf_unilth import tuner

CSV, RESULTS = 'trials.csv', 'results.json'
REPORT, PLOT = 'report.md', 'front.png'
_SHOWN = 10
_WIDTH = 60


def write(
  search: tuner.TicketTuner,
  model: recipe_model.RecipeModel,
  directory: pathlib.Path,
) -> str:
  """Writes the report of a search; returns its summary.

  Args:
    search: that has ended.
    model: of the search, for its test set.
    directory: where.
  """
  table = tuner.trial_rows(search)
  columns = list(dict.fromkeys(name for row in table for name in row))
  files.write_text(directory / CSV, files.csv_text(columns, table))
  tested = _tested(search, model, table, directory)
  record = provenance.record(model.config.keras)
  files.write_json(directory / RESULTS, {**record, **tested})
  text = _summary(search, table, tested)
  lines = [
    f'# {model.recipe.name}: {count(len(table), "trial")}',
    '',
    '```',
    text,
    '```',
  ]
  if figures.available() and any('accuracy' in row for row in table):
    plots.draw_search(directory / PLOT, model.recipe.name, table)
    lines += ['', f'![The trials]({PLOT})']
  files.write_text(directory / REPORT, '\n'.join(lines) + '\n')
  if model.config.tensorboard:
    write_hparams(directory / 'tensorboard', table)
  return text


def _summary(
  search: tuner.TicketTuner,
  table: list[dict[str, Any]],
  tested: dict[str, dict[str, Any]],
) -> str:
  failures = [row for row in table if 'accuracy' not in row]
  lines = _best(search, table)
  lines += [
    f'trial {row["trial"]} {row["status"]}: {row["message"]}'
    for row in failures
  ]
  objective = ', '.join(
    f'{name} {_short(value)}'
    for name, value in search.oracle.objective.settings.items()
  )
  lines += [
    '',
    f'{count(len(table), "trial")}, {len(failures)} failed; {objective}',
  ]
  lines += [
    f'{name}: trial {row["trial"]}, test accuracy {row["test_accuracy"]:.2%}'
    for name, row in tested.items()
  ]
  if tested and 'defaults' not in tested:
    lines.append(f'the defaults (trial {table[0]["trial"]}) failed')
  return '\n'.join(lines)


def _best(search: tuner.TicketTuner, table: list[dict[str, Any]]) -> list[str]:
  """Returns a table of the best trials, as lines."""
  by_id = {row['trial']: row for row in table}
  defaults = search.oracle.default_values()
  rows = [
    _cells(by_id[trial.trial_id], defaults)
    for trial in search.oracle.get_best_trials(_SHOWN)
  ]
  headers = (
    'trial',
    'validation',
    'sparsity',
    'seconds',
    'changed hyperparameters',
  )
  return tables.plain(rows, headers).split('\n')


def _tested(
  search: tuner.TicketTuner,
  model: recipe_model.RecipeModel,
  table: list[dict[str, Any]],
  directory: pathlib.Path,
) -> dict[str, dict[str, Any]]:
  """Exports the best ticket; returns what it and the defaults come to.

  The test set is read for these two alone. A search whose trials all failed
  has neither.
  """
  found: dict[str, dict[str, Any]] = {}
  if not any('accuracy' in row for row in table):
    return found
  (best,) = search.get_best_tickets()
  inputs, _ = next(iter(model.data.test.batches(model.config.batch_size)))
  ticket = best.ticket if 'ticket' in model.config.export else None
  exports.write(
    model.config.export, directory, best.model, ticket, np.asarray(inputs)
  )
  found['best'] = {
    'trial': best.trial_id,
    'validation_accuracy': best.accuracy,
    'test_accuracy': model.test_accuracy(best.model),
  }
  first = table[0]
  if 'accuracy' in first:
    defaults = search.load_model(search.oracle.trials[first['trial']])
    found['defaults'] = {
      'trial': first['trial'],
      'validation_accuracy': first['accuracy'],
      'test_accuracy': model.test_accuracy(defaults),
    }
  return found


def _cells(row: dict[str, Any], defaults: dict[str, Any]) -> tuple[str, ...]:
  others = [
    f'{name} {_short(row[name])}'
    for name in row
    if name in defaults and row[name] != defaults[name]
  ]
  if 'epochs' in row:
    others.insert(0, count(row['epochs'], 'epoch'))
  return (
    row['trial'],
    f'{row["accuracy"]:.2%}',
    f'{row["sparsity"]:.3%}',
    f'{row["seconds"]:.1f}',
    textwrap.fill(', '.join(others) or 'none: the defaults', _WIDTH),
  )


def _short(value: Any) -> str:
  return f'{value:.4g}' if isinstance(value, float) else str(value)


def write_hparams(directory: pathlib.Path, table: list[dict[str, Any]]) -> None:
  """Writes all trials for TensorBoard's HParams, replacing earlier files."""
  # Here, because Keras 3 may need no TensorFlow.
  import tensorflow as tf
  from tensorboard.plugins.hparams import api

  shutil.rmtree(directory, ignore_errors=True)
  known = ('trial', 'status', 'score', 'on_front', 'message')
  results = ('accuracy', 'sparsity', 'seconds')
  for row in table:
    values = {n: v for n, v in row.items() if n not in (*known, *results)}
    writer = tf.summary.create_file_writer(str(directory / row['trial']))
    with writer.as_default():
      api.hparams(values, trial_id=row['trial'])
      for name in results:
        if name in row:
          tf.summary.scalar(name, row[name], step=0)
    writer.close()
