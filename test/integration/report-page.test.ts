/** The report in headless Chromium: nothing wider than the window, no label over another, no chart without its lines. */
import {execFileSync, spawnSync} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';

import {encodePng} from '../../src/data/png.ts';
import {bitsOfLayers, bitsOverSteps, escaped, lineChart, namedLines} from '../../src/report/charts.ts';
import {confusionChart} from '../../src/report/confusion.ts';
import {figure, gallery, html, table} from '../../src/report/page.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const browser = ['chromium', 'chromium-browser', 'google-chrome'].find(
  (name) => spawnSync(name, ['--version']).status === 0,
);
const title = browser === undefined ? 'no Chromium is installed' : browser;
const folder = temporaryFolder();

/** What a page says of itself, as the title that `--dump-dom` prints. */
const measure = `<script>
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
document.title = JSON.stringify({
  excess: Math.max(0, document.documentElement.scrollWidth - innerWidth), overlaps, cut, empty, scrolled, width: innerWidth,
});
parent.document.title = document.title;
</script>`;

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
  return page.replace('</body>', `${measure}</body>`);
}

(browser === undefined ? test.skip : test).each([[1400], [400]])(
  `in a window of %i pixels: ${title}`,
  (width) => {
    // A window of Chromium has at least 500 pixels: the page is in a frame as wide as it is asked to be.
    const frame = `<iframe style="width: ${width}px; height: 2000px; border: 0" srcdoc="${escaped(writePage())}"></iframe>`;
    const file = path.join(folder, `${width}.html`);
    writeFileSync(file, `<!DOCTYPE html><title></title><body style="margin: 0">${frame}</body>`);
    const flags = [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      `--window-size=${Math.max(500, width)},2000`,
      '--dump-dom',
    ];
    const dom = execFileSync(browser ?? '', [...flags, `file://${file}`], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const found = JSON.parse(/<title>(\{.*?\})<\/title>/.exec(dom)![1]!.replaceAll('&amp;', '&')) as unknown;
    expect(found).toEqual({excess: 0, overlaps: [], cut: [], empty: [], scrolled: 0, width});
  },
  60_000,
);
