"""The order of the test files, which is that of `conftest.py`."""

import pathlib
import types

from tests import conftest

_ROOT = pathlib.Path(__file__).parents[1]


def test_long_files_come_first_and_then_those_of_many_tests():
  names = ['tests/one.py', 'tests/two.py', conftest.LONGEST[1], 'tests/two.py']
  names += [conftest.LONGEST[0], 'tests/last.py']
  items = [types.SimpleNamespace(path=_ROOT / name) for name in names]
  found = [
    str(item.path.relative_to(_ROOT)) for item in conftest.longest_first(items)
  ]
  assert found == [
    *conftest.LONGEST[:2],
    *('tests/two.py', 'tests/two.py', 'tests/one.py', 'tests/last.py'),
  ]


def test_the_long_files_are_there_each_once():
  assert all((_ROOT / name).is_file() for name in conftest.LONGEST)
  assert len(set(conftest.LONGEST)) == len(conftest.LONGEST)
