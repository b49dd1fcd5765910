/** Boxes of objects in an image. */

/** Corners x1, y1, x2, y2; as fractions of an image 0 is its left or upper edge, 1 its right or lower edge. */
export type Box = readonly [x1: number, y1: number, x2: number, y2: number];

/** Boxes of the objects of each image of a batch. */
export interface TargetBoxes {
  /** Boxes that an image has at most. */
  readonly most: number;
  /**
   * [N, most, 6], flat: class (−1: no box), x centre, y centre, width and height as fractions of the network's input, and 1 for an
   * object (a crowd, a difficult one) that neither loss nor metric counts, else 0.
   */
  readonly values: Float32Array;
}

/** Numbers of one box in `TargetBoxes`. */
export const boxNumbers = 6;

const area = ([x1, y1, x2, y2]: Box): number => Math.max(0, x2 - x1) * Math.max(0, y2 - y1);

function intersection(a: Box, b: Box): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  return width > 0 && height > 0 ? width * height : 0;
}

/** Intersection over union, 0 … 1; 0 of two boxes without area. */
export function iou(a: Box, b: Box): number {
  const common = intersection(a, b);
  return common === 0 ? 0 : common / (area(a) + area(b) - common);
}

/** The part of `box` that lies in `region`, as a fraction of its area: COCO's overlap with a crowd. */
export function coveredBy(box: Box, region: Box): number {
  const common = intersection(box, region);
  return common === 0 ? 0 : common / area(box);
}

/** From a box's centre, width and height. */
export const cornersOf = (x: number, y: number, width: number, height: number): Box => [
  x - width / 2,
  y - height / 2,
  x + width / 2,
  y + height / 2,
];

/** An object of an image. */
export interface TrueBox {
  readonly class: number;
  readonly box: Box;
  /** Neither a hit nor a miss; COCO's crowd, of which any number of detections may be parts. */
  readonly ignore: boolean;
}

/** The objects of one image of a batch. */
export function trueBoxes({most, values}: TargetBoxes, image: number): TrueBox[] {
  return Array.from({length: most}, (_, i) => {
    const start = (image * most + i) * boxNumbers;
    const [kind = -1, x = 0, y = 0, width = 0, height = 0, flag = 0] = values.subarray(start, start + boxNumbers);
    return {class: kind, box: cornersOf(x, y, width, height), ignore: flag === 1};
  }).filter((object) => object.class >= 0);
}
