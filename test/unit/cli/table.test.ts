import {describe, expect, test} from '@jest/globals';

import {bars, table} from '../../../src/cli/table.ts';

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

describe('bars', () => {
  test('are as long as their values, the largest the longest', () => {
    const lengths = bars(
      [
        {name: 'conv1', value: 8},
        {name: 'layer1.0.conv1', value: 2},
        {name: 'layer1.0.conv2', value: 4},
      ],
      'bits',
      80,
    )
      .split('\n')
      .map((line) => line.match(/█/g)!.length);
    expect(lengths).toEqual([40, 10, 20]);
  });

  test('fit the width', () => {
    const text = bars([{name: 'a'.repeat(100), value: 8}], 'bits', 40);
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(40);
  });
});
