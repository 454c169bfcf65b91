"""What docs/trust.md says of power cuts and I/O errors, from the files.

Each function returns parts of the document, with the numbers of the files.
"""

from typing import Any

from tests.documents.committed_runs import load


def _found(name: str) -> dict[str, Any]:
  found = load(f'check/random/{name}/{name}.json')
  assert not any(row['faults'] for row in found['kinds'])
  return found


def power_cuts() -> list[str]:
  """docs/trust.md: what is left after power cuts."""
  found = _found('power_cuts')
  rows = found['kinds']
  names = ('operations', 'cuts', 'promised', 'newer', 'named', 'continued')
  return [
    *(_line(row, names) for row in rows),
    f'{sum(row["cuts"] for row in rows):,} power cuts, seed {found["seed"]}, '
    f'{found["minutes"]:.0f} minutes, measured at {found["commit"]}: none lost',
  ]


def io_errors() -> list[str]:
  """docs/trust.md: what is left after calls that fail."""
  found = _found('io_errors')
  rows = found['kinds']
  for row in rows:
    assert row['trials'] == row['said'] + row['repeated'] <= row['calls']
  names = ('calls', 'trials', 'said', 'repeated')
  return [
    *(_line(row, names) for row in rows),
    f'{sum(row["trials"] for row in rows):,} calls that failed, seed '
    f'{found["seed"]}, {found["minutes"]:.0f} minutes, measured at '
    f'{", ".join(found["commits"])}: no fault',
  ]


def _line(row: dict[str, Any], names: tuple[str, ...]) -> str:
  cells = ' | '.join(f'{row[name]:,}' for name in names)
  return f'| {row["kind"]} | {cells} |'


TRUST = (power_cuts, io_errors)
