"""Runs the examples in all docstrings of the library and the recipes."""

import doctest
import importlib
import pathlib
import pkgutil
import tempfile

import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing import tuned
from tf_unilth import tuner

_ROOT = pathlib.Path(__file__).parents[1]
_MODULES = [
  module.name.removeprefix('tf_unilth.')
  for module in pkgutil.walk_packages(tf_unilth.__path__, 'tf_unilth.')
]
# Others are not imported: some programs define flags that others have too.
_RECIPES = [
  '.'.join(path.relative_to(_ROOT).with_suffix('').parts)
  for path in sorted((_ROOT / 'recipes').rglob('*.py'))
  if '>>> ' in path.read_text()
]


@pytest.mark.parametrize('name', _MODULES)
def test_examples(name):
  module = importlib.import_module(f'tf_unilth.{name}')
  names = {name: getattr(tf_unilth, name) for name in tf_unilth.__all__}
  names |= {'keras': keras, 'np': np, 'tempfile': tempfile, 'tf': tf}
  if name.startswith('engines.keras3'):
    del names['keras']  # The module's own is Keras 3.
  if name.startswith('tuner.'):
    names |= {name: getattr(tuner, name) for name in tuner.__all__}
    names |= {'keras_tuner': keras_tuner, 'build': tuned.build}
  found = doctest.testmod(module, extraglobs=names)
  assert not found.failed


@pytest.mark.parametrize('name', _RECIPES)
def test_examples_of_recipes(name):
  found = doctest.testmod(importlib.import_module(name))
  assert found.attempted and not found.failed


def test_public_names_have_examples():
  finder = doctest.DocTestFinder()
  for name in tf_unilth.__all__:
    if name in ('SparsitySummary', 'ExportedModel'):
      continue  # Shown by the examples of what returns them.
    examples = [
      example
      for test in finder.find(getattr(tf_unilth, name), name)
      for example in test.examples
    ]
    assert examples, f'{name} has no example in its docstring'
