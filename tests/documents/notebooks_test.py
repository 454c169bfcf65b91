"""The notebooks: made from their programs, and with what these print and draw.

The suite does not run them; `.ci/notebooks` does, and `--write` makes them.
"""

import json
import re

import pytest

from tests.documents.document_numbers import ROOT

_FOLDER = ROOT / 'docs' / 'notebooks'
_NAMES = sorted(path.stem for path in _FOLDER.glob('*.py'))
_MARK = re.compile(r'^# %%(?: \[(\w+)\])?$', re.M)
_NUMBER = re.compile(r'(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?')
_LINK = re.compile(r'\]\(([^)\s]+)\)')
_CODE = re.compile(r'`[^`]*[A-Za-z][^`]*`')

pytestmark = pytest.mark.parametrize('name', _NAMES)


def _program(name):
  """Returns the kind and the source of each cell, from the percent format."""
  _, *parts = _MARK.split((_FOLDER / f'{name}.py').read_text())
  cells = []
  for kind, source in zip(parts[::2], parts[1::2]):
    source = source.strip('\n')
    if kind == 'markdown':
      source = re.sub('^# ?', '', source, flags=re.M)
    cells.append((kind or 'code', source))
  return cells


def _notebook(name):
  return json.loads((_FOLDER / f'{name}.ipynb').read_text())


def _sources(notebook, kind):
  cells = [cell for cell in notebook['cells'] if cell['cell_type'] == kind]
  return [''.join(cell['source']) for cell in cells]


def _outputs(notebook):
  return [
    output for cell in notebook['cells'] for output in cell.get('outputs', ())
  ]


def _printed(notebook):
  return '\n'.join(
    ''.join(output.get('text', ())) for output in _outputs(notebook)
  )


def _values(text):
  return {float(n.replace(',', '')) for n in _NUMBER.findall(text)}


def test_each_program_has_its_notebook_and_is_listed(name):
  assert len(_NAMES) >= 4
  assert sorted(path.stem for path in _FOLDER.glob('*.ipynb')) == _NAMES
  listed = (ROOT / 'docs' / 'README.md').read_text()
  assert f'](notebooks/{name}.ipynb)' in listed


def test_the_cells_are_those_of_the_program(name):
  cells = [
    (cell['cell_type'], ''.join(cell['source']))
    for cell in _notebook(name)['cells']
  ]
  assert len(cells) > 5
  assert cells == _program(name)


def test_every_cell_was_run_once_and_in_order(name):
  notebook = _notebook(name)
  cells = [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']
  counts = [cell['execution_count'] for cell in cells]
  assert counts == list(range(1, len(cells) + 1))


def test_outputs_are_texts_and_pictures_without_noise(name):
  outputs = _outputs(_notebook(name))
  for output in outputs:
    if output['output_type'] == 'stream':
      assert output['name'] == 'stdout', output
      assert not re.search(r'WARNING|Warning|INFO', ''.join(output['text']))
    else:
      assert output['output_type'] == 'display_data', output
      assert output['data'].keys() == {'image/png', 'text/plain'}
  assert any('data' in output for output in outputs)


def test_a_number_in_the_text_is_printed_or_in_the_program(name):
  notebook = _notebook(name)
  known = _values(_printed(notebook))
  known |= _values('\n'.join(_sources(notebook, 'code')))
  for text in _sources(notebook, 'markdown'):
    words = _CODE.sub('', _LINK.sub(']', text))
    unknown = _values(words) - known
    assert not unknown, f'{unknown} in: {text}'


def test_links_lead_somewhere(name):
  text = '\n'.join(_sources(_notebook(name), 'markdown'))
  links = _LINK.findall(text)
  assert links
  for link in links:
    path, _, heading = link.partition('#')
    assert (_FOLDER / path).is_file(), link
    headings = re.findall('^#+ (.*)$', (_FOLDER / path).read_text(), re.M)
    known = {heading.lower().replace(' ', '-') for heading in headings}
    assert not heading or heading in known, link


def test_nothing_in_the_file_is_of_one_machine_or_run(name):
  notebook = _notebook(name)
  kernel = {'display_name': 'Python 3', 'language': 'python', 'name': 'python3'}
  assert notebook['metadata'] == {
    'kernelspec': kernel,
    'language_info': {'name': 'python'},
  }
  assert all(not cell['metadata'] for cell in notebook['cells'])
  ids = [cell['id'] for cell in notebook['cells']]
  assert ids == [f'cell-{number}' for number in range(1, len(ids) + 1)]
  paths = r'(?:^|[\s\'"=])/(?:tmp|home|root|work|usr|Users|var)/'
  assert not re.search(paths, _printed(notebook))


def test_the_first_cells_say_what_is_needed_and_set_the_seeds(name):
  (_, text), (_, imports), *others = _program(name)
  assert text.startswith('# ') and "pip install '.[data,report]'" in text
  assert 'import tf_unilth' in imports
  code = '\n'.join(source for kind, source in [('code', imports), *others])
  assert 'keras.utils.set_random_seed(' in code
