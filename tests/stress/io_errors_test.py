"""What `io_errors` finds, and which calls it lets fail."""

from tests.stress import io_errors, shimmed_program


def test_each_call_gets_an_error_and_the_errors_take_turns():
  found = list(io_errors.cases(7, 1, 0, False))
  assert [call for call, _ in found] == list(range(1, 8))
  assert {error for _, error in found} == set(io_errors.ERRORS)
  spread = [call for call, _ in io_errors.cases(70, 0, 7, False)]
  assert spread == [1, 11, 21, 31, 41, 51, 61]
  some = [*io_errors.cases(70, 0, 9, False)]
  assert {*some} < {*io_errors.cases(70, 0, 0, False)}
  assert len(list(io_errors.cases(7, 0, 0, True))) == 7 * len(io_errors.ERRORS)


# Programs that write numbers, and what calls of theirs that fail show.
_NUMBERS = """
import os, pathlib, re, sys
from tests.stress import file_shim, io_errors

class Careful:
  name, last, each_alone = 'number', 3, True
  read_errors, write_errors = (ValueError,), (OSError,)
  def write(self, folder, promise, done=0):
    for number in range(done + 1, self.last + 1):
      self.put(folder, str(number) * 99)
      promise(number)
  def put(self, folder, text):
    beside = folder / 'beside.tmp'
    try:
      beside.write_text(text)
      os.rename(beside, folder / 'file')
    except OSError as error:
      raise OSError(error.errno, os.strerror(error.errno), str(folder))
    finally:
      beside.unlink(missing_ok=True)
  def read(self, folder):
    path = folder / 'file'
    text = path.read_text() if path.exists() else '0'
    assert len(text) in (1, 99)
    return int(text[0])

class InPlace(Careful):
  def put(self, folder, text):
    try:
      (folder / 'file').write_text(text)
    except OSError as error:
      raise OSError(error.errno, os.strerror(error.errno), str(folder))

class Leaves(Careful):
  def put(self, folder, text):
    try:
      (folder / 'x.tmp').write_text(text)
      os.rename(folder / 'x.tmp', folder / 'file')
    except OSError as error:
      raise OSError(error.errno, os.strerror(error.errno), str(folder))

class Silent(Careful):
  def put(self, folder, text):
    try:
      super().put(folder, text)
    except OSError:
      pass

class Raw(Careful):
  def put(self, folder, text):
    try:
      super().put(folder, text)
    except OSError as error:
      raise KeyError(str(error))

class Wordless(Careful):
  def put(self, folder, text):
    try:
      super().put(folder, text)
    except OSError as error:
      raise OSError(error.errno, 'it failed', str(folder))

class Dies(Careful):
  def write(self, folder, promise, done=0):
    assert done != 1
    super().write(folder, promise, done)
  each_alone = False

io_errors._FLAGS(['', '--every_error'])
folder, log = pathlib.Path(sys.argv[1]), io_errors.Log(None)
for made in (Careful, InPlace, Leaves, Silent, Raw, Wordless, Dies):
  kind = made()
  kind.name = made.__name__
  row = io_errors.torment(kind, folder / 'kind', io_errors.Log(None))
  faults = {re.split('[,:]', fault)[1].strip() for fault in row.faults}
  numbers = row.calls, row.trials, row.said, row.repeated
  print(row.kind, *numbers, *sorted(faults))
"""


def test_calls_that_fail_show_what_careless_programs_do(tmp_path):
  folder = str(tmp_path.resolve())
  found = shimmed_program.output(_NUMBERS, tmp_path, folder)
  rows = [line for line in found.splitlines() if 'FAULT' not in line]
  # Calls, trials, documented errors, runs that ended; then what is wrong.
  assert rows == [
    'Careful 9 45 39 6',
    # A full disk leaves a part of the number.
    'InPlace 6 30 21 6 0 was promised 1 was promised 2 was promised',
    "Leaves 9 45 12 6 left ['x.tmp']",
    'Silent 9 45 0 6 1 was promised 2 was promised 3 was promised',
    'Raw 9 45 0 6 not a documented error',
    'Wordless 9 45 0 6 no reason in the error',
    'Dies 9 45 26 6 the next run fails',
  ]


def test_a_stopped_run_of_io_errors_continues(tmp_path):
  path = tmp_path / 'errors.json.part'
  trial = {'kind': 'ticket', 'call': 1, 'error': 'EIO', 'fault': None}
  log = io_errors.Log(path)
  log.add(trial)
  log.add({**trial, 'call': 2, 'fault': 'left it'})
  with path.open('a') as file:
    file.write('{"kind": "tick')  # The process was killed.
  log = io_errors.Log(path)
  log.add({**trial, 'call': 3})
  log = io_errors.Log(path)
  assert log.find('ticket', 1, 'EIO') and log.find('ticket', 3, 'EIO')
  assert log.find('ticket', 1, 'EINTR') is None
  assert log.find('ticket', 2, 'EIO') is None  # It is tried again.
  assert [*log.cases('ticket')] == [(1, 'EIO'), (2, 'EIO'), (3, 'EIO')]
