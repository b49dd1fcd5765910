/** What a classifier gets wrong: how often it takes which class for which, and its worst images. */
import {item} from '../lookup.ts';

/** An image that the network takes for another class. */
export interface WrongImage {
  /** Its place in the split, from 0. */
  readonly index: number;
  /** Classes by index. */
  readonly actual: number;
  readonly predicted: number;
  /** Softmax of the predicted class's output. */
  readonly probability: number;
  /** [height · width · channels], as the network saw it: normalised. */
  readonly pixels: Float32Array;
}

export interface Mistakes {
  readonly samples: number;
  /** [actual, predicted, images], each pair of classes that occurred, sorted. */
  readonly confusion: readonly (readonly [actual: number, predicted: number, images: number])[];
  /** Those whose own class got the smallest softmax first. */
  readonly worst: readonly WrongImage[];
}

export interface MistakeCounter {
  /**
   * @param outputs of the network; the first is logits, flat, [N, classes]
   * @param batch `images` is flat, [N, height · width · channels]
   */
  add(outputs: readonly Float32Array[], batch: {readonly images: Float32Array; readonly labels: Int32Array}): void;
  result(): Mistakes;
}

/** @param limit of the worst images that are kept */
export function countMistakes(limit: number): MistakeCounter {
  const counts = new Map<number, Map<number, number>>();
  let worst: (WrongImage & {readonly ofActual: number})[] = [];
  let samples = 0;
  return {
    add([logits = new Float32Array()], {images, labels}) {
      const classes = logits.length / labels.length;
      const pixels = images.length / labels.length;
      for (const [i, actual] of labels.entries()) {
        const {ofActual, predicted, probability} = judged(logits.subarray(i * classes, (i + 1) * classes), actual);
        const row = counts.get(actual) ?? new Map<number, number>();
        counts.set(actual, row.set(predicted, (row.get(predicted) ?? 0) + 1));
        const enters = worst.length < limit || ofActual < (worst.at(-1)?.ofActual ?? Infinity);
        if (predicted !== actual && enters) {
          const image = images.slice(i * pixels, (i + 1) * pixels);
          const entry = {index: samples + i, actual, predicted, probability, ofActual, pixels: image};
          worst = [...worst, entry].toSorted((a, b) => a.ofActual - b.ofActual).slice(0, limit);
        }
      }
      samples += labels.length;
    },
    result: () => ({
      samples,
      confusion: [...counts]
        .flatMap(([actual, row]) => [...row].map(([predicted, n]) => [actual, predicted, n] as const))
        .toSorted((a, b) => a[0] - b[0] || a[1] - b[1]),
      worst: worst.map(({ofActual: _, ...image}) => image),
    }),
  };
}

/** The class of the highest logit (of equal ones the first), its softmax, and that of the actual class. */
function judged(logits: Float32Array, actual: number): {predicted: number; probability: number; ofActual: number} {
  const highest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - highest), 0);
  return {
    predicted: Math.max(0, logits.indexOf(highest)),
    probability: 1 / sum,
    ofActual: Math.exp(item(logits, actual) - highest) / sum,
  };
}
