/** What data sets in shards have in common: which files, in which order, with which classes. */
import {createHash} from 'node:crypto';
import {readdir} from 'node:fs/promises';
import path from 'node:path';

import {Minimatch} from 'minimatch';

import type {Dataset, ParquetImages, Shards, Split} from '../../data/dataset.ts';
import {decodeImage} from '../../data/decode-image.ts';
import {imagenetNormalization} from '../../data/normalization.ts';
import {packPaths} from '../../data/path-list.ts';
import {requireSharp} from '../../data/sharp.ts';
import {shardReader} from '../../data/shard-reader.ts';
import {invalidInput, SdqError} from '../../errors.ts';
import {fileError} from '../../files.ts';
import {item} from '../../lookup.ts';
import type {DatasetDefinition} from '../../plugin-api/registry.ts';
import {nothingToFetch, photographAugmentation, sizeOption} from './own-files.ts';

export interface ShardOptions {
  readonly train?: string;
  readonly test?: string;
  readonly label?: string;
  /** The column of Parquet files with the images. */
  readonly image?: string;
  /** Height and width of the images as the network sees them. */
  readonly size?: number;
  readonly shuffle?: number;
}

/** Images that lie next to each other in a file. */
export interface ShardGroup {
  readonly file: string;
  /** Of its first image in the file. */
  readonly row: number;
  readonly labels: ArrayLike<number>;
  /** Memory that it takes while a batch may need its images; 0: its images are read one by one. */
  readonly bytes: number;
}

/** A format of shards. */
export interface ShardFormat<Group extends ShardGroup> {
  readonly name: string;
  readonly summary: string;
  readonly extension: string;
  /** JSON Schema of the options that only this format has. */
  readonly properties: Readonly<Record<string, object>>;
  /** @param classes that the labels may name; undefined where nobody has said @throws SdqError (exit 3) */
  scan(
    file: string,
    options: ShardOptions,
    classes: readonly string[] | undefined,
  ): Promise<readonly Group[]> | readonly Group[];
  images(groups: readonly Group[], options: ShardOptions): Shards['images'];
  /** Names of the classes, where the data set says them. */
  classes(directory: string, files: readonly string[], options: ShardOptions): Promise<readonly string[] | undefined>;
}

const maxClasses = 65_536; // labels are 16 bits wide
const defaultShuffle = 4096;
/** `data verify` stops after so many faults. */
const maxFaults = 20;

/** @throws SdqError (exit 3) where there are none */
async function findShards(directory: string, split: 'train' | 'test', pattern: string, extension: string) {
  const all = (
    await readdir(directory, {recursive: true}).catch((error: unknown) => {
      throw fileError(error, 'read', directory);
    })
  )
    .map((name) => name.split(path.sep).join('/'))
    .filter((name) => name.endsWith(extension) && !/(?:^|\/)\./.test(name))
    .sort();
  const matcher = new Minimatch(pattern, {matchBase: true});
  const found = all.filter((name) => matcher.match(name));
  if (found.length > 0) return found.map((name) => path.join(directory, name));
  const there = all.length === 0 ? `It has no ${extension} file` : `It has ${all.slice(0, 8).join(', ')}`;
  throw invalidInput(
    'no-shards',
    `${directory} has no file that data.options.${split} matches: ${JSON.stringify(pattern)}. ` +
      `${there}${all.length > 8 ? ` and ${all.length - 8} more` : ''}.`,
    all.length === 0 ? ['Name the folder: --set data.directory=DIR'] : [`--set data.options.${split}="PATTERN"`],
  );
}

/** The groups in the order of a digest of their file's name and place: also the end of the split, which is held out, is a sample of all of it. */
function mixed<Group extends ShardGroup>(directory: string, groups: readonly Group[]): Group[] {
  const key = ({file, row}: Group): string =>
    createHash('sha256')
      .update(`${path.relative(directory, file).split(path.sep).join('/')}:${row}`)
      .digest('hex');
  return groups
    .map((group) => ({key: key(group), group}))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({group}) => group);
}

function splitOf<Group extends ShardGroup>(
  format: ShardFormat<Group>,
  groups: readonly Group[],
  options: ShardOptions,
): Extract<Split, {kind: 'shards'}> {
  const names = [...new Set(groups.map(({file}) => file))];
  const places = new Map(names.map((name, place) => [name, place]));
  let end = 0;
  const ends = groups.map(({labels}) => (end += labels.length));
  const labels = new Uint16Array(new SharedArrayBuffer(2 * end));
  for (const [index, group] of groups.entries()) labels.set(group.labels, item(ends, index) - group.labels.length);
  return {
    kind: 'shards',
    files: packPaths(names),
    groups: {
      files: sharedNumbers(groups.map(({file}) => places.get(file) ?? 0)),
      ends: sharedNumbers(ends),
      bytes: sharedDoubles(groups.map(({bytes}) => bytes)),
    },
    images: format.images(groups, options),
    shuffle: options.shuffle ?? defaultShuffle,
    labels,
  };
}

export function sharedNumbers(values: ArrayLike<number>): Uint32Array<SharedArrayBuffer> {
  const shared = new Uint32Array(new SharedArrayBuffer(4 * values.length));
  shared.set(values);
  return shared;
}

export function sharedDoubles(values: ArrayLike<number>): Float64Array<SharedArrayBuffer> {
  const shared = new Float64Array(new SharedArrayBuffer(8 * values.length));
  shared.set(values);
  return shared;
}

export const parquetImages = (column: string, groups: readonly ShardGroup[]): ParquetImages => ({
  format: 'parquet',
  column,
  rows: sharedNumbers(groups.map(({row}) => row)),
});

/** @param label as the file has it @throws SdqError (exit 3) for what is no class, with the place */
export function checkedLabel(label: unknown, place: string, classes: readonly string[] | undefined): number {
  const value = typeof label === 'bigint' ? Number(label) : label;
  const most = classes?.length ?? maxClasses;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < most) return value;
  const found = ['number', 'string', 'boolean'].includes(typeof value) ? JSON.stringify(value).slice(0, 40) : 'nothing';
  const hint =
    value === -1 ? ['−1 marks hidden labels. For the files to test on: --set data.options.test="*val*"'] : [];
  throw invalidInput('shard-invalid', `${place}: the class is ${found}; 0 to ${most - 1} are allowed.`, hint);
}

async function openShards<Group extends ShardGroup>(
  format: ShardFormat<Group>,
  directory: string,
  options: ShardOptions,
): Promise<Dataset> {
  requireSharp();
  const {size = 224} = options;
  const files = {
    train: await findShards(directory, 'train', options.train ?? `*train*${format.extension}`, format.extension),
    test: await findShards(directory, 'test', options.test ?? `*test*${format.extension}`, format.extension),
  };
  const both = files.test.find((file) => files.train.includes(file));
  if (both !== undefined) {
    throw invalidInput('shard-in-both', `${both} is matched by both data.options.train and data.options.test.`);
  }
  const named = await format.classes(directory, files.train, options);
  const scan = async (split: 'train' | 'test', classes: readonly string[] | undefined): Promise<Group[]> => {
    const groups: Group[] = [];
    for (const file of files[split]) groups.push(...(await format.scan(file, options, classes)));
    if (groups.length > 0) return groups;
    throw invalidInput('shard-invalid', `${item(files[split], 0)} and the other ${split} files have no image.`);
  };
  const train = splitOf(format, mixed(directory, await scan('train', named)), options);
  const largest = train.labels.reduce((most, label) => Math.max(most, label), 0);
  const classes = named ?? Array.from({length: largest + 1}, (_, index) => String(index));
  // The statistics of ImageNet stand in for those of the images, which a pass over all of them would be needed for.
  return {
    name: format.name,
    classes,
    train,
    test: splitOf(format, await scan('test', classes), options),
    height: size,
    width: size,
    channels: 3,
    ...imagenetNormalization,
    augmentation: photographAugmentation(size),
  };
}

/** Every image decoded once, in the order of the files. */
async function faultsOf(open: () => Promise<Dataset>): Promise<string[]> {
  const faults: string[] = [];
  const collect = async (work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof SdqError)) throw error;
      faults.push(error.message);
    }
  };
  await collect(async () => {
    const {train, test} = await open();
    for (const split of [train, test]) {
      if (split.kind !== 'shards') continue;
      const read = shardReader(split);
      let [image, group] = [0, 0];
      for (; image < split.labels.length && faults.length < maxFaults; image++) {
        if (image >= item(split.groups.ends, group)) group += 1;
        const [place, block] = [image, group];
        await collect(async () => decodeImage(await read(place, block), 8, undefined));
      }
    }
  });
  return faults;
}

export function shardDataset<Group extends ShardGroup>(format: ShardFormat<Group>): DatasetDefinition<ShardOptions> {
  const pattern = (split: 'train' | 'test') => ({
    type: 'string',
    minLength: 1,
    default: `*${split}*${format.extension}`,
    description:
      `The files to ${split} on, in data.directory and its folders: *, ? and ranges such as {0000..0146}. ` +
      'Without a slash it is matched against the names alone.',
  });
  return {
    kind: 'dataset',
    name: format.name,
    summary: format.summary,
    optionsSchema: {
      type: 'object',
      properties: {
        train: pattern('train'),
        test: pattern('test'),
        ...format.properties,
        size: sizeOption,
        shuffle: {
          type: 'integer',
          minimum: 1,
          maximum: 2 ** 31,
          default: defaultShuffle,
          description: 'Images that are shuffled among each other; the files are read in large pieces, in any order.',
        },
      },
      additionalProperties: false,
    },
    ...nothingToFetch(format.name),
    verify: (directory, options) => faultsOf(() => openShards(format, directory, options)),
    open: (directory, options) => openShards(format, directory, options),
  };
}
