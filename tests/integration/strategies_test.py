"""Recipes over several devices and processes end as on one."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
from absl import flags

from tests.testing import replicas

pytestmark = pytest.mark.long

_ROOT = pathlib.Path(__file__).parents[2]


def _free_ports(count):
  sockets = [socket.socket() for _ in range(count)]
  for one in sockets:
    one.bind(('localhost', 0))
  ports = [one.getsockname()[1] for one in sockets]
  for one in sockets:
    one.close()
  return ports


def _start(strategy, directory, file, **environment):
  return subprocess.Popen(
    [sys.executable, '-m', 'tests.testing.replicas', strategy, directory, file],
    cwd=_ROOT,
    env={**os.environ, **environment},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


@pytest.fixture(scope='module')
def ended(tmp_path_factory):
  """Returns, by process, the weights and masks that a run ends with."""
  folder = tmp_path_factory.mktemp('strategies')
  workers = [f'localhost:{port}' for port in _free_ports(2)]
  processes = {
    'mirrored': _start('mirrored', folder / 'a', folder / 'mirrored')
  }
  for index in range(2):
    task = {'type': 'worker', 'index': index}
    config = {'cluster': {'worker': workers}, 'task': task}
    name = f'worker {index}'
    # One for both, where files are shared; so it is seen who writes.
    directory = folder / ('b' if index == 0 else 'of the other')
    processes[name] = _start(
      'multi_worker', directory, folder / name, TF_CONFIG=json.dumps(config)
    )
  flags.FLAGS(['test'])
  found = {'alone': replicas.run('none', folder / 'c')}
  for name, process in processes.items():
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said[-3000:]
    found[name] = list(np.load(f'{folder / name}.npz').values())
  found['folder'] = folder
  return found


@pytest.mark.parametrize('name', ['mirrored', 'worker 0', 'worker 1'])
def test_all_end_as_one_device_does(name, ended):
  # Rewound, pruned and decayed, over batches of which the last is uneven.
  alone, several = ended['alone'], ended[name]
  assert len(alone) == len(several) > 10
  for one, other in zip(alone, several, strict=True):
    np.testing.assert_array_equal(one == 0, other == 0)
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_both_workers_end_with_the_same_bits(ended):
  for one, other in zip(ended['worker 0'], ended['worker 1'], strict=True):
    np.testing.assert_array_equal(one, other)


def test_the_chief_alone_writes_and_reports(ended):
  assert not (ended['folder'] / 'of the other').exists()
  directory = ended['folder'] / 'b'
  results = json.loads((directory / 'results.json').read_text())
  assert results['devices'] == '2 CPUs'
  alone = json.loads((ended['folder'] / 'c' / 'results.json').read_text())
  for name in ('sparsity', 'test_accuracy', 'validation_accuracy', 'rounds'):
    assert results[name] == alone[name]
  histories = [
    (ended['folder'] / name / 'history.csv').read_text().count('\n')
    for name in 'bc'
  ]
  assert histories == [5, 5]
