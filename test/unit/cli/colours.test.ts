import {expect, test} from '@jest/globals';

import {hasColours} from '../../../src/cli/colours.ts';

const terminal = {isTTY: true, hasColors: () => true} as const;
const pipe = {isTTY: false} as unknown as typeof terminal;

test.each([
  ['a terminal', terminal, {TERM: 'xterm-256color'}, true],
  ['a terminal without colours', {isTTY: true, hasColors: () => false} as const, {TERM: 'vt100'}, false],
  ['a dumb terminal', terminal, {TERM: 'dumb'}, false],
  ['a pipe', pipe, {TERM: 'xterm'}, false],
  ['NO_COLOR', terminal, {NO_COLOR: '1', TERM: 'xterm'}, false],
  ['an empty NO_COLOR, which says nothing', terminal, {NO_COLOR: '', TERM: 'xterm'}, true],
  ['FORCE_COLOR in a pipe', pipe, {FORCE_COLOR: '1'}, true],
  ['FORCE_COLOR over NO_COLOR', pipe, {FORCE_COLOR: '1', NO_COLOR: '1'}, true],
  ['FORCE_COLOR=0', terminal, {FORCE_COLOR: '0', TERM: 'xterm'}, false],
])('%s', (_, stream, env, expected) => {
  expect(hasColours(stream, env)).toBe(expected);
});
