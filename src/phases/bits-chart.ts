/** The bits per layer of a strategy as a picture, for the pages of trackers. */
import {existsSync} from 'node:fs';

import type {Strategy} from '../sdq/strategy.ts';

export interface Picture {
  readonly png: Uint8Array;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
}

const width = 720;
const plot = {left: 220, right: 650, top: 40};
const row = {height: 22, bar: 8};
/** A bar of more bits, i.e. of full precision, ends here too; the number beside it tells. */
const widestBits = 8;
const colors = {weights: '#1f5f99', activations: '#e0912f', text: '#333', grid: '#ddd'};

/**
 * Two bars a layer in network order, the bits of its weights above those of its input.
 * @throws Error when `sharp` cannot be loaded
 */
export async function bitsChart({
  layers,
}: {
  readonly layers: readonly Pick<Strategy['layers'][number], 'name' | 'weightBits' | 'activationBits'>[];
}): Promise<Picture> {
  const {default: sharp} = await import('sharp');
  const height = plot.top + row.height * layers.length + 10;
  // Without fonts each text would be a complaint of fontconfig on stderr.
  const hasFonts = process.platform !== 'linux' || existsSync('/etc/fonts/fonts.conf');
  const text = (x: number, y: number, content: string, anchor = 'start'): string =>
    hasFonts ? `<text x="${x}" y="${y}" fill="${colors.text}" text-anchor="${anchor}">${content}</text>` : '';
  const x = (bits: number): number => plot.left + ((plot.right - plot.left) * Math.min(bits, widestBits)) / widestBits;
  const bar = (bits: number, y: number, color: string): string =>
    `<rect x="${plot.left}" y="${y}" width="${x(bits) - plot.left}" height="${row.bar}" fill="${color}"/>`;

  const grid = Array.from({length: widestBits + 1}, (_, bits) => {
    const line = `<path d="M${x(bits)} ${plot.top - 6}V${height - 10}" stroke="${colors.grid}"/>`;
    return line + text(x(bits), plot.top - 10, String(bits), 'middle');
  });
  const rows = layers.map(({activationBits, name, weightBits}, i) => {
    const y = plot.top + row.height * i;
    return [
      text(plot.left - 8, y + 13, escaped(name.length > 28 ? `…${name.slice(-27)}` : name), 'end'),
      bar(weightBits, y + 2, colors.weights),
      bar(activationBits, y + 2 + row.bar, colors.activations),
      text(plot.right + 8, y + 13, `${weightBits} / ${activationBits}`),
    ].join('');
  });
  const colored = (word: keyof typeof colors): string => `<tspan fill="${colors[word]}">${word}</tspan>`;
  const legend = `bits of ${colored('weights')} and ${colored('activations')}`;
  const svg = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    text(10, plot.top - 10, legend),
    ...grid,
    ...rows,
    '</svg>',
  ].join('');
  return {png: await sharp(Buffer.from(svg)).png().toBuffer(), width, height};
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
