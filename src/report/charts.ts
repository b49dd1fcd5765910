/** Charts as SVG. Colours are CSS variables of the page (page.ts), so that they follow its light and dark style. */
import {scaleLinear, type ScaleLinear} from 'd3-scale';

import {item, last} from '../lookup.ts';

export type Point = readonly [x: number, y: number];

export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
}

interface Frame {
  readonly width: number;
  readonly height: number;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

const frame: Frame = {width: 520, height: 240, left: 52, right: 508, top: 26, bottom: 206};
/** More points than pixels only make the page heavy. */
const pointLimit = 400;
const palette = 6;
/** Places whose values a chart shows under the pointer, and at least how many of each of its lines. */
const hitsPerChart = 200;
const hitsPerLine = 8;

/** Text for HTML and XML, which has no place for control characters. */
export function escaped(text: string): string {
  const shown = text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd');
  return shown.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

const round = (value: number): string => String(Math.round(value * 100) / 100);

/** A curve of any number of points in bounded memory. */
export interface CurveBuilder {
  add(step: number, value: number): void;
  /** All of few points; of many, means of neighbours, the x of each that of the last one it stands for. */
  points(): readonly Point[];
}

/** @param capacity points that are kept apart; with more, pairs of neighbours are joined */
export function createCurve(capacity = 4 * pointLimit): CurveBuilder {
  let parts: {step: number; sum: number; count: number}[] = [];
  let perPart = 1;
  return {
    add(step, value) {
      const last = parts.at(-1);
      if (last !== undefined && last.count < perPart) {
        last.step = step;
        last.sum += value;
        last.count += 1;
        return;
      }
      if (parts.length === capacity) {
        parts = parts.flatMap((first, i) => {
          if (i % 2 === 1) return [];
          const second = parts[i + 1] ?? {step: first.step, sum: 0, count: 0};
          return [{step: second.step, sum: first.sum + second.sum, count: first.count + second.count}];
        });
        perPart *= 2;
      }
      parts.push({step, sum: value, count: 1});
    },
    points: () => parts.map(({step, sum, count}) => [step, sum / count]),
  };
}

/** Means of neighbours, at most `limit` points; the x of each is that of the last one it stands for. */
export function thinned(points: readonly Point[], limit = pointLimit): readonly Point[] {
  if (points.length <= limit) return points;
  return Array.from({length: limit}, (_, i) => {
    const part = points.slice(Math.floor((i * points.length) / limit), Math.floor(((i + 1) * points.length) / limit));
    return [last(part)[0], part.reduce((sum, [, y]) => sum + y, 0) / part.length];
  });
}

/** Room for the names of layers. */
const nameLimit = 24;
const shortened = (name: string): string => (name.length > nameLimit ? `…${name.slice(1 - nameLimit)}` : name);

export function svg(title: string, {height, width}: Pick<Frame, 'height' | 'width'>, parts: readonly string[]): string {
  const open = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(title)}">`;
  return `${open}${parts.join('')}</svg>`;
}

export const text = (x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end'): string =>
  `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${escaped(content)}</text>`;

function domain(values: readonly number[]): [number, number] {
  const least = values.reduce((a, b) => Math.min(a, b), Infinity);
  const greatest = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return least < greatest
    ? [least, greatest]
    : [least - Math.abs(least || 1) / 2, greatest + Math.abs(greatest || 1) / 2];
}

function axes(frame: Frame, x: ScaleLinear<number, number>, y: ScaleLinear<number, number>, xName: string): string[] {
  const xFormat = x.tickFormat(6);
  const yFormat = y.tickFormat(5);
  return [
    ...y.ticks(5).map((tick) => {
      const height = y(tick);
      const line = `<path class="grid" d="M${frame.left} ${round(height)}H${frame.right}"/>`;
      return line + text(frame.left - 6, height + 4, yFormat(tick), 'end');
    }),
    ...x.ticks(6).map((tick) => text(x(tick), frame.bottom + 16, xFormat(tick), 'middle')),
    text((frame.left + frame.right) / 2, frame.bottom + 31, xName, 'middle'),
  ];
}

interface Plot {
  /** Axes and lines. */
  readonly parts: readonly string[];
  /** The series that have a point, and where their lines end. */
  readonly drawn: readonly {readonly name: string; readonly color: string; readonly x: number; readonly y: number}[];
}

/** @param line further classes of the lines */
function plotLines(frame: Frame, series: readonly Series[], line = '', xName = 'step'): Plot | undefined {
  const shown = series
    .filter(({points}) => points.length > 0)
    .map(({name, points}, i) => ({name, points: thinned(points), color: `c${i % palette}`}));
  if (shown.length === 0) return undefined;
  const all = shown.flatMap(({points}) => points);
  const x = scaleLinear(domain(all.map(([value]) => value)), [frame.left, frame.right]);
  const y = scaleLinear(domain(all.map(([, value]) => value)), [frame.bottom, frame.top]).nice(5);
  const lines = shown.map(({color, name, points}) => {
    const d = points.map(([px, py]) => `${round(x(px))} ${round(y(py))}`);
    // A single point would be no line.
    const path = d.length === 1 ? `M${item(d, 0)}h0.1` : `M${d.join('L')}`;
    return `<path class="line ${d.length === 1 ? 'dot ' : line}${color}" d="${path}"><title>${escaped(name)}</title></path>`;
  });
  const hits = shown.flatMap(({name, points}) =>
    thinned(points, Math.max(hitsPerLine, Math.floor(hitsPerChart / shown.length))).map(([px, py]) => {
      const place = xName === 'step' ? Math.round(px) : Number(px.toPrecision(4));
      const label = `${name}: ${Number(py.toPrecision(4))} at ${xName} ${place}`;
      return `<circle class="hit" cx="${round(x(px))}" cy="${round(y(py))}" r="6"><title>${escaped(label)}</title></circle>`;
    }),
  );
  const drawn = shown.map(({color, name, points}) => {
    const [lastX, lastY] = points.at(-1) ?? [0, 0];
    return {name, color, x: x(lastX), y: y(lastY)};
  });
  return {parts: [...axes(frame, x, y, xName), ...lines, ...hits], drawn};
}

/**
 * Lines with a legend above them.
 * @param series those without a point are left out
 * @param xName what x counts
 * @returns undefined where there is nothing to draw
 */
export function lineChart(title: string, series: readonly Series[], xName = 'step'): string | undefined {
  const plot = plotLines(frame, series, '', xName);
  if (plot === undefined) return undefined;
  let left = frame.left;
  const legend = plot.drawn.map(({color, name}) => {
    const key = `<path class="line ${color}" d="M${left} 10h14"/>${text(left + 18, 14, name, 'start')}`;
    left += 34 + 6.5 * name.length;
    return key;
  });
  return svg(title, frame, [...plot.parts, ...legend]);
}

/** Height of a line of text. */
const textRow = 13;

/**
 * Many lines over the steps of a run, the name of each at its end: as high as the names need.
 * @param series those without a point are left out
 * @returns undefined where there is nothing to draw
 */
export function namedLines(title: string, series: readonly Series[]): string | undefined {
  const count = series.filter(({points}) => points.length > 0).length;
  const bottom = frame.top + Math.max(frame.bottom - frame.top, textRow * count);
  const wide: Frame = {...frame, width: 1076, right: 880, bottom, height: bottom + frame.height - frame.bottom};
  const plot = plotLines(wide, series, 'thin ');
  if (plot === undefined) return undefined;
  const sorted = plot.drawn.toSorted((a, b) => a.y - b.y);
  // Each as near to its line as those above it and the room below leave.
  let above = wide.top - textRow;
  const labels = sorted.map(({color, name, x, y}, i) => {
    const lowest = wide.bottom - textRow * (sorted.length - 1 - i);
    above = Math.max(above + textRow, Math.min(y, lowest));
    const lead = `M${round(x)} ${round(y)}L${wide.right + 10} ${round(above)}h6`;
    return `<path class="line lead ${color}" d="${lead}"/>${text(wide.right + 20, above + 4, shortened(name), 'start')}`;
  });
  return svg(title, wide, [...plot.parts, ...labels]);
}

/** A row of a heat map: its value from each x on. */
export interface HeatRow {
  readonly name: string;
  /** Each holds up to the next one's x. */
  readonly spans: readonly Point[];
}

/**
 * Bits of each layer over the steps: the darker, the more bits.
 * @param lastStep of the search; bits that changed there, or behind it, still get a fiftieth of the width
 */
export function bitsOverSteps(title: string, rows: readonly HeatRow[], lastStep: number): string | undefined {
  const drawn = rows.filter(({spans}) => spans.length > 0);
  if (drawn.length === 0) return undefined;
  const row = 16;
  const plot = {left: 150, right: 1040, top: 8};
  const bottom = plot.top + row * drawn.length;
  const start = Math.min(...drawn.map(({spans}) => item(spans, 0)[0]));
  const lastChange = Math.max(...drawn.flatMap(({spans}) => spans.map(([step]) => step)));
  const end = Math.max(lastStep, start + 1, lastChange + (lastChange - start) / 49);
  const x = scaleLinear([start, end], [plot.left, plot.right]);
  const most = Math.max(...drawn.flatMap(({spans}) => spans.map(([, bits]) => bits)));
  const parts = drawn.flatMap(({name, spans}, i) => {
    const top = plot.top + row * i;
    const boxes = spans.map(([from, bits], k) => {
      const until = spans[k + 1]?.[0] ?? end;
      const size = `x="${round(x(from))}" y="${top}" width="${round(x(until) - x(from))}" height="${row - 2}"`;
      const label = `${name}: ${bits} bits from step ${from}`;
      return `<rect class="heat" ${size} fill-opacity="${round(0.08 + (0.92 * bits) / most)}"><title>${escaped(label)}</title></rect>`;
    });
    return [
      text(plot.left - 8, top + 11, shortened(name), 'end'),
      ...boxes,
      text(plot.right + 8, top + 11, String(last(spans)[1]), 'start'),
    ];
  });
  const ticks = x.ticks(8).map((tick) => text(x(tick), bottom + 14, x.tickFormat(8)(tick), 'middle'));
  return svg(title, {width: 1076, height: bottom + 32}, [
    ...parts,
    ...ticks,
    text((plot.left + plot.right) / 2, bottom + 29, 'step', 'middle'),
  ]);
}

export interface LayerBars {
  readonly name: string;
  readonly weightBits: number;
  readonly activationBits: number;
}

/** What is in full precision has no bar; the number beside it tells. */
const widestBits = 8;

/** Two bars a layer in network order, the bits of its weights above those of its input. */
export function bitsOfLayers(layers: readonly LayerBars[]): string {
  const row = 18;
  const plot = {left: 150, right: 460, top: 24};
  const x = scaleLinear([0, widestBits], [plot.left, plot.right]);
  const height = plot.top + row * layers.length + 8;
  const parts = layers.flatMap(({activationBits, name, weightBits}, i) => {
    const top = plot.top + row * i;
    const bar = (bits: number, y: number, color: string): string =>
      bits > widestBits
        ? ''
        : `<rect class="${color}" x="${plot.left}" y="${y}" width="${round(x(bits) - plot.left)}" height="6"/>`;
    return [
      text(plot.left - 8, top + 11, shortened(name), 'end'),
      bar(weightBits, top + 1, 'f0'),
      bar(activationBits, top + 8, 'f1'),
      text(plot.right + 8, top + 11, `${weightBits} / ${activationBits}`, 'start'),
    ];
  });
  const grid = x.ticks(widestBits).map((bits) => {
    const line = `<path class="grid" d="M${round(x(bits))} ${plot.top - 4}V${height - 6}"/>`;
    return line + text(x(bits), plot.top - 8, String(bits), 'middle');
  });
  const legend = `<text x="8" y="${plot.top - 8}"><tspan class="f0">weights</tspan> / <tspan class="f1">inputs</tspan></text>`;
  return svg('Bits of each layer', {width: 520, height}, [legend, ...grid, ...parts]);
}
