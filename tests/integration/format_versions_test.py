"""Each format has a version; a file of a newer one is refused by both names."""

import hashlib
import json
import pathlib
import re
import struct

import pytest

import tf_unilth
from recipes.training import run_directory
from tests.testing import all_types, file_formats, forged_files
from tf_unilth import inspection
from tf_unilth.export import packed_saved_model
from tf_unilth.files import checksummed_file, checksummed_json, format_version
from tf_unilth.files.array_container import Container
from tf_unilth.files.checkpoint_errors import CheckpointError
from tf_unilth.files.directory_lock import DirectoryLock
from tf_unilth.resume import checkpoint_file, checkpoint_store
from tf_unilth.run import run_state

_FIXTURES = pathlib.Path(__file__).parents[1] / 'fixtures'


def _both(found, read):
  return rf'format version {found}, but this tf_unilth reads version {read}\b'


def _of_version(data, version):
  """Returns a file of a container as another version would have written it."""
  header, payload = forged_files.split(data)
  header['__metadata__']['version'] = version
  return forged_files.container(header, payload)


def test_a_ticket(tmp_path):
  path = tmp_path / 'a.ticket'
  all_types.ticket().save(path)
  path.write_bytes(_of_version(path.read_bytes(), '3'))
  with pytest.raises(tf_unilth.TicketFileError, match=_both("'3'", 2)) as error:
    tf_unilth.Ticket.load(path)
  assert 'install a newer tf_unilth' in str(error.value)
  assert 'intact' not in str(error.value)


def test_a_ticket_of_the_first_format(tmp_path):
  content = bytearray(
    (_FIXTURES / '0.1.0' / 'unilth.ticket').read_bytes()[:-32]
  )
  struct.pack_into('<I', content, 8, 9)
  path = tmp_path / 'a.ticket'
  path.write_bytes(content + hashlib.sha256(content).digest())
  with pytest.raises(tf_unilth.TicketFileError, match=_both(9, 1)):
    tf_unilth.Ticket.load(path)


def _write_checkpoint(folder, epoch):
  directory = checkpoint_store.CheckpointDirectory(folder, 9)
  directory.write(
    checkpoint_file.Checkpoint(epoch, 0, 0, False, {'version': 2}, {}, {})
  )
  return folder / f'epoch-{epoch:06d}-step-000000000.checkpoint'


def test_a_checkpoint_also_where_an_older_one_could_be_used(tmp_path):
  _write_checkpoint(tmp_path, 1)
  path = _write_checkpoint(tmp_path, 2)
  path.write_bytes(_of_version(path.read_bytes(), '3'))
  with pytest.raises(CheckpointError, match=_both("'3'", 2)):
    tf_unilth.CheckpointAndResume(tmp_path)


def test_a_damaged_version_is_damage(tmp_path):
  _write_checkpoint(tmp_path, 1)
  path = _write_checkpoint(tmp_path, 2)
  path.write_bytes(
    path.read_bytes().replace(b'"version":"2"', b'"version":"3"')
  )
  with pytest.warns(UserWarning, match='The one before it is used'):
    assert checkpoint_store.CheckpointDirectory(tmp_path, 2).newest().epoch == 1


def test_a_backup_of_a_run(tmp_path):
  pytest.importorskip('keras')
  from tf_unilth.engines.keras3 import run_backup

  backup = object.__new__(run_backup.RunBackup)
  backup._folder = tmp_path
  Container('backup of a pruning run', 2).write(
    tmp_path / run_backup._NAME, {'weights': ''}, {}
  )
  with pytest.raises(CheckpointError, match=_both("'2'", 1)):
    backup._restore(run_backup._NAME, '')


def test_the_state_of_a_run_in_checkpoints_of_tensorflow():
  state = run_state.RunState()
  header, _, payload = state.to_bytes().partition(b'\n')
  content = {**json.loads(header), 'format_version': 3}
  reads = r'format version 3, but this tf_unilth reads versions 1 and 2\b'
  with pytest.raises(ValueError, match=reads):
    state.restore(json.dumps(content).encode() + b'\n' + payload)
  # That of 0.1.0 states none.
  del content['format_version']
  state.restore(json.dumps(content).encode() + b'\n' + payload)


def test_the_state_of_a_run_in_model_files():
  from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
  from tf_unilth.engines.tfmot.tracked_run import TrackedRun

  config = IterativeSparsity(0.5).get_config()
  saved = TrackedRun().get_config()
  config['config']['run_state'] = {**saved, 'format_version': 3}
  reads = r'format version 3, but this tf_unilth reads versions 1 and 2\b'
  with pytest.raises(ValueError, match=reads):
    IterativeSparsity.from_config(config)
  config['config']['run_state'] = saved
  assert IterativeSparsity.from_config(config).has_loaded_run


def _make_newer(path):
  content = json.loads(path.read_text())
  assert content.pop('format_version') == 1
  content.pop('sha256', None)
  content['format_version'] = 2
  digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
  path.write_text(json.dumps({**content, 'sha256': digest.hexdigest()}))


@pytest.mark.parametrize(
  'name', ['search.json', 'oracle.json', 'trial_1/trial.json']
)
def test_the_files_of_a_search(name, tmp_path):
  pytest.importorskip('keras_tuner')
  form = file_formats.FORMATS['search']
  folder = tmp_path / 'search'
  for file, content in form.seeds().items():
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(content)
  form.read(folder / 'search.json')
  _make_newer(folder / name)
  with pytest.raises(ValueError, match=_both(2, 1)) as error:
    form.read(folder / 'search.json')
  assert 'damaged' not in str(error.value)


@pytest.mark.parametrize(
  'name', ['config.json', 'results.json', 'progress.json']
)
def test_the_files_of_a_run_directory(name, tmp_path):
  form = file_formats.FORMATS['run']
  for file, content in form.seeds().items():
    (tmp_path / file).write_bytes(content)
  form.read(tmp_path / name)
  _make_newer(tmp_path / name)
  with pytest.raises(run_directory.RunDirectoryError, match=_both(2, 1)):
    form.read(tmp_path / name)
  if name == 'config.json':
    with pytest.raises(inspection.UnreadableError, match=_both(2, 1)):
      inspection.read(tmp_path)


def test_what_a_run_directory_writes_has_the_version(tmp_path):
  run_directory.begin(tmp_path, {'recipe': 'digits_cnn'})
  content = json.loads((tmp_path / 'config.json').read_text())
  assert content == {'format_version': 1, 'recipe': 'digits_cnn'}


def test_the_owner_of_a_lock(tmp_path):
  held = DirectoryLock(tmp_path)
  held.acquire()
  owner = tmp_path / 'lock-owner.json'
  content = json.loads(owner.read_text())
  assert content['format_version'] == 1
  owner.write_text(json.dumps({**content, 'format_version': 2}))
  assert re.search(_both(2, 1), DirectoryLock(tmp_path)._read_owner())
  held.release()


def test_packed_weights_of_a_saved_model(tmp_path):
  file = tmp_path.joinpath(*packed_saved_model._VERSION_FILE)
  checksummed_json.write(file, {'packed_weights': 2})
  (tmp_path / 'saved_model.pb').write_bytes(b'')
  with pytest.raises(inspection.UnreadableError, match=_both(2, 1)):
    inspection.read(tmp_path)
  file.unlink()  # As 0.1.0 wrote it.
  packed_saved_model.check_version(tmp_path)


@pytest.mark.parametrize('version', [0, 2, '2', None, 1.0, True, 'x' * 99, [1]])
def test_what_is_no_version_that_is_read(version):
  with pytest.raises(format_version.VersionError, match='reads version 1') as e:
    format_version.check(version, 1)
  assert len(str(e.value)) < 200
  assert isinstance(e.value, checksummed_file.DamagedError)
