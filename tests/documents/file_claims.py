"""What docs/trust.md says of damaged files, from the committed results."""

from tests.documents.committed_runs import load
from tests.testing import file_formats

_NAMES = {
  'ticket': 'ticket',
  'checkpoint': 'checkpoint',
  'run': 'run directory',
  'search': 'search',
  'npz': 'data: `.npz`',
  'idx': 'data: idx, plain or gzip',
  'cifar': 'data: CIFAR, pickles or binary',
  'images': 'data: images',
}


def file_fuzz() -> list[str]:
  """docs/trust.md: files that were damaged, by format."""
  assert _NAMES.keys() == file_formats.FORMATS.keys()
  lines = []
  for form, name in _NAMES.items():
    found = load(f'check/random/file_fuzz/{form}.json')['found']
    assert found['executions'] == 100_000 and found['failed'] == 0
    # Python does not see the memory in which TensorFlow decodes images.
    seen = file_formats.FORMATS[form].unpacks > 0
    peak = f'{found["peak_bytes"] / 2**20:.1f} MiB' if seen else 'not seen'
    cells = [found['executions'], found['accepted'], found['refused'], 0]
    numbers = ' | '.join(f'{cell:,}' for cell in cells)
    lines.append(
      f'| {name} | {numbers} | {peak} | {found["slowest_seconds"]:.2f} s |'
    )
  return lines


TRUST = (file_fuzz,)
