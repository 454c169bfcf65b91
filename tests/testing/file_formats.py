"""The files that the file fuzz damages: how each is made and read.

Only `images` and `search` import TensorFlow, when they are read.
"""

import dataclasses
import gzip
import io
import json
import pathlib
import pickle
import struct
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.testing import all_types
from tf_unilth.files.directory_lock import DirectoryLock


@dataclasses.dataclass(frozen=True)
class Format:
  """A kind of file, or of a folder with several.

  Args:
    seeds: returns the intact files, by their name in a folder.
    read: reads the file of a path, or the folder that has it.
    errors: the names of the documented errors for what is damaged.
    structure: how a file is changed in the sense of its format: a key of
      `file_mutations`, or `''` for bytes alone.
    unpacks: how many bytes reading may take for a byte of the file, beside a
      fixed part; 0 where Python does not see the memory.
    is_folder: whether the intact files lie beside the damaged one.
  """

  seeds: Callable[[], dict[str, bytes]]
  read: Callable[[pathlib.Path], Any]
  errors: tuple[str, ...]
  structure: str = ''
  unpacks: int = 64
  is_folder: bool = False


def _ticket_seeds() -> dict[str, bytes]:
  path = pathlib.Path(__file__).parents[1] / 'fixtures' / '0.1.0'
  return {
    'a.ticket': _written(all_types.ticket().save),
    # The format of 0.1.0, which is read too.
    'b.ticket': (path / 'unilth.ticket').read_bytes(),
  }


def _written(write: Callable[[str], Any]) -> bytes:
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, 'file')
    write(str(path))
    return path.read_bytes()


def _read_ticket(path: pathlib.Path) -> None:
  from tf_unilth.tickets.ticket import Ticket

  repr(Ticket.load(path))


def _checkpoint_seeds() -> dict[str, bytes]:
  from tf_unilth.resume import checkpoint_file

  variables = {
    'kernel': np.arange(6, dtype=np.float32).reshape(2, 3),
    'chosen': np.array([[True], [False]]),
    'step': np.array(5, np.int64),
  }
  values = {'logs': {'loss': [0.1, float('inf')]}, 'random': (3, b'\0'), 'n': 2}
  checkpoint = checkpoint_file.Checkpoint(
    4, 0, 0, False, {'version': 2, 'a': [1]}, variables, values
  )
  content = _written(
    lambda path: checkpoint_file.write(pathlib.Path(path), checkpoint)
  )
  return {'epoch-000004-step-000000000.checkpoint': content}


def _read_checkpoint(path: pathlib.Path) -> None:
  from tf_unilth.resume import checkpoint_store

  checkpoint_store.CheckpointDirectory(path.parent, 2).newest()


_CONFIG = {
  **{'recipe': 'digits_cnn', 'method': 'unilth', 'seed': 0},
  **{'target_sparsity': 0.9, 'rate': 0.1},
}


def _run_seeds() -> dict[str, bytes]:
  results = {'epochs': 7, 'test_accuracy': 0.9, 'versions': {'numpy': '2'}}
  progress = {'epochs': 2, 'seconds': 1.5, 'histograms': {'a': {'limit': 1.0}}}
  owner = {'pid': 1, 'host': 'here'}
  contents = {
    'config.json': _CONFIG,
    'results.json': results,
    'progress.json': progress,
    'lock-owner.json': owner,
  }
  found = {
    name: json.dumps({'format_version': 1, **content}).encode()
    for name, content in contents.items()
  }
  return {**found, 'history.csv': b'epoch,loss,lr\n1,0.5,0.1\n2,0.25,0.1\n'}


def _read_run(path: pathlib.Path) -> None:
  from recipes.training import history_writer, run_directory

  folder = path.parent
  DirectoryLock(folder)._read_owner()
  run_directory.finished(folder, _CONFIG)
  repr(history_writer.HistoryWriter(folder, None, 1).seconds)
  run_directory.check_clears(folder)


def _npz_seeds() -> dict[str, bytes]:
  found = {}
  for name, save in (('a.npz', np.savez), ('b.npz', np.savez_compressed)):
    file = io.BytesIO()
    images, labels = np.zeros((2, 4, 4), np.uint8), np.array([0, 1])
    save(file, x_train=images, y_train=labels, x_test=images, y_test=labels)
    found[name] = file.getvalue()
  return found


def _read_npz(path: pathlib.Path) -> None:
  from recipes.data import arrays
  from recipes.data.formats import npz

  arrays.checked(npz.read(path), (4, 4, 1), 10, path)


def _idx_seeds() -> dict[str, bytes]:
  head = struct.pack('>BBBBIII', 0, 0, 8, 3, 2, 4, 4)
  content = head + bytes(range(32))
  return {'a': content, 'b.gz': gzip.compress(content, mtime=0)}


def _read_idx(path: pathlib.Path) -> None:
  from recipes.data.formats import idx

  idx.read_one(path)


def _cifar_seeds() -> dict[str, bytes]:
  content = {
    b'data': np.zeros((2, 3072), np.uint8),
    b'labels': [3, 4],
    b'filenames': [b'a.png', b'b.png'],
  }
  return {
    **{f'pickle{n}': pickle.dumps(content, protocol=n) for n in (0, 2, 4)},
    'binary': bytes([1]) + bytes(3072),
  }


def _read_cifar(path: pathlib.Path) -> None:
  from recipes.data.formats import cifar

  binary, python = cifar.VERSIONS['cifar10']
  (binary if path.name == 'binary' else python).read(path)


def _image_seeds() -> dict[str, bytes]:
  from PIL import Image

  pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
  found = {}
  for kind in ('png', 'jpeg', 'gif', 'bmp'):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    found[f'a.{kind}'] = file.getvalue()
  return found


def _read_images(path: pathlib.Path) -> None:
  from recipes.data import image_files

  image_files.read_exact([str(path)], (4, 4, 3))


def _search_oracle(folder: pathlib.Path) -> Any:
  from tf_unilth import tuner
  from tf_unilth.tuner import search_algorithms

  oracle = search_algorithms.RandomSearchOracle(
    objective=tuner.AccuracyAtSparsity(),
    seed=0,
    log=lambda line: None,
    max_trials=4,
  )
  oracle._set_project_dir(str(folder.parent), folder.name)
  return oracle


_SETTINGS = {'tuner': 'RandomSearch', 'seed': 0, 'space': [{'name': 'rate'}]}


def _search_seeds() -> dict[str, bytes]:
  import keras_tuner

  from tf_unilth.tuner.search_directory import SearchDirectory

  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name, 'search')
    SearchDirectory(folder).write_settings(_SETTINGS)
    oracle = _search_oracle(folder)
    space = keras_tuner.HyperParameters()
    space.Float('rate', 0.1, 0.9)
    space.Choice('kind', ['a', 'b'])
    oracle.update_space(space)
    oracle.create_trial('worker 0')
    trial = oracle.create_trial('worker 1')
    # Two of its metrics; a completed trial would need tickets.
    metrics = {oracle.objective.name: 0.5, 'ticket_sparsity': 0.8}
    oracle.update_trial(trial.trial_id, metrics)
    trial.status, trial.message = 'FAILED', 'why'
    oracle.end_trial(trial)
    paths = [path for path in folder.rglob('*') if path.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


def _read_search(path: pathlib.Path) -> None:
  from tf_unilth.tuner.search_directory import SearchDirectory

  folder = path if path.name == 'search' else path.parent
  folder = folder.parent if folder.name.startswith('trial_') else folder
  directory = SearchDirectory(folder)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Of trials that are run again.
    directory.check_settings(_SETTINGS)
    directory.reload(_search_oracle(folder))


FORMATS = {
  'ticket': Format(
    _ticket_seeds, _read_ticket, ('TicketFileError',), 'container'
  ),
  'checkpoint': Format(
    _checkpoint_seeds, _read_checkpoint, ('CheckpointError',), 'container'
  ),
  'run': Format(
    _run_seeds, _read_run, ('RunDirectoryError',), 'json', is_folder=True
  ),
  'search': Format(
    *(_search_seeds, _read_search, ('DamagedError', 'SearchError'), 'sealed'),
    is_folder=True,
  ),
  'npz': Format(_npz_seeds, _read_npz, ('DataError',), 'zip', unpacks=1000),
  'idx': Format(_idx_seeds, _read_idx, ('DataError',), 'gzip', unpacks=500),
  'cifar': Format(_cifar_seeds, _read_cifar, ('DataError',)),
  'images': Format(_image_seeds, _read_images, ('DataError',), unpacks=0),
}
