import {describe, expect, test} from '@jest/globals';

import {bitBars, table, wrapped} from '../../../src/cli/table.ts';

const columns = [{head: 'name'}, {head: 'bits', align: 'right'}] as const;

describe('table', () => {
  test('aligns its columns under their heads and writes a dash for nothing', () => {
    const rows = [
      ['conv1', 8],
      ['layer1.0.conv1', null],
    ];
    expect(table(columns, rows, 80)).toBe(
      ['name            bits', 'conv1              8', 'layer1.0.conv1     -'].join('\n'),
    );
  });

  test.each([20, 30, 60])('is never wider than %i columns, and keeps its figures whole', (width) => {
    const text = table(columns, [['a'.repeat(100), 12345]], width);
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(width);
    expect(text).toContain('12345');
    expect(text).toContain('…');
  });

  test.each([20, 24, 40])('wraps what is to be read whole at %i columns', (width) => {
    const why = 'Not installed: npm install it beside sdq, and run this again.';
    const text = table([{head: 'name'}, {head: 'why', wrap: true}], [['wasm', why]], width);
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(width);
    expect(text.replace('wasm', '').replaceAll(/\s+/g, ' ')).toContain(why);
  });

  test('shows no control character of a name, nor a line that it would begin', () => {
    const name = 'conv\u001b[31m\n\tfake\u009b1m';
    expect(table(columns, [[name, 8]], 80).split('\n')[1]).toMatch(/^conv�\[31m��fake�1m +8$/);
    expect(bitBars([{name, bits: 8}], 80)).toMatch(/^conv�\[31m��fake�1m {2}█+ 8 bits$/);
  });

  test('cuts other columns before a word of a wrapped one', () => {
    const text = table(
      [{head: 'name'}, {head: 'why', wrap: true}],
      [['a'.repeat(30), `npm install ${'b'.repeat(20)}`]],
      40,
    );
    expect(text).toContain('b'.repeat(20));
    expect(text).toContain(`${'a'.repeat(17)}…`);
  });

  test('splits a word that is longer than its column, such as a path', () => {
    const text = table([{head: 'what'}, {head: 'value', wrap: true}], [['folder', `/${'x'.repeat(70)}`]], 50);
    expect(text.replaceAll(/\s/g, '')).toContain('x'.repeat(70));
  });

  test('is not cut where there is no terminal', () => {
    expect(table(columns, [['a'.repeat(300), 1]])).toContain('a'.repeat(300));
  });
});

test('at 60 columns ids are whole, and columns that matter less are left out', () => {
  const id = '20261129-235746-run-1a2b';
  const text = table(
    [
      {head: 'run', keep: true},
      {head: 'status', keep: true},
      {head: 'model', optional: true},
      {head: 'started', keep: true, optional: true},
      {head: 'W bits', align: 'right'},
      {head: 'accuracy %', align: 'right'},
    ],
    [[id, 'interrupted', 'mobilenet-v2', '2026-11-29 23:57', '7.04', '100.00']],
    60,
  );
  for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(60);
  expect(text).toContain(id);
  expect(text).toContain('interrupted');
  expect(text).not.toContain('started');
});

describe('bars of bits', () => {
  test('are as long as their values, the largest the longest', () => {
    const lines = bitBars(
      [
        {name: 'conv1', bits: 8},
        {name: 'layer1.0.conv1', bits: 1},
        {name: 'layer1.0.conv2', bits: 4},
      ],
      80,
    ).split('\n');
    expect(lines.map((line) => line.match(/█/g)!.length)).toEqual([40, 5, 20]);
    expect(lines.map((line) => line.match(/ (\d bits?)$/)![1])).toEqual(['8 bits', '1 bit', '4 bits']);
  });

  test('fit the width', () => {
    const text = bitBars([{name: 'a'.repeat(100), bits: 8}], 40);
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(40);
  });
});

test('a sentence is broken at spaces; without a terminal it stays one line', () => {
  const text = 'W 7.50 / A 8: mean bits of 8 quantized layers, 7.500 without the pinned ones.';
  expect(wrapped(text, 60)).toBe('W 7.50 / A 8: mean bits of 8 quantized layers, 7.500 without\nthe pinned ones.');
  expect(wrapped(text, 5).split('\n')).toContain('quantized');
  expect(wrapped(text)).toBe(text);
});
