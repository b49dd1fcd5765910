/** Which class a classifier takes for which, as a heat map. */
import {escaped, svg, text} from './charts.ts';

/** More classes than this need a table. */
export const confusionLimit = 20;
/** Fewer classes than this leave room for numbers. */
const numbered = 12;

const plot = {left: 110, top: 96, right: 510};
const shortened = (name: string): string => (name.length > 14 ? `${name.slice(0, 13)}…` : name);

/**
 * A row for each class, a column for each class that was predicted. Cells are shaded by their share of the row.
 * @param cells [actual, predicted, images]; pairs that are left out have none
 */
export function confusionChart(
  classes: readonly string[],
  cells: readonly (readonly [actual: number, predicted: number, images: number])[],
): string {
  const size = Math.min(36, (plot.right - plot.left) / classes.length);
  const ofRow = new Map<number, number>();
  for (const [actual, , images] of cells) ofRow.set(actual, (ofRow.get(actual) ?? 0) + images);
  const centre = (i: number): number => size * (i + 0.5);
  const rows = classes.map((name, i) => text(plot.left - 8, plot.top + centre(i) + 4, shortened(name), 'end'));
  const columns = classes.map((name, i) => {
    const [x, y] = [plot.left + centre(i) + 4, plot.top - 8];
    return `<text x="${x}" y="${y}" transform="rotate(-90 ${x} ${y})">${escaped(shortened(name))}</text>`;
  });
  const boxes = cells.map(([actual, predicted, images]) => {
    const [x, y] = [plot.left + size * predicted, plot.top + size * actual];
    const share = images / (ofRow.get(actual) ?? images);
    // The root, so that single mistakes are seen.
    const shade = (0.06 + 0.94 * Math.sqrt(share)).toFixed(2);
    const [from, to] = [classes[actual] ?? String(actual), classes[predicted] ?? String(predicted)];
    const label = `${from} taken for ${to}: ${images} image${images === 1 ? '' : 's'} (${(100 * share).toFixed(1)} %)`;
    const color = actual === predicted ? 'f0' : 'f1';
    const box = `<rect class="${color}" x="${x}" y="${y}" width="${size - 1}" height="${size - 1}" fill-opacity="${shade}"><title>${escaped(label)}</title></rect>`;
    const shown = text(x + size / 2, y + size / 2 + 4, String(images), 'middle');
    const number = classes.length > numbered ? '' : share > 0.4 ? shown.replace('<text', '<text class="on"') : shown;
    return box + number;
  });
  const legend = [text(8, 14, 'row: actual', 'start'), text(8, 28, 'column: predicted', 'start')];
  const height = plot.top + size * classes.length + 6;
  return svg('Confusion matrix', {width: 520, height}, [...legend, ...columns, ...rows, ...boxes]);
}
