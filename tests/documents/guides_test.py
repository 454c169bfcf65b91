"""The pages of docs/: their programs run and print what the pages show."""

import re

import pytest
from absl import flags

from recipes.training import catalogue, command_line
from tests.documents import page_programs
from tests.documents.document_numbers import ROOT

_PAGES = sorted(f'docs/{path.name}' for path in ROOT.glob('docs/*.md'))
# The guides.
_GUIDES = (
  *('start', 'pretrained', 'methods', 'from_tfmot', 'keras3', 'tickets'),
  *('faster', 'recipes', 'resume', 'tflite', 'tuner', 'logs', 'results'),
  *('limits', 'faq', 'glossary'),
)
_IS_GUIDE = {f'docs/{word}.md' for word in (*_GUIDES, 'README')}
# Those that the suite runs; the others are long.
_QUICK = {'docs/start.md', 'docs/keras3.md'}
_ON_EACH_BACKEND = {'docs/keras3.md'}
_COMMAND = re.compile(r'python -m (recipes[\w.]*)((?: --\w+(?:=[^\s`]+)?)*)')


def _marked(page):
  marks = [] if page in _QUICK else [pytest.mark.long]
  marks += [pytest.mark.keras3] if page in _ON_EACH_BACKEND else []
  return pytest.param(page, marks=marks)


@pytest.mark.parametrize(
  'page',
  [_marked(page) for page in _PAGES if page_programs.programs(page)],
)
def test_programs_print_what_their_page_shows(page):
  for program, printed in page_programs.run(page):
    if program.shown is not None:
      said = page_programs.difference(program.shown, printed)
      assert not said, f'{page}:{program.line}: {said}'


def test_each_guide_is_there_and_has_a_program():
  for word in _GUIDES:
    page = f'docs/{word}.md'
    assert page in _PAGES
    assert page_programs.programs(page)


@pytest.mark.parametrize('page', _PAGES)
def test_lines_are_short_and_links_lead_somewhere(page):
  text = (ROOT / page).read_text()
  outputs = re.compile(r'^```text\n.*?^```$', re.M | re.S)
  lines = outputs.sub('', text).splitlines()
  words = [line for line in lines if not line.startswith('|')]
  assert page not in _IS_GUIDE or max(map(len, words)) <= 140
  for link in re.findall(r'\]\(([^)\s]+)\)', text):
    path, _, heading = link.partition('#')
    if '://' in link:
      continue
    target = (ROOT / 'docs' / path) if path else ROOT / page
    assert target.exists(), link
    if heading:
      assert heading in _headings(target.read_text()), link


def _headings(text):
  found = re.findall(r'^#+ (.*)$', text, re.M)
  return {re.sub(r'[^\w\- ]', '', h.lower()).replace(' ', '-') for h in found}


def test_another_output_is_noticed():
  same = page_programs.difference
  assert not same('at 0.95 of 1,000\n', 'at 0.93 of 1,001\n')
  assert not same('differ by 3e-07', 'differ by 2e-08')
  assert same('at 0.95', 'at 0.85') and same('at 0.95', 'by 0.95')
  assert same('one\ntwo', 'one') and same('one', 'one\ntwo')


def test_commands_name_programs_and_their_flags():
  flags.FLAGS(['test'])
  sources = '\n'.join(
    path.read_text() for path in (ROOT / 'recipes').rglob('*.py')
  )
  commands = {
    found.groups()
    for page in (*_PAGES, 'README.md')
    for found in _COMMAND.finditer((ROOT / page).read_text())
  }
  assert len(commands) > 20
  for module, words in commands:
    name = module.removeprefix('recipes').lstrip('.')
    path = ROOT / 'recipes' / name.replace('.', '/')
    assert path.with_suffix('.py').exists(), module
    if name in catalogue.NAMES:
      command_line.config_of(catalogue.load(name), words.split())
    for flag in re.findall(r'--(\w+)', words):
      flag_or_off = flag, flag.removeprefix('no')
      assert any(f"'{word}'" in sources for word in flag_or_off), (module, flag)
