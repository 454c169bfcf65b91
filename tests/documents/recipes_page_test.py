"""docs/recipes.md: its program uses the network that a run leaves."""

import re

import numpy as np
import pytest
import tensorflow as tf

from recipes import image_folder
from recipes.training import command_line, experiment
from tests.documents.document_numbers import ROOT

_BLOCK = re.compile(r'^```py\n(.*?)^print.*?^```$', re.M | re.S)
_RUN = "'runs/image_folder/unilth-0.9-seed0'"


def _draw(folder, count, seed):
  """Writes noisy pictures, of which the class is the colour of the middle."""
  rng = np.random.default_rng(seed)
  for number in range(count):
    channel = number % 3
    picture = rng.integers(0, 150, (70, 90, 3))
    picture[25:-25, 35:-35, channel] += 60
    path = folder / 'rgb'[channel] / f'{number}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    content = tf.io.encode_png(tf.constant(picture.astype('uint8')))
    tf.io.write_file(str(path), content)


@pytest.mark.long
def test_the_network_is_as_good_as_the_run_says(tmp_path):
  photos, run = tmp_path / 'photos', tmp_path / 'run'
  _draw(photos / 'train', 90, 0)
  _draw(photos / 'test', 60, 1)
  flags = [f'--data_dir={photos}', f'--output_dir={run}', '--epochs=4']
  recipe = image_folder.RECIPE
  config = command_line.config_of(recipe, [*flags, '--noplots', '--verbose=0'])
  results = experiment.run(recipe, config)
  (program,) = _BLOCK.findall((ROOT / 'docs/recipes.md').read_text())
  assert program.count(_RUN) == 1
  names: dict = {}
  exec(program.replace(_RUN, repr(str(run))), names)
  assert names['names'] == ['b', 'g', 'r']
  paths = sorted((photos / 'test').glob('*/*'))
  right = [
    found == path.parent.name
    for found, path in zip(names['classes'](paths), paths, strict=True)
  ]
  assert np.mean(right) == pytest.approx(results['test_accuracy'], abs=0.02)
  assert np.mean(right) > 0.4
