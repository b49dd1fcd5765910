/** A data set cut short, for a quick try. */
import type {Dataset, Split} from './dataset.ts';
import {firstPaths} from './path-list.ts';

/** The first `limit` images (or rows) of both splits, in the order of the data set. */
export function limited(dataset: Dataset, limit: number | undefined): Dataset {
  if (limit === undefined) return dataset;
  const cut = (split: Split): Split => {
    const count = Math.min(limit, split.labels.length);
    const labels = split.labels.subarray(0, count);
    const numbers = dataset.values?.length ?? 0;
    const targets = split.targets === undefined ? {} : {targets: split.targets.subarray(0, count * numbers)};
    // The others are never looked at.
    const boxes =
      split.boxes === undefined ? {} : {boxes: {...split.boxes, offsets: split.boxes.offsets.subarray(0, count + 1)}};
    switch (split.kind) {
      case 'memory': {
        const each = dataset.height * dataset.width * dataset.channels;
        return {...split, ...targets, ...boxes, labels, images: split.images.subarray(0, count * each)};
      }
      case 'files':
        return {...split, ...targets, ...boxes, labels, paths: firstPaths(split.paths, count)};
      case 'shards': // images that have no label are not read
        return {...split, ...targets, ...boxes, labels};
      case 'rows':
        return {...split, ...targets, ...boxes, labels, rows: split.rows.subarray(0, count * dataset.channels)};
    }
  };
  return {...dataset, train: cut(dataset.train), test: cut(dataset.test)};
}
