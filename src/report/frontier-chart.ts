/** The picture of a frontier, an SVG file that is complete by itself: the metric over the cost, a line for each method. */
import {scaleLinear} from 'd3-scale';

import {escaped} from './charts.ts';

interface ChartPoint {
  readonly method: string;
  readonly cost: number;
  readonly value: number;
  /** Half the length of the bar through the point; null for none. */
  readonly deviation: number | null;
  /** Drawn hollow. */
  readonly isDominated: boolean;
}

export interface FrontierChart {
  /** E.g. `mean weight bits`. */
  readonly xLabel: string;
  /** E.g. `test accuracy %`. */
  readonly yLabel: string;
  /** By method, then by cost. */
  readonly points: readonly ChartPoint[];
  /** A line across: the full-precision network. */
  readonly reference: number | null;
}

const size = {width: 640, height: 400, left: 64, right: 620, top: 40, bottom: 352};
const colors = ['#1f77b4', '#d95f02', '#2e8b57', '#b03a5b', '#7a5fb0', '#777777'];

const round = (value: number): string => String(Math.round(value * 100) / 100);

/** @throws Error without a point */
export function frontierChart({points, reference, xLabel, yLabel}: FrontierChart): string {
  const values = points.flatMap(({deviation, value}) => [value - (deviation ?? 0), value + (deviation ?? 0)]);
  const x = scaleLinear(spread(points.map(({cost}) => cost)), [size.left, size.right]).nice();
  const y = scaleLinear(spread([...values, ...(reference === null ? [] : [reference])]), [
    size.bottom,
    size.top,
  ]).nice();
  const methods = [...new Set(points.map(({method}) => method))];
  const parts = [
    ...y.ticks(6).map((tick) => {
      const line = `<path class="grid" d="M${size.left} ${round(y(tick))}H${size.right}"/>`;
      return line + text(size.left - 6, y(tick) + 4, y.tickFormat(6)(tick), 'end');
    }),
    ...x.ticks(8).map((tick) => text(x(tick), size.bottom + 18, x.tickFormat(8)(tick), 'middle')),
    text((size.left + size.right) / 2, size.bottom + 38, xLabel, 'middle'),
    text(12, 18, yLabel, 'start'),
  ];
  if (reference !== null) {
    const level = round(y(reference));
    parts.push(`<path class="reference" d="M${size.left} ${level}H${size.right}"><title>full precision</title></path>`);
    parts.push(text(size.right, y(reference) - 5, 'full precision', 'end'));
  }
  methods.forEach((method, m) => {
    const color = colors[m % colors.length] ?? '';
    const shown = points.filter((point) => point.method === method);
    const line = shown.map(({cost, value}) => `${round(x(cost))} ${round(y(value))}`).join('L');
    parts.push(`<path class="line" stroke="${color}" d="M${line}"/>`);
    for (const {cost, deviation, isDominated, value} of shown) {
      const [px, py] = [round(x(cost)), round(y(value))];
      if (deviation !== null)
        parts.push(
          `<path stroke="${color}" d="M${px} ${round(y(value - deviation))}V${round(y(value + deviation))}"/>`,
        );
      const label = `${method}: ${value.toPrecision(5)} at ${cost.toPrecision(4)} ${xLabel}`;
      const fill = isDominated ? 'class="hollow"' : `fill="${color}"`;
      parts.push(
        `<circle ${fill} stroke="${color}" cx="${px}" cy="${py}" r="4"><title>${escaped(label)}</title></circle>`,
      );
    }
  });
  const widest = Math.max(...methods.map(({length}) => length));
  methods.forEach((method, m) => {
    const top = size.bottom - 16 * (methods.length - m) + 4;
    const left = size.right - 26 - 7 * widest;
    parts.push(`<circle fill="${colors[m % colors.length] ?? ''}" cx="${left}" cy="${top - 4}" r="4"/>`);
    parts.push(text(left + 10, top, method, 'start'));
  });
  const label = `${yLabel} over ${xLabel}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="${escaped(label)}">
<style>
svg { background: #fff; font: 12px system-ui, sans-serif; } text { fill: #222; } .grid { stroke: #d8dce2; }
.line { fill: none; stroke-width: 1.8; } .reference { stroke: #667; stroke-dasharray: 5 4; } .hollow { fill: #fff; }
@media (prefers-color-scheme: dark) { svg { background: #16191d; } text { fill: #e4e6ea; } .grid { stroke: #3a4048; } .hollow { fill: #16191d; } }
</style>
${parts.join('\n')}
</svg>
`;
}

const text = (x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end'): string =>
  `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${escaped(content)}</text>`;

/** The least and the greatest, apart from each other. */
function spread(values: readonly number[]): [number, number] {
  if (values.length === 0) throw new Error('a chart without a point');
  const [least, greatest] = [Math.min(...values), Math.max(...values)];
  const margin = (greatest - least) / 20 || Math.abs(least) / 20 || 1;
  return [least - margin, greatest + margin];
}
