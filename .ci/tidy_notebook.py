"""Writes a notebook without what differs from run to run: FROM TO.

Cells get numbers as their names, where jupytext draws names at random. The
metadata keep the kernel and the language, but no times and versions.
"""

import json
import pathlib
import sys


def main() -> None:
  """Reads and writes the files that the command line names."""
  source, target = map(pathlib.Path, sys.argv[1:])
  notebook = json.loads(source.read_text())
  notebook['metadata'] = {
    'kernelspec': notebook['metadata']['kernelspec'],
    'language_info': {'name': 'python'},
  }
  for number, cell in enumerate(notebook['cells'], start=1):
    cell |= {'id': f'cell-{number}', 'metadata': {}}
  text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
  target.write_text(text + '\n')


if __name__ == '__main__':
  main()
