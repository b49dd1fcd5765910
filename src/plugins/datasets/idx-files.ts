/** What MNIST and the data sets made in its likeness share: four IDX files of 28 × 28 grey images in 10 classes. */
import {existsSync} from 'node:fs';
import path from 'node:path';
import {promisify} from 'node:util';
import {gunzip} from 'node:zlib';

import type {Dataset, Split} from '../../data/dataset.ts';
import {idxLabels, parseIdx} from '../../data/idx.ts';
import {readDatasetFile, type PinnedFile} from '../../data/pinned-files.ts';
import {ExitCode, invalidInput, SdqError} from '../../errors.ts';
import {readFileBounded, writeFileAtomic} from '../../files.ts';

const side = 28;

type IdxRole = 'trainImages' | 'trainLabels' | 'testImages' | 'testLabels';

export type IdxFiles = Readonly<Record<IdxRole, PinnedFile>>;

/** The four files by the authors' names, from the sha256 of each (decompressed). */
export function idxFiles(sha256: Readonly<Record<IdxRole, string>>): IdxFiles {
  const file = (name: string, bytes: number, digest: string): PinnedFile => ({
    name,
    bytes,
    algorithm: 'sha256',
    digest,
  });
  return {
    trainImages: file('train-images-idx3-ubyte', 16 + 60_000 * side * side, sha256.trainImages),
    trainLabels: file('train-labels-idx1-ubyte', 8 + 60_000, sha256.trainLabels),
    testImages: file('t10k-images-idx3-ubyte', 16 + 10_000 * side * side, sha256.testImages),
    testLabels: file('t10k-labels-idx1-ubyte', 8 + 10_000, sha256.testLabels),
  };
}

/** @throws SdqError (exit 3) for a broken file, (exit 6) for a missing one */
export async function openIdxFiles(
  directory: string,
  files: IdxFiles,
  about: Pick<Dataset, 'name' | 'classes' | 'mean' | 'std'>,
): Promise<Dataset> {
  const split = (images: PinnedFile, labels: PinnedFile): Promise<Split> =>
    readIdxSplit(directory, images, labels, about.name, about.classes.length);
  return {
    ...about,
    height: side,
    width: side,
    channels: 1,
    // A mirrored digit is another sign, and the shoes of Fashion-MNIST all point one way.
    augmentation: {pad: 2, flip: false},
    train: await split(files.trainImages, files.trainLabels),
    test: await split(files.testImages, files.testLabels),
  };
}

async function readIdxSplit(
  directory: string,
  imagesFile: PinnedFile,
  labelsFile: PinnedFile,
  dataset: string,
  classes: number,
): Promise<Split> {
  const file = path.join(directory, imagesFile.name);
  const {shape, values} = parseIdx(await readDatasetFile(directory, imagesFile, dataset), 3, file);
  const labelFile = path.join(directory, labelsFile.name);
  const labels = idxLabels(
    parseIdx(await readDatasetFile(directory, labelsFile, dataset), 1, labelFile),
    classes,
    labelFile,
  );
  const expected = [labels.length, side, side];
  if (shape.some((size, axis) => size !== expected[axis])) {
    throw invalidInput(
      'idx-invalid',
      `${file}, byte 4: found shape ${shape.join(' × ')}; allowed: ${expected.join(' × ')}, as ${labelFile} has ${labels.length} labels.`,
    );
  }
  const images = new Uint8Array(new SharedArrayBuffer(values.length));
  images.set(values);
  return {kind: 'memory', images, labels};
}

/**
 * Copies the four files from a folder of the user, as they are or compressed (`.gz`).
 * @throws SdqError (exit 3) that names what is missing or cannot be decompressed
 */
export async function copyIdxFiles(from: string, to: string, files: IdxFiles, signal: AbortSignal): Promise<void> {
  for (const {name, bytes} of Object.values(files)) {
    signal.throwIfAborted();
    const plain = path.join(from, name);
    const compressed = `${plain}.gz`;
    const source = existsSync(plain) ? plain : compressed;
    if (!existsSync(source)) {
      throw invalidInput('dataset-file-missing', `${from} has neither ${name} nor ${name}.gz.`);
    }
    const content = readFileBounded(source, 2 * bytes);
    writeFileAtomic(path.join(to, name), source === plain ? content : await gunzipped(content, bytes, source));
  }
}

async function gunzipped(content: Uint8Array, bytes: number, file: string): Promise<Uint8Array> {
  try {
    return await promisify(gunzip)(content, {maxOutputLength: bytes});
  } catch (error) {
    throw new SdqError(`Cannot decompress ${file} to ${bytes} bytes: ${(error as Error).message}.`, {
      code: 'gzip-invalid',
      exit: ExitCode.invalidInput,
      cause: error,
    });
  }
}
