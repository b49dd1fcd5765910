/** Which images belong to training, validation and test. */
import {invalidInput} from '../errors.ts';
import {sampleNoun, type Dataset} from './dataset.ts';

export type Part = 'train' | 'validation' | 'test';

/** Images `start` … `end` − 1 of a split. */
export interface PartRange {
  readonly split: 'train' | 'test';
  readonly start: number;
  readonly end: number;
}

/**
 * The validation images are the last `validation` of the train split (below 1: that share of it): every choice is made on them, and the test split
 * is read for the final figure only.
 * @throws SdqError (exit 3) when the part would have no image
 */
export function partRange(dataset: Dataset, part: Part, validation: number): PartRange {
  if (part === 'test') return {split: 'test', start: 0, end: dataset.test.labels.length};
  const count = dataset.train.labels.length;
  const held = validation > 0 && validation < 1 ? Math.max(1, Math.round(validation * count)) : validation;
  if (!Number.isInteger(held) || held < 0 || held >= count) {
    throw invalidInput(
      'validation-out-of-range',
      `data.validation is ${validation}; ${dataset.name} has ${count} train ${sampleNoun(dataset)}, so 0 to ${count - 1} are allowed, or a share below 1.`,
      ['A share fits any number of images: --set data.validation=0.15.'],
    );
  }
  if (part === 'train') return {split: 'train', start: 0, end: count - held};
  if (held === 0) {
    throw invalidInput('no-validation-images', 'data.validation is 0, but this needs validation images.', [
      'Set data.validation to the number of images to take from the end of the train split.',
    ]);
  }
  return {split: 'train', start: count - held, end: count};
}
