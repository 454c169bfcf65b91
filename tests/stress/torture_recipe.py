"""A small recipe's run, as its binary does it, for `torture` to kill.

Its images are shifted and flipped; the model has dropout and noise; the flags
are those of a command line.
"""

import hashlib
import json
import pathlib
import sys
from typing import Any

import numpy as np

from recipes.data import augmentation, dataset, pipeline
from recipes.data.arrays import Parts
from recipes.training import experiment
from tests.stress import torture_parts
from tests.testing import tiny_recipe, toys

EPOCHS = 10
_TICKET = ('--rounds=4', '--export=ticket')
_FLAGS: dict[str, tuple[str, ...]] = {
  'lth': _TICKET,
  'dlth': _TICKET,
  'unilth': (*_TICKET, '--patience=1', '--min_delta=1'),
  'unidlth': (*_TICKET, '--patience=1', '--min_delta=1'),
  'gmp': ('--lr_restart', '--export=ticket'),
  'dense': ('--export=',),
}


def _load(options: dataset.DataOptions) -> dataset.Dataset:
  """Returns the toys' images, augmented."""
  x, y = toys.data(96)
  images, labels = map(pipeline.on_host, (x, y))
  shifted = augmentation.shifted(augmentation.Channels([0.1], [0.9]), padding=1)
  return dataset.assembled(
    'toys',
    classes=2,
    image_shape=x.shape[1:],
    parts=Parts(np.arange(len(x)), None, None),
    options=options,
    split=lambda indices: pipeline.ArraySplit(images, labels, indices, shifted),
  )


def _build(keras: Any, image_shape: tuple[int, ...], classes: int) -> Any:
  del image_shape, classes  # They are the toys'.
  return torture_parts.network(keras)


RECIPE = experiment.Recipe(
  name='torture_recipe',
  load=_load,
  build=_build,
  epochs=EPOCHS,
  batch_size=8,
  learning_rate=0.05,
  weight_decay=1e-4,
  warmup_epochs=1,
  label_smoothing=0.1,
)


def run(case: dict[str, Any], directory: pathlib.Path) -> dict[str, str]:
  """Runs a case as its binary would, from where it stands to the end.

  Args:
    case: `method`.
    directory: of the run.

  Returns:
    The hashes of what it left.
  """
  error = tiny_recipe.main(
    f'--method={case["method"]}',
    f'--output_dir={directory}',
    '--seed=1',
    *_FLAGS[case['method']],
    recipe=RECIPE,
  )
  if error is not None:
    sys.exit(error)
  results = json.loads((directory / 'results.json').read_text())
  del results['seconds']
  *_, newest = sorted((directory / 'checkpoints').glob('*.checkpoint'))
  files = {'checkpoint': newest, 'history': directory / 'history.csv'}
  if case['method'] != 'dense':
    files['ticket'] = directory / 'ticket'
  return {
    'results': _hash(json.dumps(results).encode()),
    **{name: _hash(path.read_bytes()) for name, path in files.items()},
  }


def _hash(data: bytes) -> str:
  return hashlib.sha256(data).hexdigest()
