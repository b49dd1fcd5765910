import {expect, test} from '@jest/globals';

import {resolveNormalization} from '../../../src/data/normalization.ts';
import {madeDataset, memorySplit} from '../../helpers/made-dataset.ts';

const dataset = madeDataset(3, 3);

test('takes the statistics of the data set, of ImageNet, or those given', () => {
  expect(resolveNormalization('dataset', dataset)).toEqual({mean: [0.1, 0.2, 0.3], std: [0.5, 0.25, 0.125]});
  expect(resolveNormalization('imagenet', dataset)).toEqual({mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]});
  const own = {mean: [0, 0, 0], std: [1, 1, 1]};
  expect(resolveNormalization(own, dataset)).toEqual(own);
});

test('statistics that do not fit the channels, or a std that is not positive, name what was found', () => {
  const split = memorySplit(2, [2, 2, 1], 2, () => 0);
  const grey = {...dataset, channels: 1, train: split, test: split};
  expect(() => resolveNormalization('imagenet', grey)).toThrow('mean is [0.485, 0.456, 0.406]; made needs 1');
  expect(() => resolveNormalization({mean: [0, 0, 0], std: [1, 0, 1]}, dataset)).toThrow('std is [1, 0, 1]');
  expect(() => resolveNormalization({mean: [0, NaN, 0], std: [1, 1, 1]}, dataset)).toThrow('mean is [0, NaN, 0]');
});
