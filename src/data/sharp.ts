/** sharp, which decodes images: 19 MB that only jobs on image files need, so the user installs it. */
import {createRequire} from 'node:module';

import type sharp from 'sharp';

import {ExitCode, SdqError} from '../errors.ts';

const require = createRequire(import.meta.url);

/** @throws SdqError (exit 6) where it is not installed */
export function requireSharp(): void {
  try {
    require.resolve('sharp');
  } catch (error) {
    throw missing(error);
  }
}

/** @throws SdqError (exit 6) where it cannot be loaded */
export async function loadSharp(): Promise<typeof sharp> {
  try {
    return (await import('sharp')).default;
  } catch (error) {
    throw missing(error);
  }
}

function missing(cause: unknown): SdqError {
  return new SdqError('Image files are decoded by the package sharp, which is not installed.', {
    code: 'package-missing',
    exit: ExitCode.notAvailable,
    suggestions: ['npm install sharp'],
    cause,
  });
}
