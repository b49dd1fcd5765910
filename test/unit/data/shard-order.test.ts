import {describe, expect, test} from '@jest/globals';

import {blockAt, groupOf, shardOrder} from '../../../src/data/shard-order.ts';
import {uniform} from '../../../src/random.ts';

const numbers = (values: readonly number[]): Uint32Array<SharedArrayBuffer> => {
  const shared = new Uint32Array(new SharedArrayBuffer(4 * values.length));
  shared.set(values);
  return shared;
};

/** Groups of these sizes, each of which takes `bytes` of memory. */
function shardsOf(sizes: readonly number[], shuffle: number, bytes = 0) {
  let end = 0;
  const groupBytes = new Float64Array(new SharedArrayBuffer(8 * sizes.length)).fill(bytes);
  const ends = numbers(sizes.map((size) => (end += size)));
  return {groups: {files: numbers(sizes.map(() => 0)), ends, bytes: groupBytes}, shuffle};
}

const sizes = [3, 5, 1, 7, 4, 2, 6, 5, 3, 4];
const all = {start: 0, end: 40};
const draw = (epoch = 0) => uniform(1, 'shuffle', epoch);

/** The groups whose images stand at the places of each block. */
function groupsOfBlocks(shards: ReturnType<typeof shardsOf>, range: typeof all): number[][] {
  const {order, blocks} = shardOrder(shards, range, draw());
  const starts = [0, ...blocks.map(({end}) => end)];
  return blocks.map(({end}, index) => [
    ...new Set([...order.subarray(starts[index], end)].map((image) => groupOf(shards, range.start + image))),
  ]);
}

describe('the order of images in shards', () => {
  test.each([
    ['all', all],
    ['a range that cuts groups', {start: 4, end: 31}],
    ['one image', {start: 15, end: 16}],
  ])('%s: every image once, in another order each epoch', (_, range) => {
    const shards = shardsOf(sizes, 8);
    const orders = [0, 1].map((epoch) => [...shardOrder(shards, range, draw(epoch)).order]);
    const expected = Array.from({length: range.end - range.start}, (__, image) => image);
    for (const order of orders) expect(order.toSorted((a, b) => a - b)).toEqual(expected);
    if (expected.length > 1) expect(orders[0]).not.toEqual(orders[1]);
    expect([...shardOrder(shards, range, draw()).order]).toEqual(orders[0]);
  });

  test('a group is in one block only; a block has `shuffle` images and less than a group more', () => {
    const shards = shardsOf(sizes, 8);
    const blocks = groupsOfBlocks(shards, all);
    expect(blocks.flat().toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for (const groups of blocks.slice(0, -1)) {
      const images = groups.reduce((sum, group) => sum + sizes[group]!, 0);
      expect(images).toBeGreaterThanOrEqual(8);
      expect(images).toBeLessThan(8 + 7);
    }
  });

  test('images of a block are mixed across its groups', () => {
    const shards = shardsOf([100, 100, 100, 100], 1000);
    const {order, blocks} = shardOrder(shards, {start: 0, end: 400}, draw());
    expect(blocks).toEqual([{end: 400}]);
    for (let group = 0; group < 4; group++) {
      const early = [...order.subarray(0, 100)].filter((image) => groupOf(shards, image) === group).length;
      expect(early).toBeGreaterThan(12); // 25 expected, standard deviation 3.8
      expect(early).toBeLessThan(38);
    }
  });

  test('a block takes at most 512 MiB, or one group', () => {
    expect(groupsOfBlocks(shardsOf(sizes, 1000, 200 * 2 ** 20), all).map((groups) => groups.length)).toEqual([
      2, 2, 2, 2, 2,
    ]);
    expect(groupsOfBlocks(shardsOf(sizes, 1000, 2 ** 30), all).map((groups) => groups.length)).toEqual(
      sizes.map(() => 1),
    );
  });

  test('without a draw images are in their order, and each group is a block', () => {
    const {order, blocks} = shardOrder(shardsOf(sizes, 8), {start: 4, end: 31}, undefined);
    expect([...order]).toEqual(Array.from({length: 27}, (_, image) => image));
    expect(blocks.map(({end}) => end + 4)).toEqual([8, 9, 16, 20, 22, 28, 31]);
    expect(blockAt(blocks, 3)).toBe(blocks[0]);
    expect(blockAt(blocks, 4)).toBe(blocks[1]);
    expect(blockAt(blocks, 26)).toBe(blocks.at(-1));
  });

  test('a million images are put in order at once', () => {
    const shards = shardsOf(new Array<number>(13_000).fill(100), 4096);
    const {order} = shardOrder(shards, {start: 0, end: 1_300_000}, draw());
    let sum = 0;
    for (const image of order) sum += image;
    expect(sum).toBe((1_300_000 * 1_299_999) / 2);
  });
});
