"""Runs the examples in all docstrings of the library."""

import doctest
import importlib
import pkgutil
import tempfile

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth

_MODULES = [module.name for module in pkgutil.iter_modules(tf_unilth.__path__)]


@pytest.mark.parametrize('name', _MODULES)
def test_examples(name):
  module = importlib.import_module(f'tf_unilth.{name}')
  names = {name: getattr(tf_unilth, name) for name in tf_unilth.__all__}
  names |= {'keras': keras, 'np': np, 'tempfile': tempfile, 'tf': tf}
  found = doctest.testmod(module, extraglobs=names)
  assert not found.failed


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
