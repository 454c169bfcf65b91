"""`docs/keras3_fit.md`: its table is that of the committed outcomes."""

import ast

import pytest

from tests.documents import keras_3_fit


def test_the_document_has_the_table_of_the_results():
  assert keras_3_fit.table() in keras_3_fit.DOCUMENT.read_text()


@pytest.mark.parametrize('item', keras_3_fit.ITEMS, ids=lambda item: item.name)
def test_each_item_was_tried_on_each_backend_and_holds(item):
  cells = [keras_3_fit.outcome(item, b) for b in keras_3_fit.BACKENDS]
  assert keras_3_fit.FAILED not in cells
  assert keras_3_fit.MISSING not in cells
  assert item.outcome in cells


def test_the_tests_of_all_items_exist():
  for item in keras_3_fit.ITEMS:
    for test in item.tests:
      path, _, name = test.partition('::')
      tree = ast.parse((keras_3_fit.DOCUMENT.parents[1] / path).read_text())
      functions = {getattr(node, 'name', None) for node in tree.body}
      assert name.partition('[')[0] in functions, test
