"""Hostile files are refused; a short fuzz; faults of readers are found."""

import os
import pathlib
import pickle
import random
import subprocess
import sys
import time

import pytest

from recipes.training import run_directory
from tests.stress import file_fuzz
from tests.testing import file_formats, file_mutations, guarded_read
from tests.testing.hostile_files import attacks
from tf_unilth.files import checksummed_json
from tf_unilth.files.checksummed_file import DamagedError

_ATTACKS = list(attacks())
# Files of a second or so on one core. The whole is `python -m` this program.
_SHORT = {
  **{'ticket': 150, 'checkpoint': 150, 'run': 100, 'search': 60},
  **{'npz': 100, 'idx': 150, 'cifar': 150, 'images': 100},
}


@pytest.fixture(scope='module')
def guards(tmp_path_factory):
  made = {}

  def guard(form):
    if form not in made:
      pytest.importorskip(
        {'search': 'keras_tuner', 'images': 'PIL'}.get(form, 'numpy')
      )
      folder = tmp_path_factory.mktemp(form)
      made[form] = guarded_read.Guard(file_formats.FORMATS[form], folder)
      made[form].warm_up()
    return made[form]

  return guard


@pytest.mark.parametrize(
  'attack', _ATTACKS, ids=lambda a: f'{a.form}-{a.name.replace(" ", "_")}'
)
def test_a_hostile_file_is_refused(attack, guards):
  outcome = guards(attack.form).read(attack.file, attack.content)
  wanted = guarded_read.ACCEPTED if attack.accepted else guarded_read.REFUSED
  assert outcome.kind == wanted != guarded_read.FAILED, outcome
  assert not pathlib.Path('attacked').exists()


@pytest.mark.parametrize('form', _SHORT)
def test_a_short_fuzz_finds_nothing(form, guards, tmp_path):
  guards(form)  # Skips what is not installed.
  fuzz = file_fuzz.Fuzz(form, tmp_path)
  file_fuzz.run_lines(fuzz, _SHORT[form], seed=1)
  assert not fuzz.failures, fuzz.failures
  assert fuzz.counts['refused'] > _SHORT[form] / 10, fuzz.counts


def test_a_stopped_fuzz_continues(tmp_path, monkeypatch):
  monkeypatch.setattr(file_fuzz, '_KEPT', 5)
  part = tmp_path / 'part'
  (tmp_path / 'a').mkdir()
  fuzz = file_fuzz.Fuzz('cifar', tmp_path / 'a', part)
  file_fuzz.run_lines(fuzz, 5, seed=0)
  before = fuzz.result()
  file_fuzz.run_lines(fuzz, 7, seed=0)  # Is stopped after 7, of which 5 count.
  (tmp_path / 'b').mkdir()
  fuzz = file_fuzz.Fuzz('cifar', tmp_path / 'b', part)
  assert fuzz.result() == before and fuzz.minutes > 0
  file_fuzz.run_lines(fuzz, 10, seed=0)
  assert fuzz.executions == 10


@pytest.mark.parametrize('structure', ['', 'container', 'sealed', 'json'])
def test_mutations_are_drawn_from_the_seed_alone(structure):
  seeds = file_formats.FORMATS['run'].seeds()
  content = seeds['config.json']
  if structure == 'container':
    content = file_formats.FORMATS['ticket'].seeds()['a.ticket']
  one, same, other = (
    [
      file_mutations.mutate(content, structure, random.Random(seed), content)
      for seed in range(begin, begin + 30)
    ]
    for begin in (0, 0, 100)
  )
  assert one == same != other
  assert len({*one}) > 20


class _Attack:
  def __reduce__(self):
    return os.system, ('true',)


def _wrong_error(path):
  raise KeyError('an error that no docstring names')


def _endless(path):
  while True:
    time.sleep(0.01)


def _large(path):
  bytearray(64 << 20)


def _elsewhere(path):
  open(path.parent.parent / 'elsewhere', 'w').close()


@pytest.mark.parametrize(
  'read, words',
  [
    (_wrong_error, 'KeyError'),
    (_endless, 'it took more than 1 s'),
    (_large, 'it took 67,'),
    (_elsewhere, 'it did open'),
    (lambda path: pickle.loads(pickle.dumps(_Attack())), 'it did'),
    (lambda path: subprocess.run(['true']), 'it did subprocess.Popen'),
    (lambda path: eval('1 + 1'), 'it did exec'),
  ],
)
def test_what_a_reader_must_not_do_is_found(read, words, tmp_path, monkeypatch):
  monkeypatch.setattr(guarded_read, '_SECONDS', 1)
  form = file_formats.Format(lambda: {'a': b'1'}, read, ('DataError',))
  (tmp_path / 'files').mkdir()
  outcome = guarded_read.Guard(form, tmp_path / 'files').read('a', b'1')
  assert outcome.kind == guarded_read.FAILED
  assert outcome.text.startswith(words)


def test_a_link_to_what_has_no_end_is_refused(tmp_path):
  path = tmp_path / 'search.json'
  path.symlink_to('/dev/zero')
  with pytest.raises(DamagedError, match='not a regular file'):
    checksummed_json.read(path)
  with pytest.raises(run_directory.RunDirectoryError, match='no file'):
    run_directory.read_json(path)


def test_results_of_another_run_that_are_no_numbers_are_shown(tmp_path):
  (tmp_path / 'config.json').write_text('{"recipe": "other"}')
  (tmp_path / 'results.json').write_text('{"epochs": "many"}')
  with pytest.raises(
    run_directory.RunDirectoryError, match='a finished run of another'
  ):
    run_directory.finished(tmp_path, {'recipe': 'digits_cnn'})


def test_a_trace_that_was_there_before_is_there_after(tmp_path):
  def own(frame, event, argument):
    return None

  before = sys.gettrace()
  sys.settrace(own)
  try:
    fuzz = file_fuzz.Fuzz('ticket', tmp_path / 'files')
    file_fuzz.run_lines(fuzz, 3, 0)
    after = sys.gettrace()
  finally:
    sys.settrace(before)
  assert after is own
