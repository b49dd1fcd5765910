/** What the data sets share that read files of the user's own. */
import type {Augmentation} from '../../data/dataset.ts';
import {ExitCode, SdqError} from '../../errors.ts';
import type {DatasetDefinition} from '../../plugin-api/registry.ts';

/** @param name of the data set */
export const nothingToFetch = (name: string): Pick<DatasetDefinition, 'sources' | 'fetch'> => ({
  sources: [],
  fetch: () =>
    Promise.reject(
      new SdqError(`${name} has nothing to fetch: it reads your own files.`, {
        code: 'dataset-not-available',
        exit: ExitCode.notAvailable,
        suggestions: ['Name their folder: --set data.directory=DIR'],
      }),
    ),
});

/** The option `size`, as JSON Schema. */
export const sizeOption = {
  type: 'integer',
  minimum: 8,
  maximum: 4096,
  default: 224,
  description: 'Height and width of the images as the network sees them, in pixels.',
} as const;

/** Up to this size a random resized crop of 8 % of the area is a few pixels. */
const smallImage = 64;

/** Small images are moved by up to an eighth, as He et al. (2016) move CIFAR-10's; of larger ones a part is cropped. */
export const photographAugmentation = (size: number): Augmentation => ({
  pad: size <= smallImage ? Math.round(size / 8) : 0,
  flip: true,
});
