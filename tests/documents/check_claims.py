"""What the documents say of checks and searches, from the committed files.

Each function returns parts of a document, with the numbers of the files.
"""

import collections
import csv
import functools
from typing import Any

from recipes import early_stopping, model_zoo
from recipes.common import result_index
from recipes.data import digits
from recipes.data.dataset import DataOptions
from tests.documents.committed_runs import load

_SEARCH = 'search/digits/unilth_at_98'
_TFLITE = {'digits_cnn': '`digits_cnn`', 'mlp': '64-300-100-10'}
_BACKENDS = {'tensorflow': 'TensorFlow', 'jax': 'JAX', 'torch': 'torch'}
_KNOWN = ('trial', 'status', 'score', 'accuracy', 'sparsity', 'seconds')


def _csv(path: str) -> list[dict[str, str]]:
  with (result_index.RESULTS / path).open(newline='') as file:
    return list(csv.DictReader(file))


def mixed_precision() -> list[str]:
  """docs/models.md: training under a wrapper in half precision."""

  def cell(found: float | str) -> str:
    return found if isinstance(found, str) else f'{found:.2g}'

  rows = load('check/random/mixed_precision/mixed_precision.json')
  lines = []
  for row in rows['differences']:
    head = row['head']
    if row['policy'] != 'float32' and head == 'float32':
      head += ', as Keras recommends'
    cells = f'{cell(row["tfmot"])} | {cell(row["tf_unilth"])}'
    lines.append(f'| `{row["policy"]}` | {head} | {cells} |')
  return lines


def tflite() -> list[str]:
  """docs/tflite.md: TFLite files at 90% zeros."""
  lines = []
  files = load('cost/random/tflite/tflite.json')['files']
  for name, label in _TFLITE.items():
    rows = [
      row
      for row in files
      if row['network'] == name and row['target_sparsity'] == 0.9
    ]
    sizes = [rows[0]['plain_bytes'], *(row['bytes'] for row in rows)]
    cells = ' | '.join(f'{size:,}' for size in sizes)
    apart = ' | '.join(f'{row["difference"]:.1g}' for row in rows)
    lines.append(f'| {label}, bytes | {cells} | | difference | | {apart} |')
  return lines


def torture() -> list[str]:
  """docs/trust.md: runs that are killed, damaged and starved."""
  found = load('check/random/torture/torture.json')
  table: dict[tuple[str, str], dict[str, str]] = {}
  for row in found['trials']:
    code, _, name = row['name'].rpartition(': ')
    cells = table.setdefault((name, row['wanted']), {})
    cells[code or 'library'] = f'{row["well"]} of {row["trials"]}'
  usage = found['memory_and_open_files_by_round']
  (before, opened), (after, left) = usage['5'], usage[max(usage, key=int)]
  assert opened == left
  return [
    *(
      ' '.join(
        f'| {name} | {wanted} | {cells.get("recipe", "")} | '
        f'{cells["library"]} |'.split()
      )
      for (name, wanted), cells in table.items()
    ),
    f'{found["minutes"]:.0f} minutes, measured at {found["commit"]}.',
    f'Thirty rounds in one process: {before / 2**20:.0f} to '
    f'{after / 2**20:.0f} MiB from round 5 to 30, {opened} files open '
    'throughout.',
  ]


def int8() -> list[str]:
  """docs/tflite.md: int8 after pruning, in either Keras."""
  ours, theirs = (
    load(f'check/mnist/int8_{name}/int8.json')
    for name in ('keras_3', 'tf_keras')
  )
  assert ours['zeros_lost'] == theirs['zeros_lost'] == 0
  return [
    f'LeNet-300-100 at {ours["sparsity"]:.0%} on MNIST, one seed: '
    f'{ours["test_accuracy"]:.2%} before and '
    f'{ours["quantized_test_accuracy"]:.2%} after on Keras 3 (JAX), '
    f'{theirs["test_accuracy"]:.2%} and '
    f'{theirs["quantized_test_accuracy"]:.2%} on tf_keras.'
  ]


def arguments() -> list[str]:
  """docs/trust.md: good and bad arguments."""
  found = load('check/random/arguments/arguments.json')
  checked, trained = (
    found['outcomes'][part] for part in ('checked', 'of the accepted, trained')
  )
  assert not checked['failed'] and not trained['failed']
  return [
    f'of {sum(checked.values()):,} cases {checked["accepted"]:,} were accepted '
    f'and {checked["refused"]:,} refused in words that name the argument, its '
    f'value and what is allowed; of {sum(trained.values()):,} accepted ones '
    f'that then trained {trained["accepted"]:,} ended at their target and '
    f'{trained["refused"]:,} were refused by `fit` in the same way; no other '
    f'error, nothing half written ({found["minutes"]:.0f} minutes, measured at '
    f'{found["commit"]}).'
  ]


@functools.cache
def _images() -> tuple[int, int]:
  """Returns how many digits are for validation and test."""
  data = digits.digits(DataOptions())
  return data.validation.examples, data.test.examples


def _lead() -> int:
  """Returns by how many test images the best trial is ahead."""
  found = load(f'{_SEARCH}/results.json')
  best, defaults = (
    found[name]['test_accuracy'] for name in ('best', 'defaults')
  )
  return round(_images()[1] * (best - defaults))


def _shares(name: str) -> tuple[str, str]:
  row = load(f'{_SEARCH}/results.json')[name]
  parts = row['validation_accuracy'], row['test_accuracy']
  validation, test = (f'{100 * share:.2f}%' for share in parts)
  return validation, test


def _settings(row: dict[str, str], first: dict[str, str]) -> str:
  """Returns the settings of a trial that are not those of the first."""
  names = [
    name
    for name in row
    if name not in (*_KNOWN, 'on_front', 'message', 'epochs')
    and row[name] != first[name]
  ]
  return ', '.join(f'{name} {_short(row[name])}' for name in names)


def _short(value: str) -> str:
  try:
    return f'{float(value):.3g}'
  except ValueError:
    return value


def search() -> list[str]:
  """docs/tuner.md: a search on the digits."""
  found = load(f'{_SEARCH}/results.json')
  rows = _csv(f'{_SEARCH}/trials.csv')
  best, first = (
    next(row for row in rows if row['trial'] == found[name]['trial'])
    for name in ('best', 'defaults')
  )
  minutes = sum(float(row['seconds']) for row in rows) / 60
  others = [float(row['accuracy']) for row in rows if row not in (best, first)]
  most = float(best['accuracy'])
  validation, test = _images()
  lines = {
    name: f'| {" | ".join([_label(found, name), *_shares(name)])} |'
    for name in ('best', 'defaults')
  }
  return [
    f'{lines["best"]} {_settings(best, first)} |',
    lines['defaults'],
    f'{len(rows)} trials of Bayesian search',
    f'take {minutes:.0f} minutes on two x86 cores, beside other programs.',
    f'validation has {validation} images and the test set {test}, so the '
    f"best's lead on the test set is {_lead()} images, and the best of "
    f'{len(rows)} on {validation} images is in part luck.',
    f'Of the other {len(others)} trials {sum(a == most for a in others)} '
    f'reached {100 * most:.2f}% too, {sum(a < 0.97 for a in others)} stayed '
    f'below 97%, the worst at {100 * min(others):.2f}%.',
  ]


def _label(found: Any, name: str) -> str:
  words = {'best': 'the best', 'defaults': 'the defaults'}
  return f'{found[name]["trial"]}, {words[name]}'


def models() -> list[str]:
  """docs/models.md: its table."""
  rows = _csv('check/random/models/models.csv')
  minutes = sum(int(row['seconds']) for row in rows) / 60
  return [*map(model_zoo._line, rows), f'({minutes:.0f} minutes)']


def random_models() -> list[str]:
  """docs/models.md: random Keras 3 models."""
  rows = _csv('check/random/keras_3_models/models.csv')
  assert len({row['index'] for row in rows}) == len(rows)
  lines = [f'{len(rows)} random Keras 3 models']
  for backend, name in _BACKENDS.items():
    found = collections.Counter(
      row['outcome'] for row in rows if row['backend'] == backend
    )
    cells = ' | '.join(
      str(count)
      for count in (
        found.total(),
        *(found[o] for o in ('trained', 'refused', 'failed')),
      )
    )
    lines.append(f'| {name} | {cells} |')
  return lines


def shrunk_graphs() -> list[str]:
  """docs/channels.md: random models that are shrunk."""
  rows = _csv('check/random/shrunk_graphs/graphs.csv')
  counts = collections.Counter(row['outcome'] for row in rows)
  assert not counts['failed']
  furthest = max(float(row['difference']) for row in rows)
  return [
    f'Of {len(rows)} random models {counts["smaller"]} became smaller and '
    f'{counts["same"]} had nothing that can go; outputs differ by at most '
    f'{furthest:.2g} of the largest, and none failed.'
  ]


def shrunk_networks() -> list[str]:
  """docs/channels.md: known networks with half of their free units zeroed."""
  rows = _csv('check/random/shrunk_networks/networks.csv')
  assert {row['outcome'] for row in rows} == {'smaller'}
  by_model: dict[str, list[dict[str, str]]] = {}
  for row in rows:
    by_model.setdefault(row['model'], []).append(row)
  return [_network_line(*pair) for pair in by_model.values()]


def _network_line(units: dict[str, str], kernels: dict[str, str]) -> str:
  """Returns the line of a network, of its whole units and its kernels alone."""

  def share(name: str) -> str:
    return f'{100 * int(units[f"{name}_kept"]) / int(units[name]):.1f}%'

  cells = (
    units['model'],
    f'{int(units["weights"]):,}',
    share('weights'),
    share('flops'),
    units['difference'],
    kernels['difference'],
  )
  return f'| {" | ".join(cells)} |'


def stopping_early() -> list[str]:
  """docs/early_stopping.md: its table."""
  return early_stopping.table()


TFLITE = (tflite, int8)
TRUST = (torture, arguments)
TUNER = (search,)
MODELS = (models, random_models, mixed_precision)
EARLY_STOPPING = (stopping_early,)
CHANNELS = (shrunk_graphs, shrunk_networks)
