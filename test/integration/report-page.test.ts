/** The report in headless Chromium: nothing wider than the window, no label over another, no chart without its lines. */
import {execFileSync, spawnSync} from 'node:child_process';
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';

import {bitsOfLayers, bitsOverSteps, lineChart, namedLines} from '../../src/report/charts.ts';
import {figure, html, table} from '../../src/report/page.ts';
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
const empty = [...document.querySelectorAll('svg')]
  .filter((svg) => ![...svg.querySelectorAll('path.line, rect')].some((drawn) => {
    const {width, height} = shown(drawn);
    return width > 0.5 || height > 0.5;
  }))
  .map((svg) => svg.getAttribute('aria-label'));
document.title = JSON.stringify({
  excess: Math.max(0, document.documentElement.scrollWidth - innerWidth), overlaps, empty,
});
</script>`;

const layers = Array.from({length: 20}, (_, i) => `layer${1 + Math.floor(i / 7)}.${i % 7}.conv${1 + (i % 2)}`);
const curve = (name: string, slope: number, steps = 40) => ({
  name,
  points: Array.from({length: steps}, (_, i) => [i * 10, 8 - slope * i] as const),
});

function writePage(name: string): string {
  const file = path.join(folder, name);
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
  writeFileSync(file, page.replace('</body>', `${measure}</body>`));
  return file;
}

(browser === undefined ? test.skip : test).each([[1400], [400]])(
  `in a window of %i pixels: ${title}`,
  (width) => {
    const file = writePage(`${width}.html`);
    const flags = ['--headless', '--no-sandbox', '--disable-gpu', `--window-size=${width},2000`, '--dump-dom'];
    const dom = execFileSync(browser ?? '', [...flags, `file://${file}`], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const found = JSON.parse(/<title>(\{.*?\})<\/title>/.exec(dom)![1]!.replaceAll('&amp;', '&')) as unknown;
    expect(found).toEqual({excess: 0, overlaps: [], empty: []});
    expect(readFileSync(file, 'utf8')).toContain('<svg');
  },
  60_000,
);
