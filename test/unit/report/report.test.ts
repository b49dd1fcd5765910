import {describe, expect, test} from '@jest/globals';
import sharp from 'sharp';

import {
  bitsOfLayers,
  bitsOverSteps,
  createCurve,
  lineChart,
  namedLines,
  thinned,
  type Point,
} from '../../../src/report/charts.ts';
import {figure, folded, html, table} from '../../../src/report/page.ts';

/** Another reader of SVG: it throws where the text is no XML. */
async function size(svg: string): Promise<{width: number | undefined; height: number | undefined}> {
  const {height, width} = await sharp(Buffer.from(svg)).metadata();
  return {width, height};
}

const line = (count: number, y: (i: number) => number): Point[] => Array.from({length: count}, (_, i) => [i, y(i)]);

describe('thinned', () => {
  test('leaves few points as they are', () => {
    const points = line(5, (i) => i * i);
    expect(thinned(points, 5)).toBe(points);
  });

  test('means of neighbours, at the last of them, and all points counted', () => {
    expect(
      thinned(
        line(6, (i) => i),
        3,
      ),
    ).toEqual([
      [1, 0.5],
      [3, 2.5],
      [5, 4.5],
    ]);
    const many = thinned(line(100_003, () => 7));
    expect(many).toHaveLength(400);
    expect(many.at(-1)).toEqual([100_002, 7]);
  });
});

describe('createCurve', () => {
  const curve = (count: number, capacity: number): readonly Point[] => {
    const built = createCurve(capacity);
    for (let i = 0; i < count; i++) built.add(i, i);
    return built.points();
  };

  test('keeps few points as they are', () => expect(curve(4, 4)).toEqual(line(4, (i) => i)));

  test('joins neighbours of many, each mean over as many points as it stands for, in bounded memory', () => {
    expect(curve(6, 4)).toEqual([[1, 0.5], [3, 2.5], [5, 4.5]]); // prettier-ignore
    expect(curve(9, 4)).toEqual([[3, 1.5], [7, 5.5], [8, 8]]); // prettier-ignore
    for (const count of [17, 100, 1001]) {
      const points = curve(count, 16);
      expect(points.length).toBeLessThanOrEqual(16);
      expect(points.at(-1)![0]).toBe(count - 1);
      // The means, weighted by the points that they stand for, have the mean of all.
      let [sum, before] = [0, -1];
      for (const [step, value] of points) {
        sum += value * (step - before);
        before = step;
      }
      expect(sum / count).toBeCloseTo((count - 1) / 2, 9);
    }
  });
});

describe('lineChart', () => {
  const lines = (svg: string): string[] =>
    [...svg.matchAll(/<path class="line [^"]*" d="([^"]*)"><title>/g)].map(([, d]) => d!);

  test('places points between the axes, the largest above', async () => {
    const svg = lineChart('T', [{name: 'a', points: [[0, 0], [5, 10], [10, 0]]}])!; // prettier-ignore
    expect(lines(svg)).toEqual(['M52 206L280 26L508 206']);
    expect(await size(svg)).toEqual({width: 520, height: 240});
  });

  test('a constant, a single point, and values below 0 have a place too', () => {
    for (const points of [line(3, () => 0), line(3, () => -4), line(1, () => 2), line(4, (i) => -i)]) {
      const [d] = lines(lineChart('T', [{name: 'a', points}])!);
      for (const [, x, y] of d!.matchAll(/([\d.-]+) ([\d.-]+)/g)) {
        expect(Number(x)).toBeGreaterThanOrEqual(52);
        expect(Number(x)).toBeLessThanOrEqual(508);
        expect(Number(y)).toBeGreaterThanOrEqual(26);
        expect(Number(y)).toBeLessThanOrEqual(206);
      }
    }
  });

  test('series without a point are left out, and a chart without one', () => {
    const svg = lineChart('T', [
      {name: 'empty', points: []},
      {name: 'full', points: line(3, (i) => i)},
    ])!;
    expect(svg).toContain('>full<');
    expect(svg).not.toContain('empty');
    expect(lineChart('T', [{name: 'empty', points: []}])).toBeUndefined();
  });

  test('names that are markup are text', async () => {
    const svg = lineChart('a "title" & <more>', [{name: '<b>&"\u001b', points: line(3, (i) => i)}])!;
    expect(svg).not.toContain('<b>');
    expect(await size(svg)).toEqual({width: 520, height: 240});
  });
});

describe('namedLines', () => {
  const labels = (svg: string): {name: string; y: number}[] =>
    [...svg.matchAll(/<text x="900" y="([\d.-]+)" text-anchor="start">([^<]*)/g)].map(([, y, name]) => {
      return {name: name!, y: Number(y)};
    });

  test('names every line at its end, in the order of the ends, without overlap and inside the picture', async () => {
    const series = Array.from({length: 53}, (_, i) => ({name: `layer${i}`, points: line(4, (x) => (x * (i % 5)) / 5)}));
    const svg = namedLines('T', [...series, {name: 'empty', points: []}])!;
    const found = labels(svg);
    expect(found.map(({name}) => name).toSorted()).toEqual(series.map(({name}) => name).toSorted());
    const ends = found.map(({name}) => series.find((each) => each.name === name)!.points.at(-1)![1]);
    expect(ends).toEqual(ends.toSorted((a, b) => b - a));
    found.slice(1).forEach(({y}, i) => expect(y - found[i]!.y).toBeGreaterThanOrEqual(12.9));
    const {height} = await size(svg);
    expect(found.at(-1)!.y).toBeLessThan(height! - 20);
    expect(svg).not.toContain('empty');
  });

  test('few lines that end far apart have their names beside them', () => {
    const svg = namedLines('T', [{name: 'low', points: [[0, 1], [9, 0]]}, {name: 'high', points: [[0, 0], [9, 1]]}])!; // prettier-ignore
    expect(labels(svg)).toEqual([
      {name: 'high', y: 26 + 4},
      {name: 'low', y: 206 + 4},
    ]);
    expect(namedLines('T', [])).toBeUndefined();
  });
});

test('bits over the steps: a change in the last step, or behind it, is seen, and no box has a negative width', () => {
  const rows = [
    {name: 'one', spans: [[0, 8], [98, 4]]}, // prettier-ignore
    {name: 'two', spans: [[0, 8], [90, 2], [95, 3]]}, // prettier-ignore
  ] as const;
  const svg = bitsOverSteps('T', rows, 89)!;
  const boxes = [...svg.matchAll(/<rect class="heat" x="([\d.]+)" y="\d+" width="([\d.-]+)" [^>]*><title>([^<]*)/g)];
  expect(boxes.map(([, x, width, title]) => [Number(x), Number(width), title])).toEqual([
    [150, 872.2, 'one: 8 bits from step 0'],
    [1022.2, 17.8, 'one: 4 bits from step 98'],
    [150, 801, 'two: 8 bits from step 0'],
    [951, 44.5, 'two: 2 bits from step 90'],
    [995.5, 44.5, 'two: 3 bits from step 95'],
  ]);
});

test('bits over the steps: a box for each stretch, up to the next one', async () => {
  const rows = [
    {name: 'one', spans: [[10, 8], [20, 4]]}, // prettier-ignore
    {name: 'none', spans: []},
    {name: 'two', spans: [[10, 2]]}, // prettier-ignore
  ] as const;
  const svg = bitsOverSteps('T', rows, 30)!;
  const boxes = [...svg.matchAll(/<rect class="heat" x="([\d.]+)" y="\d+" width="([\d.]+)" [^>]*><title>([^<]*)/g)];
  expect(boxes.map(([, x, width, title]) => [Number(x), Number(width), title])).toEqual([
    [150, 445, 'one: 8 bits from step 10'],
    [595, 445, 'one: 4 bits from step 20'],
    [150, 890, 'two: 2 bits from step 10'],
  ]);
  expect(await size(svg)).toEqual({width: 1076, height: 8 + 2 * 16 + 32});
  expect(bitsOverSteps('T', [], 30)).toBeUndefined();
});

test('bits of layers: bars as long as bits, none in full precision, long names from their end', async () => {
  const svg = bitsOfLayers([
    {name: 'conv1', weightBits: 8, activationBits: 32},
    {name: 'a-block.with.a.very.long.name.conv2', weightBits: 2, activationBits: 4},
  ]);
  const bars = [...svg.matchAll(/<rect class="(f\d)" [^>]*width="([\d.]+)"/g)].map(([, color, width]) => [
    color,
    width,
  ]);
  expect(bars).toEqual([
    ['f0', '310'],
    ['f0', '77.5'],
    ['f1', '155'],
  ]);
  expect(svg).toContain('>8 / 32<');
  expect(svg).toContain('>….a.very.long.name.conv2<');
  expect(await size(svg)).toEqual({width: 520, height: 24 + 2 * 18 + 8});
});

describe('html', () => {
  test('escapes all texts, leaves out what has nothing to show, and closes what it opens', () => {
    const page = html({
      title: 'a <b>',
      subtitle: '"x" & y',
      tiles: [{label: '<l>', value: '<v>', note: '<n>'}],
      sections: [
        {heading: 'empty', parts: [undefined, figure('nothing', undefined)]},
        {heading: '<h>', note: '<o>', parts: [table(['<t>'], [['<c>', 1234.5]]), folded('<s>', '</pre>&')]},
      ],
    });
    expect(page).not.toContain('empty');
    expect(page).toContain('<td class="number">1,234.5</td>');
    for (const raw of ['<b>', '<l>', '<v>', '<n>', '<h>', '<o>', '<t>', '<c>', '<s>', '</pre>&']) {
      // The tile has a <b> of its own.
      if (raw !== '<b>') expect(page).not.toContain(raw);
    }
    expect(page).toContain('<h1>a &lt;b&gt;</h1>');
    const open: string[] = [];
    for (const [, end, name, own] of page.matchAll(/<(\/?)([a-z][a-z0-9]*)[^>]*?(\/?)>/g)) {
      if (end === '/') expect(open.pop()).toBe(name);
      else if (own !== '/') open.push(name!);
    }
    expect(open).toEqual([]);
    expect(page).not.toMatch(/<script|src=|https?:/);
  });
});
