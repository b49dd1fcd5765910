/** The user's own PNG and JPEG files: `train/<class>/…` and `test/<class>/…`. */
import {hash} from 'node:crypto';
import {readdir, stat} from 'node:fs/promises';
import path from 'node:path';

import {item} from '../../lookup.ts';
import type {Split} from '../../data/dataset.ts';
import {decodeImage} from '../../data/decode-image.ts';
import {requireSharp} from '../../data/sharp.ts';
import {imagenetNormalization} from '../../data/normalization.ts';
import {joinedPaths, packPaths, pathAt, reorderedPaths, type PathList} from '../../data/path-list.ts';
import {invalidInput, SdqError} from '../../errors.ts';
import {fileError} from '../../files.ts';
import type {DatasetDefinition} from '../../plugin-api/registry.ts';
import {nothingToFetch, photographAugmentation, sizeOption} from './own-files.ts';

interface ImageFolderOptions {
  /** Height and width of the images as the network sees them. */
  readonly size?: number;
}

const maxClasses = 65_536; // labels are 16 bits wide

function invalid(message: string): SdqError {
  return invalidInput('image-folder-invalid', message, [
    'Lay the images out as train/<class>/*.png and test/<class>/*.png (or .jpg, .jpeg).',
    'Name the folder: --set data.directory=DIR',
  ]);
}

/** Names in a folder in the order of their UTF-16 code units, the same on every machine; hidden ones are left out. */
async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => !name.startsWith('.')).sort();
  } catch (error) {
    throw invalid(fileError(error, 'read', folder).message);
  }
}

type FileSplit = Extract<Split, {kind: 'files'}> & {readonly paths: PathList};

async function classesIn(root: string): Promise<string[]> {
  const classes: string[] = [];
  for (const name of await namesIn(root)) if ((await stat(path.join(root, name))).isDirectory()) classes.push(name);
  if (classes.length === 0 || classes.length > maxClasses) {
    throw invalid(`${root} has ${classes.length} class folders; 1 to ${maxClasses} are allowed.`);
  }
  return classes;
}

/** @throws SdqError (exit 3) for a class without images, or one that is not among `classes` */
async function scanSplit(root: string, classes: readonly string[]): Promise<FileSplit> {
  const lists: PathList[] = [];
  const labels: number[] = [];
  for (const name of await classesIn(root)) {
    const folder = path.join(root, name);
    const label = classes.indexOf(name);
    if (label < 0) throw invalid(`${folder} is a class that the train folder does not have.`);
    const images = (await namesIn(folder)).filter((image) => /\.(?:png|jpe?g)$/i.test(image));
    if (images.length === 0) throw invalid(`${folder} has no .png, .jpg or .jpeg file.`);
    lists.push(packPaths(images.map((image) => path.join(folder, image))));
    for (let i = 0; i < images.length; i++) labels.push(label);
  }
  const shared = new Uint16Array(new SharedArrayBuffer(2 * labels.length));
  shared.set(labels);
  return {kind: 'files', paths: joinedPaths(lists), labels: shared};
}

async function scan(directory: string): Promise<{classes: string[]; train: FileSplit; test: FileSplit}> {
  const classes = await classesIn(path.join(directory, 'train'));
  const split = (name: 'train' | 'test'): Promise<FileSplit> => scanSplit(path.join(directory, name), classes);
  return {classes, train: await split('train'), test: await split('test')};
}

/**
 * The images in the order of a digest of their names, `<class>/<file>`: any part of the split then has images of every class,
 * also its end, which is held out for validation, and an image that is added leaves the order of the others as it was.
 */
function mixed({paths, labels}: FileSplit): FileSplit {
  const digest = (index: number): Buffer => {
    const file = pathAt(paths, index);
    const start = file.lastIndexOf(path.sep, file.lastIndexOf(path.sep) - 1);
    const name = file.slice(start + 1).replace(path.sep, '/');
    return hash('sha256', name, 'buffer');
  };
  // Their first 48 bits, which decide nearly always.
  const keys = Float64Array.from(labels, (_, index) => digest(index).readUIntBE(0, 6));
  const order = Uint32Array.from(labels, (_, index) => index).sort((a, b) => {
    const [first, second] = [item(keys, a), item(keys, b)];
    return first === second && a !== b ? Buffer.compare(digest(a), digest(b)) : first - second;
  });
  const shared = new Uint16Array(new SharedArrayBuffer(2 * labels.length));
  shared.set(order.map((index) => item(labels, index)));
  return {kind: 'files', paths: reorderedPaths(paths, order), labels: shared};
}

async function faultOf(file: string): Promise<string | undefined> {
  try {
    await decodeImage(file, 8, undefined);
    return undefined;
  } catch (error) {
    if (error instanceof SdqError) return error.message;
    throw error;
  }
}

export const imageFolder: DatasetDefinition<ImageFolderOptions> = {
  kind: 'dataset',
  name: 'image-folder',
  summary: 'Your own PNG and JPEG files in train/<class>/ and test/<class>/ of data.directory.',
  optionsSchema: {
    type: 'object',
    properties: {
      size: sizeOption,
    },
    additionalProperties: false,
  },
  ...nothingToFetch('image-folder'),
  async verify(directory) {
    const {train, test} = await scan(directory);
    const faults: string[] = [];
    for (const {paths} of [train, test]) {
      for (let first = 0; first < paths.length; first += 4) {
        const files = Array.from({length: Math.min(4, paths.length - first)}, (_, i) => pathAt(paths, first + i));
        const faultsOfPart = await Promise.all(files.map((file) => faultOf(file)));
        faults.push(...faultsOfPart.filter((fault) => fault !== undefined));
      }
    }
    return faults;
  },
  async open(directory, {size = 224}) {
    requireSharp();
    const {classes, train, test} = await scan(directory);
    // The statistics of ImageNet stand in for those of the files, which a pass over all of them would be needed for.
    return {
      name: 'image-folder',
      classes,
      train: mixed(train),
      test,
      height: size,
      width: size,
      channels: 3,
      ...imagenetNormalization,
      augmentation: photographAugmentation(size),
    };
  },
};
