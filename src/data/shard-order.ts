/**
 * The order in which training and evaluation read images of shards: a file is read in large pieces one after the other, and
 * the groups of one block are all that is in memory. A pure function of the draw, so a resumed run needs no state.
 */
import {item} from '../lookup.ts';
import {permutation, type Uniform} from '../random.ts';
import type {Shards} from './dataset.ts';

/** 512 MiB: a block has no more groups than fit, but always one. */
const maxBlockBytes = 2 ** 29;

/** Places of an epoch whose images are mixed among each other. */
export interface Block {
  /** The first place after it. */
  readonly end: number;
}

export interface ShardOrder {
  /** [end − start]: the image at each place, counted from `start`. */
  readonly order: Uint32Array;
  /** In the order of their places. */
  readonly blocks: readonly Block[];
}

/**
 * Images `start` … `end` − 1. With `draw` the groups are shuffled, cut into blocks of `shuffle` images or a little more, and
 * the images of a block shuffled; without it they are in their order, and each group is a block.
 */
export function shardOrder(
  {groups, shuffle}: Pick<Shards, 'groups' | 'shuffle'>,
  {start, end}: {readonly start: number; readonly end: number},
  draw: Uniform | undefined,
): ShardOrder {
  const first = indexByEnd(groups.ends, start);
  const count = start < end ? indexByEnd(groups.ends, end - 1) - first + 1 : 0;
  const sequence = draw === undefined ? undefined : permutation(count, draw);
  const order = new Uint32Array(end - start);
  const blocks: Block[] = [];
  let [blockStart, place, bytes] = [0, 0, 0];
  const endBlock = (): void => {
    if (place === blockStart) return;
    if (draw !== undefined) mix(order.subarray(blockStart, place), draw);
    blocks.push({end: place});
    [blockStart, bytes] = [place, 0];
  };
  for (let i = 0; i < count; i++) {
    const group = first + (sequence?.[i] ?? i);
    const groupBytes = item(groups.bytes, group);
    if (draw === undefined || place - blockStart >= shuffle || bytes + groupBytes > maxBlockBytes) endBlock();
    const groupEnd = Math.min(end, item(groups.ends, group));
    for (let image = Math.max(start, startOf(groups, group)); image < groupEnd; image++) order[place++] = image - start;
    bytes += groupBytes;
  }
  endBlock();
  return {order, blocks};
}

/** The first image of a group. */
export const startOf = ({ends}: Shards['groups'], group: number): number => (group === 0 ? 0 : item(ends, group - 1));

/** The group that an image is in. */
export const groupOf = ({groups}: Pick<Shards, 'groups'>, image: number): number => indexByEnd(groups.ends, image);

export const blockAt = (blocks: ShardOrder['blocks'], place: number): Block =>
  item(
    blocks,
    firstWhere(blocks.length, (block) => item(blocks, block).end > place),
  );

/** The first of these rising ends that lies after the value. */
const indexByEnd = (ends: Uint32Array, value: number): number =>
  firstWhere(ends.length, (index) => item(ends, index) > value);

/** The first of 0 … count − 1 for which it holds; it does for all after that. By bisection. */
function firstWhere(count: number, holds: (index: number) => boolean): number {
  let [low, high] = [0, count - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function mix(images: Uint32Array, draw: Uniform): void {
  const before = images.slice();
  for (const [place, from] of permutation(images.length, draw).entries()) images[place] = item(before, from);
}
