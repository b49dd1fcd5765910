/** Sizes of anchors that fit the boxes of a data set (Redmon and Farhadi 2017, section 2): k-means with 1 − IoU as the distance. */
import {item} from '../lookup.ts';
import {uniform} from '../random.ts';

type Size = readonly [width: number, height: number];

/** [ours] The best of so many starts is taken; each ends when no box changes its cluster, or after so many rounds. */
const starts = 10;
const rounds = 100;

/** Of two boxes with a common corner. */
function sizeIou(a: Size, b: Size): number {
  const common = Math.min(a[0], b[0]) * Math.min(a[1], b[1]);
  return common / (a[0] * a[1] + b[0] * b[1] - common);
}

/** Which of the sizes is most similar; of equal ones the first. */
export function nearest(size: Size, centres: readonly Size[]): {readonly index: number; readonly iou: number} {
  let best = {index: 0, iou: -1};
  centres.forEach((centre, index) => {
    const iou = sizeIou(size, centre);
    if (iou > best.iou) best = {index, iou};
  });
  return best;
}

/**
 * A pure function of its arguments.
 * @param sizes at least one, all above 0
 * @returns `count` sizes, the smallest area first
 */
export function kMeansAnchors(sizes: readonly Size[], count: number): Size[] {
  const runs = Array.from({length: starts}, (_, start) => cluster(sizes, count, start));
  const [best] = runs.toSorted((a, b) => b.fit - a.fit);
  return (best?.centres ?? []).toSorted((a, b) => a[0] * a[1] - b[0] * b[1]);
}

function cluster(sizes: readonly Size[], count: number, start: number): {centres: Size[]; fit: number} {
  const draw = uniform(start, 'anchors');
  const pick = (weights: readonly number[]): Size => {
    let left = draw() * weights.reduce((sum, weight) => sum + weight, 0);
    const index = weights.findIndex((weight) => (left -= weight) < 0);
    return item(sizes, Math.max(0, index));
  };
  // k-means++ (Arthur and Vassilvitskii 2007): far from those that are there.
  let centres = [pick(sizes.map(() => 1))];
  while (centres.length < count) centres.push(pick(sizes.map((size) => (1 - nearest(size, centres).iou) ** 2)));
  let before: readonly number[] = [];
  for (let round = 0; round < rounds; round++) {
    const clusters = sizes.map((size) => nearest(size, centres).index);
    if (clusters.every((index, i) => index === before[i])) break;
    before = clusters;
    centres = centres.map((centre, index) => {
      const members = sizes.filter((_, i) => clusters[i] === index);
      if (members.length === 0) return centre;
      const meanOf = (side: 0 | 1): number => members.reduce((sum, size) => sum + size[side], 0) / members.length;
      return [meanOf(0), meanOf(1)];
    });
  }
  return {centres, fit: sizes.reduce((sum, size) => sum + nearest(size, centres).iou, 0)};
}
