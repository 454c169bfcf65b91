"""Arguments: plain values come back, all else is named in one line."""

import math
import pathlib

import numpy as np
import pytest

from tf_unilth import argument_checks
from tf_unilth.files import output_paths

_WRONG = ['3', '', b'3', [], {}, object, 1j, np.ones((2, 3)), True, math.nan]


@pytest.mark.parametrize('value', [2, np.int64(2), np.uint8(2)])
def test_whole_numbers_come_back_as_pythons(value):
  assert type(argument_checks.check_int('rounds', value, 1)) is int


@pytest.mark.parametrize('value', [*_WRONG, None, 0, 1.5, 2.0, np.float32(3)])
def test_what_is_no_whole_number_is_named(value):
  with pytest.raises(ValueError, match=r'^rounds must be a whole number >= 1,'):
    argument_checks.check_int('rounds', value, 1)


@pytest.mark.parametrize('value', [2**63, 10**5000], ids=['2^63', 'huge'])
def test_what_tensorflow_cannot_count_is_refused(value):
  with pytest.raises(ValueError, match=r'rounds must .*>= 1 and < 2\^63, but'):
    argument_checks.check_int('rounds', value, 1)


@pytest.mark.parametrize('value', [0.5, np.float32(0.5), np.float64(0.5)])
def test_numbers_come_back_as_pythons(value):
  assert type(argument_checks.check_float('share', value, '(0, 1)')) is float


@pytest.mark.parametrize('value', [*_WRONG, None, 0, 1, -1, math.inf, 10**40])
def test_what_is_outside_of_an_interval_is_named(value):
  with pytest.raises(ValueError, match=r'^share must be .*in \(0, 1\), but is'):
    argument_checks.check_float('share', value, '(0, 1)')


@pytest.mark.parametrize('value', [math.inf, -1e-9, math.nan, 10**400])
def test_an_open_end_means_finite(value):
  with pytest.raises(ValueError, match='limit must be None or a finite number'):
    argument_checks.check_float('limit', value, '[0, inf)', none=True)
  assert argument_checks.check_float('limit', 0, '[0, inf)') == 0


@pytest.mark.parametrize('value', [*_WRONG, None, 'CUBIC'])
def test_one_of_some_names(value):
  with pytest.raises(ValueError, match='pace must be one of '):
    argument_checks.check_option('pace', value, ('cubic',))


@pytest.mark.parametrize('value', ['no', 'False', 0, 1, None, [], np.ones(2)])
def test_only_bools_are_true_or_false(value):
  with pytest.raises(ValueError, match='overwrite must be True or False, but'):
    argument_checks.check_bool('overwrite', value)
  assert argument_checks.check_bool('overwrite', np.bool_(True)) is True


@pytest.mark.parametrize('value', [None, 7, b'a', ['a'], '', 'a\0b'])
def test_what_is_no_path_is_named(value):
  with pytest.raises((TypeError, ValueError), match='path must be a path'):
    output_paths.check_path('path', value)


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path):
  file = tmp_path / 'file'
  file.write_text('words')
  for make in (
    lambda: output_paths.check_folder('directory', file),
    lambda: output_paths.check_folder('directory', file / 'run' / 'more'),
    lambda: output_paths.check_new_file('directory', file / 'run', False),
  ):
    with pytest.raises(
      NotADirectoryError, match=r'directory .* is not a folder'
    ):
      make()
  assert output_paths.check_folder('directory', str(tmp_path)) == tmp_path
  with pytest.raises(FileExistsError, match=r'path .* exists: choose another'):
    output_paths.check_new_file('path', file, False)
  assert output_paths.check_new_file('path', file, True) == pathlib.Path(file)


@pytest.mark.parametrize('value', [None, 7, {'a': math.nan}, {'a': object}])
def test_what_json_cannot_hold_is_named(value):
  with pytest.raises(ValueError, match=r'^config must be '):
    argument_checks.check_json('config', value)


def test_values_are_shown_in_one_short_line():
  assert '\n' not in argument_checks.format_value(np.ones((9, 9)))
  assert len(argument_checks.format_value('x' * 9999)) == 80
  assert argument_checks.format_value(10**5000) == 'a huge int'
