"""recipes.tune on Keras 3: from its flags to its report, on the backend."""

import csv
import json

import keras
import pytest
from absl import flags
from absl.testing import flagsaver

from recipes import tune
from recipes.common import figures
from tests.testing import tiny_recipe

_BACKEND = keras.backend.backend()
pytestmark = pytest.mark.keras3


def test_a_search_writes_its_report(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(figures, 'available', lambda: False)  # They take time.
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['test'])
  arguments = [
    '--keras=keras --method=dlth --target_sparsity=0.8 --epochs=3 --verbose=1',
    f'--max_trials=2 --tuner=random --output_dir={tmp_path / "runs"}',
  ]
  recipe = tiny_recipe.RECIPE
  with flagsaver.flagsaver():
    flags.FLAGS(['tune', *' '.join(arguments).split()])
    summary = tune.run(recipe, *tune.read_flags(recipe))
  rows = list(csv.DictReader((tmp_path / 'runs' / 'trials.csv').open()))
  assert {row['status'] for row in rows} == {'completed'}
  sparsities = [float(row['sparsity']) for row in rows]
  assert sparsities == pytest.approx([0.8] * 2, abs=1e-3)
  assert 'best: trial' in summary and 'none: the defaults' in summary
  results = json.loads((tmp_path / 'runs' / 'results.json').read_text())
  assert results['versions']['backend'] == _BACKEND
  # By default it exports what can be exported.
  exported = (tmp_path / 'runs' / 'saved_model').exists()
  assert exported == (_BACKEND != 'torch')
  said = 'nothing is exported: a model on the torch backend'
  assert (said in capsys.readouterr().out) == (_BACKEND == 'torch')
