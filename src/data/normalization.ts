/** Mean and standard deviation per channel, on pixels scaled to 0 … 1. */
import {invalidInput} from '../errors.ts';
import {item} from '../lookup.ts';
import type {Dataset} from './dataset.ts';

export interface Normalization {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** What a network sees of a byte of an image. */
export const normalizedByte = (byte: number, channel: number, {mean, std}: Normalization): number =>
  (byte / 255 - item(mean, channel)) / item(std, channel);

/** Of the ImageNet train split; the constants every published ImageNet network was trained with. */
export const imagenetNormalization: Normalization = {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]};

/**
 * `dataset` takes the data set's own statistics, `imagenet` those of ImageNet (for weights trained with them).
 * @throws SdqError (exit 3) when it does not have one finite mean and one positive std a channel
 */
export function resolveNormalization(choice: 'dataset' | 'imagenet' | Normalization, dataset: Dataset): Normalization {
  const {mean, std} = choice === 'dataset' ? dataset : choice === 'imagenet' ? imagenetNormalization : choice;
  for (const [name, values] of Object.entries({mean, std})) {
    const broken = values.find((value) => !Number.isFinite(value) || (name === 'std' && value <= 0));
    if (values.length !== dataset.channels || broken !== undefined) {
      throw invalidInput(
        'normalization-mismatch',
        `data.normalization: ${name} is [${values.join(', ')}]; ${dataset.name} needs ${dataset.channels} ` +
          `${name === 'std' ? 'positive numbers' : 'finite numbers'}, one a channel.`,
      );
    }
  }
  return {mean, std};
}
