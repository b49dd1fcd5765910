import {describe, expect, test} from '@jest/globals';

import {partRange} from '../../../src/data/splits.ts';
import {madeDataset} from '../../helpers/made-dataset.ts';

const dataset = madeDataset(10, 4);

describe('partRange', () => {
  test('validation is the end of the train split, and train what is before it', () => {
    expect(partRange(dataset, 'train', 3)).toEqual({split: 'train', start: 0, end: 7});
    expect(partRange(dataset, 'validation', 3)).toEqual({split: 'train', start: 7, end: 10});
    expect(partRange(dataset, 'test', 3)).toEqual({split: 'test', start: 0, end: 4});
  });

  test('below 1 it is a share, of which there is at least one image', () => {
    expect(partRange(dataset, 'validation', 0.3)).toEqual({split: 'train', start: 7, end: 10});
    expect(partRange(dataset, 'train', 0.3)).toEqual({split: 'train', start: 0, end: 7});
    expect(partRange(dataset, 'validation', 0.01)).toEqual({split: 'train', start: 9, end: 10});
    expect(() => partRange(dataset, 'train', 0.99)).toThrow('a share below 1');
  });

  test('without validation images training sees all, and asking for validation is an error', () => {
    expect(partRange(dataset, 'train', 0)).toEqual({split: 'train', start: 0, end: 10});
    expect(() => partRange(dataset, 'validation', 0)).toThrow('needs validation images');
  });

  test.each([10, 11, -1, 2.5, NaN])('%p validation images of 10 are refused', (validation) => {
    expect(() => partRange(dataset, 'train', validation)).toThrow(
      `data.validation is ${validation}; made has 10 train images, so 0 to 9 are allowed, or a share below 1.`,
    );
  });
});
