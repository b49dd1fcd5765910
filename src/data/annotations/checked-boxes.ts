/** Annotated boxes as a data set has them: inside the image, with an area, of known classes, in arrays that threads share. */
import type {Box} from '../../detection/boxes.ts';
import {item} from '../../lookup.ts';
import type {SplitBoxes} from '../dataset.ts';
import {annotationFault, type AnnotatedBox, type ReportFault, type SizedImage} from './annotated-image.ts';

/** What is done with boxes that cannot be used as they are written. */
export interface BoxRules {
  readonly withoutArea: 'drop' | 'refuse';
  /** Of boxes that leave the image by more than the tolerance. */
  readonly outside: 'clip' | 'drop' | 'refuse';
  readonly unknownClass: 'drop' | 'refuse';
}

/** Pixels by which a box may leave its image: annotation tools round. It is clipped. */
const tolerancePixels = 1;

/** Boxes that were left out or clipped, for each reason: how many, and where the first ones are. */
export class BoxNotices {
  readonly #counts = new Map<string, {count: number; readonly places: string[]}>();

  add(what: string, place: string): void {
    const known = this.#counts.get(what) ?? {count: 0, places: []};
    known.count += 1;
    if (known.places.length < 3) known.places.push(place);
    this.#counts.set(what, known);
  }

  /** A sentence for each reason. */
  sentences(): string[] {
    return [...this.#counts].map(([what, {count, places}]) => {
      const more = count > places.length ? ` and ${count - places.length} more` : '';
      return `${count} ${count === 1 ? 'box' : 'boxes'} ${what}: ${places.join('; ')}${more}.`;
    });
  }
}

/**
 * The boxes of the images that fit `rules`.
 * @param classes in the order of their indices
 * @param report receives each box that is refused
 */
export function checkedBoxes(
  images: readonly SizedImage[],
  classes: readonly string[],
  rules: BoxRules,
  {notices, report}: {readonly notices: BoxNotices; readonly report: ReportFault},
): SplitBoxes {
  const indices = new Map(classes.map((name, index) => [name, index]));
  const kept: {readonly index: number; readonly corners: Box; readonly ignore: boolean}[] = [];
  const offsets = new Uint32Array(new SharedArrayBuffer(4 * (images.length + 1)));
  const sizes = new Uint32Array(new SharedArrayBuffer(8 * images.length));
  for (const [place, image] of images.entries()) {
    sizes.set([image.size.width, image.size.height], 2 * place);
    for (const box of image.boxes) {
      const judged = judge(box, image, indices, rules);
      if ('refused' in judged) {
        report(annotationFault(image.source, `, ${box.place}: ${judged.refused}`, judged.suggestions));
        continue;
      }
      if (judged.notice !== undefined) notices.add(judged.notice, `${image.source}, ${box.place}`);
      if (judged.corners !== undefined) kept.push({index: judged.index, corners: judged.corners, ignore: box.ignore});
    }
    offsets[place + 1] = kept.length;
  }
  const arrays = {
    offsets,
    sizes,
    classes: new Uint16Array(new SharedArrayBuffer(2 * kept.length)),
    corners: new Float32Array(new SharedArrayBuffer(16 * kept.length)),
    ignore: new Uint8Array(new SharedArrayBuffer(kept.length)),
  };
  for (const [place, {corners, ignore, index}] of kept.entries()) {
    arrays.classes[place] = index;
    arrays.corners.set(corners, 4 * place);
    arrays.ignore[place] = Number(ignore);
  }
  return arrays;
}

type Verdict =
  | {readonly refused: string; readonly suggestions: readonly string[]}
  | {readonly index: number; readonly corners?: Box; readonly notice?: string};

function judge(
  {className, corners}: AnnotatedBox,
  {size}: SizedImage,
  indices: ReadonlyMap<string, number>,
  rules: BoxRules,
): Verdict {
  const option = (name: keyof BoxRules, value: string): string => `--set data.options.${name}=${value}`;
  const index = indices.get(className);
  if (index === undefined) {
    if (rules.unknownClass === 'drop') return {index: -1, notice: `of the class ${JSON.stringify(className)} left out`};
    const known = [...indices.keys()].slice(0, 12).join(', ');
    return {
      refused: `the class ${JSON.stringify(className)} is unknown. Known: ${known}.`,
      suggestions: [option('unknownClass', 'drop'), 'Or name all classes in data.options.classes.'],
    };
  }
  const shown = `(${pixels(corners, size)})`;
  const [left, top, right, bottom] = corners;
  if (!(right > left && bottom > top)) {
    return rules.withoutArea === 'drop'
      ? {index, notice: 'without area left out'}
      : {refused: `the box ${shown} has no area.`, suggestions: [option('withoutArea', 'drop')]};
  }
  const clipped = corners.map((edge) => Math.min(1, Math.max(0, edge))) as unknown as Box;
  const slack = 1e-9; // of the division by the size
  const tolerance = [tolerancePixels / size.width + slack, tolerancePixels / size.height + slack];
  const isWithin = corners.every((edge, i) => Math.abs(edge - item(clipped, i)) <= item(tolerance, i % 2));
  const hasRest = item(clipped, 2) > item(clipped, 0) && item(clipped, 3) > item(clipped, 1);
  if (isWithin && hasRest) return {index, corners: clipped};
  if (rules.outside === 'refuse') {
    const where = hasRest ? 'leaves' : 'is outside of';
    return {
      refused: `the box ${shown} ${where} the image of ${size.width} × ${size.height} pixels.`,
      suggestions: [option('outside', 'clip'), option('outside', 'drop')],
    };
  }
  if (rules.outside === 'clip' && hasRest) return {index, corners: clipped, notice: 'outside the image clipped'};
  return {index, notice: 'outside the image left out'};
}

/** left, top, right, bottom in pixels */
function pixels(corners: Box, size: SizedImage['size']): string {
  const scaled = corners.map((edge, i) => edge * (i % 2 === 0 ? size.width : size.height));
  return scaled.map((edge) => Number(edge.toPrecision(6))).join(', ');
}
