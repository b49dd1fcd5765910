/**
 * The report in headless Chromium: nothing wider than the window or the paper, no label over another, no chart without its lines,
 * black on white in print, and values under the pointer.
 */
import {writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';

import {encodePng} from '../../src/data/png.ts';
import {bitsOfLayers, bitsOverSteps, lineChart, namedLines} from '../../src/report/charts.ts';
import {confusionChart} from '../../src/report/confusion.ts';
import {figure, gallery, html, table} from '../../src/report/page.ts';
import {chromium, withPage} from '../helpers/chromium.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const title = chromium ?? 'no Chromium is installed';
const folder = temporaryFolder();

/** What a page says of itself. */
const measure = `(() => {
const shown = (element) => element.getBoundingClientRect();
const overlaps = [];
for (const svg of document.querySelectorAll('svg')) {
  const texts = [...svg.querySelectorAll('text')].map((text) => [text.textContent, shown(text)]);
  texts.forEach(([a, x], i) => texts.slice(i + 1).forEach(([b, y]) => {
    const wide = Math.min(x.right, y.right) - Math.max(x.left, y.left);
    const high = Math.min(x.bottom, y.bottom) - Math.max(x.top, y.top);
    if (wide > 1 && high > 3) overlaps.push(a + ' / ' + b);
  }));
}
const cut = [...document.querySelectorAll('svg text')].filter((text) => {
  const [box, frame] = [shown(text), shown(text.closest('svg'))];
  return box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1;
}).map((text) => text.textContent);
const scrolled = [...document.querySelectorAll('.parts > table')]
  .filter((table) => table.rows[0].cells.length === 7 && table.scrollWidth > table.clientWidth + 1).length;
const empty = [...document.querySelectorAll('svg')]
  .filter((svg) => ![...svg.querySelectorAll('path.line, rect')].some((drawn) => {
    const {width, height} = shown(drawn);
    return width > 0.5 || height > 0.5;
  }))
  .map((svg) => svg.getAttribute('aria-label'));
return {
  excess: Math.max(0, document.documentElement.scrollWidth - innerWidth), overlaps, cut, empty, scrolled, width: innerWidth,
};
})()`;

const layers = Array.from({length: 20}, (_, i) => `layer${1 + Math.floor(i / 7)}.${i % 7}.conv${1 + (i % 2)}`);
const curve = (name: string, slope: number, steps = 40) => ({
  name,
  points: Array.from({length: steps}, (_, i) => [i * 10, 8 - slope * i] as const),
});

const classes = Array.from({length: 20}, (_, i) => (i % 3 === 0 ? `a class with a long name ${i}` : `class ${i}`));
const confusion = (count: number) =>
  Array.from({length: count * count}, (_, i) => [Math.floor(i / count), i % count, 1 + ((i * 7919) % 1000)] as const);
const pixel = `data:image/png;base64,${encodePng(Uint8Array.of(200), 1, 1, 1).toString('base64')}`;

function writePage(): string {
  const page = html({
    title: 'sdq run: resnet20 on cifar10',
    subtitle: '20261130-113229-run-00da · finished',
    tiles: ['full precision', 'quantized', 'mean bits', 'weights'].map((label) => ({
      label,
      value: 'W 3.01 / A 32',
      note: '4.1 × smaller than at 32 bits',
    })),
    sections: [
      {
        heading: 'Charts',
        parts: [
          bitsOfLayers(layers.map((layer, i) => ({name: layer, weightBits: 1 + (i % 8), activationBits: 8}))),
          table(
            ['layer', 'operator', 'weights', 'MACs', 'W', 'A', ''],
            [['layer3.2.conv2', 'Conv', 2_359_296, 115_605_504, 8, 32, 'pinned']],
          ),
          table(
            ['layer', '20261130-113229-run-00da', '20261130-113251-run-1f82'],
            layers.map((layer) => [layer, 'W 8', 'wasm: 1 thread, SIMD, relaxed SIMD, memory limit 4096 MiB']),
          ),
          figure(
            'Bits',
            lineChart('Bits', [curve('20261130-113229-run-00da', 0.1), curve('20261130-113251-run-1f82', 0.2)]),
          ),
          figure('One point', lineChart('One point', [curve('validation', 0.1, 1)])),
          figure(
            'β',
            namedLines(
              'β',
              layers.map((layer, i) => curve(layer, 0.01 * i)),
            ),
            {wide: true},
          ),
          ...[3, 10, 20].map((count) => figure('Confusion', confusionChart(classes.slice(0, count), confusion(count)))),
          figure('Worst', gallery(classes.map((caption) => ({source: pixel, caption}))), {wide: true}),
          figure(
            'Steps',
            bitsOverSteps(
              'Steps',
              layers.map((layer, i) => ({
                name: layer,
                spans: [
                  [0, 8],
                  [20 + i, 4],
                ],
              })),
              400,
            ),
            {wide: true},
          ),
        ],
      },
    ],
  });
  const file = path.join(folder, 'report.html');
  writeFileSync(file, page);
  return file;
}

(chromium === undefined ? describe.skip : describe)(`the report (${title})`, () => {
  const fits = {excess: 0, overlaps: [], cut: [], empty: [], scrolled: 0};

  test.each([[1400], [400]])(
    'in a window of %i pixels',
    async (width) => {
      const found = await withPage(writePage(), width, (page) => page.evaluate(measure));
      expect(found).toEqual({...fits, width});
    },
    60_000,
  );

  test('printed on A4 from a dark screen: dark on white, every chart whole and on one page', async () => {
    // A4 is 794 × 1123 pixels; Chromium's margins are 38 on each side.
    const [width, height] = [794 - 76, 1123 - 76];
    const printed = await withPage(writePage(), width, async (page) => {
      const features = [{name: 'prefers-color-scheme', value: 'dark'}];
      await page.send('Emulation.setEmulatedMedia', {media: 'screen', features});
      const style = `getComputedStyle(document.body).`;
      const dark = await page.evaluate(`${style}backgroundColor`);
      await page.send('Emulation.setEmulatedMedia', {media: 'print', features});
      const {data} = await page.send('Page.printToPDF', {paperWidth: 8.27, paperHeight: 11.69});
      return {
        dark,
        page: await page.evaluate(measure),
        colours: await page.evaluate(
          `[${style}backgroundColor, ${style}color, getComputedStyle(document.documentElement).colorScheme]`,
        ),
        scrolling: await page.evaluate(
          `[...document.querySelectorAll('.parts > *')].filter((part) => part.scrollWidth > part.clientWidth + 1).length`,
        ),
        highest: await page.evaluate(
          `Math.max(...[...document.querySelectorAll('figure:not(:has(.images)), .parts > svg')].map((figure) => figure.offsetHeight ?? figure.getBoundingClientRect().height))`,
        ),
        broken: await page.evaluate(
          `[...document.querySelectorAll('figure, .parts > svg')].filter((figure) => getComputedStyle(figure).breakInside !== 'avoid').length`,
        ),
        pdf: Buffer.from(data as string, 'base64')
          .subarray(0, 5)
          .toString(),
      };
    });
    expect(printed).toEqual({
      dark: 'rgb(22, 25, 29)',
      page: {...fits, width},
      colours: ['rgb(255, 255, 255)', 'rgb(0, 0, 0)', 'light'],
      scrolling: 0,
      highest: expect.any(Number),
      broken: 0,
      pdf: '%PDF-',
    });
    expect(printed.highest).toBeLessThanOrEqual(height);
  }, 60_000);

  test('values appear under the pointer: on a line, a cell of the bits and one of the confusion matrix', async () => {
    const hovered = await withPage(writePage(), 1400, async (page) => {
      const shown = [];
      for (const selector of ['.hit:nth-last-of-type(5)', '.heat', '[aria-label^="Confusion"] rect:has(title)']) {
        const place = (await page.evaluate(`(() => {
          const drawn = document.querySelector('${selector}');
          drawn.scrollIntoView({block: 'center'});
          const {left, top, width, height} = drawn.getBoundingClientRect();
          return {x: left + width / 2, y: top + height / 2};
        })()`)) as {x: number; y: number};
        await page.send('Input.dispatchMouseEvent', {type: 'mouseMoved', ...place});
        shown.push(
          await page.evaluate(`(() => {
            const under = [...document.querySelectorAll(':hover')].at(-1);
            return {text: under.querySelector('title')?.textContent, opacity: getComputedStyle(under).fillOpacity};
          })()`),
        );
      }
      return shown;
    });
    expect(hovered).toEqual([
      {text: expect.stringMatching(/^20261130-113251-run-1f82: [.\d]+ at step \d+$/), opacity: '0.5'},
      {text: expect.stringMatching(/layer1\.0\.conv1.*8 bits/), opacity: expect.any(String)},
      {text: expect.stringContaining('a class with a long name 0'), opacity: expect.any(String)},
    ]);
  }, 60_000);
});
