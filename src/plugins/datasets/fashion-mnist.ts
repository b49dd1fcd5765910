/** Fashion-MNIST (Xiao, Rasul, Vollgraf, 2017): 60,000 + 10,000 pictures of clothes. */
import {existsSync} from 'node:fs';

import {faultsOf} from '../../data/pinned-files.ts';
import {ExitCode, SdqError} from '../../errors.ts';
import type {DatasetDefinition} from '../../plugin-api/registry.ts';
import {fetchFiles, type Source} from './fetch-files.ts';
import {copyIdxFiles, idxFiles, openIdxFiles} from './idx-files.ts';

const files = idxFiles({
  trainImages: 'c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888',
  trainLabels: 'bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9',
  testImages: '5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b',
  testLabels: '0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34',
});

const debianFolder = '/usr/share/datasets/fashion-mnist';

/** The Debian and Ubuntu package `dataset-fashion-mnist`. */
const debian: Source = {
  name: 'debian',
  async stage(staging, {signal}) {
    if (!existsSync(debianFolder)) {
      throw new SdqError(`${debianFolder} does not exist.`, {
        code: 'dataset-not-installed',
        exit: ExitCode.notAvailable,
        suggestions: [
          'On Debian or Ubuntu: sudo apt-get install dataset-fashion-mnist',
          'Elsewhere: download the four .gz files named in https://github.com/zalandoresearch/fashion-mnist and run: sdq data fetch fashion-mnist --from DIR',
        ],
      });
    }
    await copyIdxFiles(debianFolder, staging, files, signal);
  },
};

export const fashionMnist: DatasetDefinition = {
  kind: 'dataset',
  name: 'fashion-mnist',
  summary: '60,000 + 10,000 pictures of clothes, 28 × 28 grey, 10 classes.',
  sources: [debian.name],
  fetch: (context) =>
    fetchFiles(
      'fashion-mnist',
      Object.values(files),
      [debian],
      (from, staging) => copyIdxFiles(from, staging, files, context.signal),
      context,
    ),
  verify: (directory) => faultsOf(directory, Object.values(files)),
  open(directory) {
    return openIdxFiles(directory, files, {
      name: 'fashion-mnist',
      classes: [
        'T-shirt/top',
        'Trouser',
        'Pullover',
        'Dress',
        'Coat',
        'Sandal',
        'Shirt',
        'Sneaker',
        'Bag',
        'Ankle boot',
      ],
      mean: [0.286],
      std: [0.353],
    });
  },
};
