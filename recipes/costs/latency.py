"""Measures what is faster: calls of SavedModels and TFLite files.

  python -m recipes.costs.latency --networks=dense_2048 --sparsities=0.9,0.95
  python -m recipes.costs.latency --networks=lenet_300_100 --output=latency
  python -m recipes.costs.latency --files=dense/saved_model,ticket/saved_model

Each network is written dense, with single zeros, with zeros in blocks of 4
inputs of its Dense layers, without so many of its channels that a quarter of
the FLOPs is left, and in int8. The files are called in turn, in one
process per number of threads. A ratio is the least time of the dense file of
the same kind over the file's own, above 1 if the file is faster; in parentheses
are the least and the largest of the same in five parts of the run. With
`--files` the first file is the base of all.
"""

import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from absl import app, flags, logging

from recipes.common import files, provenance
from recipes.costs import file_times, latency_files, latency_report

_NETWORKS = flags.DEFINE_list(
  'networks',
  'dense_1022,dense_2048',
  f'Networks, of {", ".join(latency_files.NETWORKS)}.',
)
_VARIANTS = flags.DEFINE_list(
  'variants',
  list(latency_files.VARIANTS),
  'Variants to compare with the dense network.',
)
_SPARSITIES = flags.DEFINE_list(
  'sparsities', '0.9,0.95', 'Sparsities of each kernel, in (0, 1).'
)
_FILES = flags.DEFINE_list(
  'files', [], 'SavedModels and TFLite files to time in place of networks.'
)
_THREADS = flags.DEFINE_list('threads', '1,2', 'Numbers of threads.')
_BATCHES = flags.DEFINE_list('batches', '1,32', 'Batch sizes.')
_CALLS = flags.DEFINE_integer('calls', 100, 'Timed calls of each file.', 5)
_OUTPUT = flags.DEFINE_string(
  'output',
  None,
  'Path without extension of the .json, .md and .png files to write.',
)


@flags.validator('networks', f'must be of {", ".join(latency_files.NETWORKS)}')
def _are_networks(value: list[str]) -> bool:
  return set(value) <= set(latency_files.NETWORKS)


@flags.validator('variants', f'must be of {", ".join(latency_files.VARIANTS)}')
def _are_variants(value: list[str]) -> bool:
  return set(value) <= set(latency_files.VARIANTS)


@flags.validator('sparsities', 'must be numbers in (0, 1)')
def _are_sparsities(value: list[str]) -> bool:
  try:
    return all(0 < float(sparsity) < 1 for sparsity in value)
  except ValueError:
    return False


@flags.multi_flags_validator(
  ['threads', 'batches'], 'threads and batches must be whole numbers >= 1'
)
def _are_counts(values: dict[str, list[str]]) -> bool:
  words = [*values['threads'], *values['batches']]
  return all(word.isdecimal() and int(word) > 0 for word in words)


def _main(_: Sequence[str]) -> str | None:
  logging.set_verbosity(logging.WARNING)
  settings = (
    [int(number) for number in _THREADS.value],
    [int(batch) for batch in _BATCHES.value],
    _CALLS.value,
  )
  output = pathlib.Path(_OUTPUT.value) if _OUTPUT.value else None
  rows: list[dict[str, Any]] = []
  try:
    if _FILES.value:
      rows = file_times.measure(latency_files.existing(_FILES.value), *settings)
      print(latency_report.table(rows), flush=True)
    for network in [] if _FILES.value else _NETWORKS.value:
      rows += _measure_network(
        network,
        _VARIANTS.value,
        [float(sparsity) for sparsity in _SPARSITIES.value],
        *settings,
      )
      # After each, so that a run cut short keeps its networks.
      _write(output, rows)
  except ValueError as error:
    return f'error: {error}'
  except subprocess.CalledProcessError:
    return 'error: the files were not timed.'  # It has said why.
  _write(output, rows)
  return None


def _measure_network(
  network: str,
  variants: Sequence[str],
  sparsities: Sequence[float],
  *settings: Any,
) -> list[dict[str, Any]]:
  with tempfile.TemporaryDirectory() as folder:
    written = latency_files.write(
      network, variants, sparsities, pathlib.Path(folder)
    )
    rows = file_times.measure(written, *settings)
  print(latency_report.table(rows), flush=True)
  for row in rows:
    del row['path']  # Of a folder that is gone.
  return rows


def _write(path: pathlib.Path | None, rows: Sequence[dict[str, Any]]) -> None:
  if path is None:
    return
  content = {**provenance.record(), 'files': list(rows)}
  files.write_json(path.with_suffix('.json'), content)
  text = latency_report.table(rows)
  if all(row['network'] for row in rows):
    text = '\n'.join([*latency_report.summary(rows), '', text])
  files.write_text(path.with_suffix('.md'), text)
  latency_report.plot(path.with_suffix('.png'), rows)


if __name__ == '__main__':
  app.run(lambda argv: sys.exit(_main(argv)))
