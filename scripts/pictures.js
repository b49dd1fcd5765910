// Makes the pictures of the docs from one real run, in some minutes: `npm run pictures`. Arguments replace those of `sdq run`:
// `npm run pictures -- --fast-dev-run` takes seconds, to try this script. The terminal becomes SVG (a recording of
// `sdq run`, and the tables at 60, 80 and 200 columns); the report becomes WebP at 1400 and 400 pixels and in the dark style.
// Needs Linux with util-linux (`script` gives a pseudo-terminal), Chromium, and MNIST, which it fetches.
import {spawn} from 'node:child_process';
import {mkdtempSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';

import headless from '@xterm/headless';
import sharp from 'sharp';

import {chromium, screenshot, works} from './headless-chromium.js';

const root = path.resolve(import.meta.dirname, '..');
const images = path.join(root, 'docs/images');
const command = (line) => `"${process.execPath}" "${path.join(root, 'bin/run.js')}" ${line}`;
if (!works('script')) throw new Error('`script` of util-linux is missing');
chromium();

/** Of the terminal, in pixels. */
const cell = {width: 8.4, height: 18, margin: 12};
const colors = ['#6b7280', '#f38ba8', '#a6e3a1', '#f9e2af', '#89b4fa', '#f5c2e7', '#94e2d5', '#cdd6f4'];
/** 9,500 images of MNIST to train on: some 500 steps in all. */
const shortJob = ['data.limit=10000', 'data.validation=500', 'search.epochs=3'].flatMap((setting) => [
  '--set',
  setting,
]);
const folder = mkdtempSync(path.join(tmpdir(), 'sdq-pictures-'));
try {
  await typed('init --template mnist', 80);
  await typed('data fetch mnist', 80);
  const run = await typed(['run', ...(process.argv.length > 2 ? process.argv.slice(2) : shortJob)].join(' '), 80, 30);
  writeFileSync(path.join(images, 'terminal-run.svg'), recording(await frames(run, 80, 30, 24), 80, 30));
  const runs = path.join(folder, '.sdq/runs');
  const [id] = readdirSync(runs);
  const strategy = `.sdq/runs/${id}/strategy.json`;
  for (const columns of [60, 80, 200]) {
    const rows = 60;
    const chunks = [
      ...(await typed('runs list', columns, rows)),
      ...(await typed(`strategy show ${strategy}`, columns, rows)),
    ];
    const [screen] = await frames(chunks, columns, rows, 1);
    const used = screen.findLastIndex((line) => line.length > 0) + 1;
    writeFileSync(path.join(images, `terminal-${columns}.svg`), still(screen.slice(0, used), columns, used));
  }
  const report = path.join(runs, id, 'report.html');
  await photograph(report, 'report-1400', {width: 1400, height: 1500});
  await photograph(report, 'report-dark', {width: 1400, height: 1500, dark: true});
  await photograph(report, 'report-400', {width: 400, height: 1500});
} finally {
  rmSync(folder, {recursive: true, force: true});
}

/** Types `sdq LINE` on a terminal of this size and waits for its end. @returns what the screen was sent, in its order */
async function typed(line, columns, rows = 40) {
  const size = `stty cols ${columns} rows ${rows}`;
  const child = spawn('script', ['-qfec', `${size}; ${command(line)}`, '/dev/null'], {
    cwd: folder,
    env: {
      ...process.env,
      TERM: 'xterm-256color',
      COLORTERM: '',
      FORCE_COLOR: undefined,
      NO_COLOR: undefined,
      CI: undefined,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const chunks = [`\u001b[1m$\u001b[0m sdq ${line}\r\n`];
  child.stdout.on('data', (data) => chunks.push(data));
  const status = await new Promise((resolve) => child.on('close', resolve));
  if (status !== 0)
    throw new Error(`sdq ${line} ended with ${status}:\n${Buffer.concat(chunks.map((chunk) => Buffer.from(chunk)))}`);
  return chunks;
}

/** At most `count` screens, evenly spread over what was sent, the last one among them. A screen is a list of lines of styled spans. */
async function frames(chunks, columns, rows, count) {
  const terminal = new headless.Terminal({cols: columns, rows, allowProposedApi: true});
  const every = Math.max(1, chunks.length / count);
  const screens = [];
  for (const [i, chunk] of chunks.entries()) {
    await new Promise((resolve) => terminal.write(chunk, resolve));
    if (i === chunks.length - 1 || Math.floor((i + 1) / every) > Math.floor(i / every))
      screens.push(screenOf(terminal));
  }
  terminal.dispose();
  return screens.slice(-count);
}

function screenOf(terminal) {
  const buffer = terminal.buffer.active;
  return Array.from({length: terminal.rows}, (_, y) => {
    const line = buffer.getLine(buffer.viewportY + y);
    const text = line?.translateToString(true) ?? '';
    const spans = [];
    for (let x = 0; x < text.length; x += 1) {
      const cell = line.getCell(x);
      const color = cell.isFgDefault() ? -1 : cell.getFgColor();
      const style = `${color} ${cell.isBold() !== 0} ${cell.isDim() !== 0}`;
      const last = spans.at(-1);
      if (last?.style === style) last.text += cell.getChars() || ' ';
      else
        spans.push({style, color, bold: cell.isBold() !== 0, dim: cell.isDim() !== 0, x, text: cell.getChars() || ' '});
    }
    return spans;
  });
}

function lines(screen) {
  const span = ({bold, color, dim, text, x}, y) => {
    if (text.trim() === '') return '';
    const fill = color < 0 ? '' : ` fill="${colors[color % 8]}"`;
    const weight = bold ? ' font-weight="bold"' : '';
    const place = `x="${(x * cell.width).toFixed(1)}" y="${(y + 1) * cell.height}" textLength="${(text.length * cell.width).toFixed(1)}"`;
    const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
    return `<text ${place}${fill}${weight}${dim ? ' opacity="0.6"' : ''}>${escaped}</text>`;
  };
  return screen.flatMap((spans, y) => spans.map((part) => span(part, y))).join('');
}

function widthOf(columns) {
  return Math.ceil(columns * cell.width + 2 * cell.margin);
}

function picture(columns, rows, style, content) {
  const [width, height] = [widthOf(columns), rows * cell.height + 2 * cell.margin];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">
<style>text { font: 14px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #cdd6f4; white-space: pre; }${style}</style>
<rect width="100%" height="100%" rx="8" fill="#1e1e2e"/>
${content}
</svg>
`;
}

function still(screen, columns, rows) {
  return picture(columns, rows, '', `<g transform="translate(${cell.margin} ${cell.margin - 4})">${lines(screen)}</g>`);
}

/** A film strip that moves on by one screen each 0.8 s. The last screen stays for a while, and alone where motion is not wanted. */
function recording(screens, columns, rows) {
  const width = widthOf(columns);
  const hold = 8;
  const count = screens.length + hold;
  const strip = screens.map((screen, i) => `<g id="s${i}" transform="translate(${i * width} 0)">${lines(screen)}</g>`);
  const held = Array.from({length: hold}, (_, i) => `<use href="#s${screens.length - 1}" x="${(i + 1) * width}"/>`);
  const style = `
.film { transform: translateX(${(1 - screens.length) * width}px); animation: film ${0.8 * count}s steps(${count}) infinite; }
@keyframes film { from { transform: translateX(0); } to { transform: translateX(${-count * width}px); } }
@media (prefers-reduced-motion: reduce) { .film { animation: none; } }`;
  const content = `<g transform="translate(${cell.margin} ${cell.margin - 4})"><g class="film">${strip.join('\n')}${held.join('')}</g></g>`;
  return picture(columns, rows, style, content);
}

/** Chromium's windows have at least 500 pixels: the page stands in a frame of the width that is asked for. */
async function photograph(page, name, {dark = false, height, width}) {
  const wrapper = path.join(folder, 'frame.html');
  const shot = path.join(folder, 'shot.png');
  writeFileSync(
    wrapper,
    `<!DOCTYPE html><body style="margin:0"><iframe src="file://${page}" style="border:0;width:${width}px;height:${height}px"></iframe>`,
  );
  screenshot(`file://${wrapper}`, shot, {dark, height, width: Math.max(500, width)});
  await sharp(shot)
    .extract({left: 0, top: 0, width, height})
    .webp({quality: 80, effort: 6})
    .toFile(path.join(images, `${name}.webp`));
}
