/** Which images belong to training, validation and test. */
import {ExitCode, SdqError} from '../errors.ts';
import type {Dataset} from './dataset.ts';

export type Part = 'train' | 'validation' | 'test';

/** Images `start` … `end` − 1 of a split. */
export interface PartRange {
  readonly split: 'train' | 'test';
  readonly start: number;
  readonly end: number;
}

/**
 * The validation images are the last `validation` of the train split: every choice is made on them, and the test split
 * is read for the final figure only.
 * @throws SdqError (exit 3) when the part would have no image
 */
export function partRange(dataset: Dataset, part: Part, validation: number): PartRange {
  if (part === 'test') return {split: 'test', start: 0, end: dataset.test.labels.length};
  const count = dataset.train.labels.length;
  if (!Number.isInteger(validation) || validation < 0 || validation >= count) {
    throw new SdqError(
      `data.validation is ${validation}; ${dataset.name} has ${count} train images, so 0 to ${count - 1} are allowed.`,
      {code: 'validation-out-of-range', exit: ExitCode.invalidInput},
    );
  }
  if (part === 'train') return {split: 'train', start: 0, end: count - validation};
  if (validation === 0) {
    throw new SdqError('data.validation is 0, but this needs validation images.', {
      code: 'no-validation-images',
      exit: ExitCode.invalidInput,
      suggestions: ['Set data.validation to the number of images to take from the end of the train split.'],
    });
  }
  return {split: 'train', start: count - validation, end: count};
}
