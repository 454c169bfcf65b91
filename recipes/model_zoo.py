"""Prunes models of many kinds to 80%, and checks each from end to end.

  python -m recipes.model_zoo

Each model of `networks/zoo.py` is wrapped, trained for a few steps on noise
with UniLTH, stripped, exported and reloaded. The table shows the pruned
weights, whether the sparsity is exact, and the largest difference between the
outputs of the trained model and those of the stripped, the reloaded and the
exported one; the file of --csv names the other layers too. Neither shows
accuracy. Models that are in --csv already are not run again. Takes about ten
minutes on two cores.
"""

import csv
import io
import pathlib
import tempfile
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import tf_keras as keras
from absl import app, flags, logging

import tf_unilth
from recipes.common import files, provenance, tables
from recipes.networks import zoo

_MODELS = flags.DEFINE_list(
  'models', list(zoo.MODELS), f'Models, of {", ".join(zoo.MODELS)}.'
)
_CSV = flags.DEFINE_string(
  'csv', None, 'CSV file for the results; models in it are not run again.'
)

_SPARSITY = 0.8
_COUNT, _BATCH, _EPOCHS = 16, 2, 5
_FIELDS = (
  'model',
  'parameters',
  'kernels',
  'weights',
  'zeros',
  'exact',
  'stripped_difference',
  'reloaded_difference',
  'exported_difference',
  'seconds',
  'not_wrapped',
  'versions',
)
_HEADERS = (
  *('model', 'kernels', 'weights', 'of all', 'zeros', 'exact'),
  'difference',
)


def try_model(name: str) -> dict[str, Any]:
  """Prunes one model; returns its row of the table."""
  begin = time.perf_counter()
  keras.utils.set_random_seed(0)
  # After a few steps on noise, a global ranking may prune a whole layer.
  schedule = tf_unilth.IterativeSparsity(_SPARSITY, scope='layer')
  model = zoo.MODELS[name](schedule)
  model.compile(
    keras.optimizers.SGD(1e-3, momentum=0.9),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
  )
  x, y = zoo.data(name, _COUNT)
  _fit(model, x, y)
  summary = tf_unilth.sparsity_summary(model)
  outputs = model.predict(x, verbose=0)
  if not np.isfinite(outputs).all() or np.ptp(outputs) == 0:
    raise FloatingPointError(f'{name} computes nothing to compare: {outputs}')
  reloaded = _reload(model).predict(x, verbose=0)
  ticket = tf_unilth.strip_pruning(model)
  with tempfile.TemporaryDirectory() as folder:
    exported = tf_unilth.export_saved_model(ticket, f'{folder}/export', x)
  return {
    'model': name,
    'parameters': ticket.count_params(),
    'kernels': len(summary.rows),
    'weights': summary.total_weights,
    'zeros': summary.zeros,
    'exact': summary.zeros == round(_SPARSITY * summary.total_weights),
    'stripped_difference': _difference(outputs, ticket.predict(x, verbose=0)),
    'reloaded_difference': _difference(outputs, reloaded),
    'exported_difference': exported.output_difference,
    'seconds': round(time.perf_counter() - begin),
    'not_wrapped': ', '.join(summary.left),
    'versions': provenance.version_words(provenance.versions()),
  }


def _fit(model: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
  model.fit(
    x,
    y,
    _BATCH,
    epochs=_EPOCHS,
    validation_data=(x, y),
    verbose=0,
    callbacks=[tf_unilth.UniLTH(verbose=0)],
  )


def _reload(model: keras.Model) -> keras.Model:
  """Returns the wrapped model, saved and loaded."""
  with tempfile.TemporaryDirectory() as folder:
    if isinstance(model, zoo.Subclassed):
      # Keras can save only the weights of such a model.
      path = f'{folder}/model'
      model.save_weights(path)
      fresh = zoo.MODELS['subclassed'](tf_unilth.IterativeSparsity(_SPARSITY))
      fresh.load_weights(path).expect_partial()
      return fresh
    path = f'{folder}/model.keras'
    model.save(path)
    # Keras does not register the layer LayerScale of ConvNeXt.
    kinds = {type(layer).__name__: type(layer) for layer in model.layers}
    own = {name: kinds[name] for name in {'LayerScale'} & kinds.keys()}
    return keras.models.load_model(path, custom_objects=own)


def _difference(one: np.ndarray, other: np.ndarray) -> float:
  return float(np.max(np.abs(one - other)))


def _line(row: dict[str, Any]) -> str:
  """Returns a row of the table in Markdown."""
  weights, zeros = int(row['weights']), int(row['zeros'])
  worst = max(
    float(row[f'{step}_difference'])
    for step in ('stripped', 'reloaded', 'exported')
  )
  cells = (
    row['model'],
    row['kernels'],
    f'{weights:,}',
    f'{weights / int(row["parameters"]):.1%}',
    f'{zeros:,}',
    'yes' if str(row['exact']) == 'True' else 'NO',
    f'{worst:.1g}',
  )
  return tables.markdown(_HEADERS, [cells])[-1]


def _known(path: pathlib.Path) -> dict[str, dict[str, Any]]:
  if not path.exists():
    return {}
  with path.open(newline='') as file:
    return {row['model']: row for row in csv.DictReader(file)}


def _write(path: pathlib.Path, rows: Iterable[dict[str, Any]]) -> None:
  """Writes all rows anew: a file of before may lack a column."""
  text = io.StringIO()
  writer = csv.DictWriter(text, _FIELDS, lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  files.write_text(path, text.getvalue())


def main(argv: list[str]) -> None:
  """Prints the table, row by row."""
  del argv
  logging.set_verbosity(logging.WARNING)
  output = pathlib.Path(_CSV.value) if _CSV.value else None
  known = _known(output) if output else {}
  print('\n'.join(tables.markdown(_HEADERS, [])))
  for name in _MODELS.value:
    row = known.get(name)
    if row is None:
      row = known[name] = try_model(name)
      if output:
        _write(output, known.values())
    print(_line(row), flush=True)


if __name__ == '__main__':
  app.run(main)
