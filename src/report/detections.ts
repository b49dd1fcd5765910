/** What a detector finds: precision over recall, and images with boxes. */
import {escaped, lineChart, svg, text} from './charts.ts';

type Corners = readonly [x1: number, y1: number, x2: number, y2: number];

export interface BoxedImage {
  /** In pixels of the network's input. */
  readonly width: number;
  readonly height: number;
  /** Data URI. */
  readonly image: string;
  /** Edges as fractions of the image. */
  readonly boxes: readonly {readonly class: number; readonly score: number; readonly box: Corners}[];
  readonly truth: readonly {readonly class: number; readonly box: Corners}[];
}

/** @param curves precision of each class at evenly spaced recalls from 0 to 1 */
export function precisionRecallChart(
  title: string,
  classes: readonly string[],
  curves: readonly {readonly class: number; readonly precision: readonly number[]}[],
): string | undefined {
  const series = curves.map(({class: index, precision}) => ({
    name: classes[index] ?? String(index),
    points: precision.map((value, i) => [i / (precision.length - 1), value] as const),
  }));
  return lineChart(title, series, 'recall');
}

/** The image with what was found in it, and dashed what is there. */
export function boxedImage(
  title: string,
  {boxes, height, image, truth, width}: BoxedImage,
  classes: readonly string[],
): string {
  const shape = ([x1, y1, x2, y2]: Corners, look: string, label: string): string => {
    const [left, top] = [x1 * width, y1 * height];
    const size = `x="${left.toFixed(1)}" y="${top.toFixed(1)}" width="${((x2 - x1) * width).toFixed(1)}" height="${((y2 - y1) * height).toFixed(1)}"`;
    return `<rect class="${look}" ${size}><title>${escaped(label)}</title></rect>`;
  };
  const nameOf = (index: number): string => classes[index] ?? String(index);
  return svg(title, {width, height}, [
    `<image href="${escaped(image)}" width="${width}" height="${height}"/>`,
    ...truth.map(({box, class: index}) => shape(box, 'truth', nameOf(index))),
    ...boxes.map(({box, class: index, score}) => {
      const label = `${nameOf(index)} ${score.toFixed(2)}`;
      const [x1, y1] = box;
      return shape(box, `c${index % 6}`, label) + text(x1 * width + 1, Math.max(8, y1 * height - 2), label, 'start');
    }),
  ]);
}

/** Images in pairs, each with a caption. */
export const boxedPairs = (
  pairs: readonly {readonly caption: string; readonly images: readonly string[]}[],
): string | undefined =>
  pairs.length === 0
    ? undefined
    : pairs
        .map(({caption, images}) => `<p>${escaped(caption)}</p><div class="boxes">${images.join('')}</div>`)
        .join('');
