/** What the data sets share that read files of the user's own. */
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
