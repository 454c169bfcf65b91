"""The disk of `power_cuts`, and short forms of it and of `io_errors`."""

import itertools
import os
import random

import pytest

from tests.stress import file_shim, power_cuts, shimmed_program
from tests.stress.file_shim import Operation
from tests.stress.power_disk import LOSSES, Disk, Loss

_NOTHING = LOSSES['all that was not synchronised is lost']
_ALL = LOSSES['nothing is lost']


class _Calls:
  """Does what a program does to a folder, and records it as the shim does."""

  def __init__(self, folder):
    self.folder, self.operations = folder, []
    self._numbers = itertools.count(3)

  def _add(self, name, number=0, value=0, first=b'', second=b''):
    self.operations.append(Operation(name, number, value, first, second))

  def _path(self, name):
    return os.fsencode(self.folder / name)

  def write(self, name, data, sync=True):
    (self.folder / name).write_bytes(data)
    number = next(self._numbers)
    flags = os.O_CREAT | os.O_TRUNC
    self._add('open', number, flags, self._path(name))
    self._add('write', number, 0, data)
    if sync:
      self._add('fsync', number)
    self._add('close', number)

  def rename(self, old, new):
    os.replace(self.folder / old, self.folder / new)
    self._add('rename', first=self._path(old), second=self._path(new))

  def mkdir(self, name):
    (self.folder / name).mkdir()
    self._add('mkdir', first=self._path(name))

  def sync(self, name='.'):
    self._add('open', 2, 0, self._path(name))
    self._add('fsync', 2)
    self._add('close', 2)

  def mark(self, number):
    self._add('mark', number)

  def disk(self):
    disk = Disk(self.folder)
    for operation in self.operations:
      disk.apply(operation)
    disk.check()
    return disk

  def left(self, loss=_NOTHING, seed=0):
    return self.disk().after_cut(loss, random.Random(seed))


@pytest.fixture
def calls(tmp_path):
  """A program's calls in an empty folder."""
  return _Calls(tmp_path)


def test_a_name_is_lost_without_an_fsync_of_its_folder(calls):
  calls.write('file', b'old')
  assert calls.left() == {}
  assert calls.left(_ALL) == {'file': b'old'}
  calls.sync()
  assert calls.left() == {'file': b'old'}
  calls.mkdir('folder')
  calls.write('folder/inner', b'x')
  calls.sync('folder')
  assert calls.left() == {'file': b'old'}
  calls.sync()
  assert calls.left() == {'file': b'old', 'folder': None, 'folder/inner': b'x'}


def test_contents_are_lost_without_an_fsync_of_the_file(calls):
  calls.write('file', b'old')
  calls.sync()
  calls.write('file', b'newer', sync=False)
  assert calls.left() == {'file': b'old'}
  assert calls.left(_ALL) == {'file': b'newer'}
  found = {calls.left(Loss('all', 'some'), seed)['file'] for seed in range(99)}
  assert found == {b'old', b'newer', b''}


def test_a_rename_happens_as_a_whole_or_not_at_all(calls):
  calls.write('file', b'old')
  calls.write('beside', b'new')
  calls.sync()
  calls.rename('beside', 'file')
  before, after = {'file': b'old', 'beside': b'new'}, {'file': b'new'}
  assert calls.left() == before
  found = [calls.left(Loss('some', 'none'), seed) for seed in range(20)]
  assert before in found and after in found
  assert all(left in (before, after) for left in found)
  calls.sync()
  assert calls.left() == after


def test_torn_contents_end_at_the_border_of_a_sector(calls):
  calls.write('file', bytes(range(1, 251)) * 10, sync=False)
  calls.sync()
  lengths = {
    len(calls.left(Loss('none', 'torn'), seed)['file']) for seed in range(99)
  }
  assert lengths == {0, 512, 1024, 1536, 2048}


def test_what_the_shim_misses_is_noticed(calls):
  calls.write('file', b'old')
  (calls.folder / 'file').write_bytes(b'behind its back')
  with pytest.raises(AssertionError, match=r"missed.*'file'"):
    calls.disk()


class _Numbers:
  """A kind of file with a number in it."""

  name, last = 'number', 3
  read_errors = write_errors = (ValueError,)

  def read(self, folder):
    path = folder / 'file'
    return int(path.read_text()) if path.exists() else 0


def _faults(calls, write):
  """Returns the faults of 300 power cuts of a program that writes numbers."""
  for number in (1, 2, 3):
    write(f'{number:04}'.encode())
    calls.mark(number)
  kind, row = _Numbers(), power_cuts.Row('number', len(calls.operations))
  place = calls.folder.with_name('cut')
  reader = power_cuts.Reader(kind, place)
  rng = random.Random(0)
  for cut in power_cuts.cuts(calls.operations, calls.folder, 300, rng):
    power_cuts.judge(row, kind, cut, reader.read(cut)[0])
  assert row.cuts == 300
  return row.faults


def test_a_careful_program_loses_nothing(calls):
  def write(data):
    calls.write('beside', data)
    calls.rename('beside', 'file')
    calls.sync()

  assert not _faults(calls, write)


def test_a_program_that_writes_in_place_loses_what_it_promised(calls):
  assert _faults(calls, lambda data: calls.write('file', data, sync=False))


def test_a_rename_of_unsynchronised_contents_loses_them(calls):
  def write(data):
    calls.write('beside', data, sync=False)
    calls.rename('beside', 'file')
    calls.sync()

  assert any("''" in fault for fault in _faults(calls, write))


def test_a_rename_whose_folder_is_not_synchronised_is_lost(calls):
  def write(data):
    calls.write('beside', data)
    calls.rename('beside', 'file')

  assert _faults(calls, write)


def test_a_machine_without_a_compiler_is_told_what_it_lacks(monkeypatch):
  monkeypatch.setenv('PATH', '/nowhere')
  monkeypatch.delenv('TF_UNILTH_FILE_SHIM', raising=False)
  with pytest.raises(SystemExit, match=r'C compiler|Linux'):
    file_shim.load('tests.stress.power_cuts', [])


# The folder and the log are its arguments.
_WRITES = """
import os, pathlib, shutil, sys, zipfile
import h5py, numpy as np
from tests.stress import file_shim, power_disk

folder, log = map(pathlib.Path, sys.argv[1:])
shim = file_shim.Shim()
shim.begin(folder, log)
with h5py.File(folder / 'a.h5', 'w') as file:
  file['x'] = np.arange(10000)
with zipfile.ZipFile(folder / 'b.zip', 'w') as file:
  file.writestr('x', 'text')
np.savez(folder / 'c.npz', x=np.arange(10000))
(folder / 'd' / 'e').mkdir(parents=True)
shutil.copyfile(folder / 'a.h5', folder / 'd' / 'f')
with open(folder / 'd' / 'f', 'r+b', buffering=0) as file:
  file.truncate(5000)
  os.fsync(file.fileno())
shutil.copytree(folder / 'd', folder / 'g')
shutil.rmtree(folder / 'd')
os.rename(folder / 'g', folder / 'd')
shim.refuse(2, 5)
try:
  (folder / 'h').write_text('text')
except OSError as error:
  print(error, '|', shim.refused)
shim.end()
disk = power_disk.Disk(folder)
for operation in file_shim.read(log):
  disk.apply(operation)
disk.check()
"""


def test_the_shim_sees_what_python_and_hdf5_write(tmp_path):
  folder = (tmp_path / 'files').resolve()
  folder.mkdir()
  found = shimmed_program.output(
    *(_WRITES, tmp_path, str(folder), str(tmp_path / 'log'))
  )
  assert found.strip() == (
    f'[Errno 5] Input/output error | write {folder / "h"}'
  )


_SHORT = """
from tests.stress import io_errors, power_cuts
for program, arguments in (
  (power_cuts, ['--kinds={cut}', '--cuts=60', '--continued=0']),
  (io_errors, ['--kinds={failing}', '--trials=3']),
):
  try:
    program.main(['', *arguments])
  except SystemExit as stop:
    assert not stop.code, program
"""


# In one process, since most of its time is that of importing TensorFlow.
@pytest.mark.parametrize(
  ('cut', 'failing'),
  [
    ('ticket', 'ticket'),
    pytest.param(
      *('checkpoints,run directory', 'checkpoints'), marks=pytest.mark.long
    ),
  ],
)
def test_the_short_forms_lose_nothing_and_find_no_fault(cut, failing, tmp_path):
  program = _SHORT.format(cut=cut, failing=failing)
  lines = shimmed_program.output(program, tmp_path).splitlines()
  found = [line for line in lines if line.endswith(' |')]
  kinds = [*cut.split(','), *failing.split(',')]
  assert [line.split(' |')[0] for line in found] == [f'| {k}' for k in kinds]
