/** Images and classes in tar archives, as the Python package webdataset writes them: `KEY.jpg` beside `KEY.cls`. */
import {existsSync} from 'node:fs';
import path from 'node:path';

import {openTar, type TarFile, type TarMember} from '../../data/tar-shard.ts';
import {invalidInput, type SdqError} from '../../errors.ts';
import {readTextBounded} from '../../files.ts';
import {
  checkedLabel,
  shardDataset,
  sharedDoubles,
  sharedNumbers,
  type ShardFormat,
  type ShardGroup,
  type ShardOptions,
} from './shard-files.ts';

/** Names of the classes, one a line, in data.directory. */
const classNames = 'classnames.txt';
const imageExtensions = ['jpg', 'jpeg', 'png'];
/** Far above a class or a record of one image. */
const largestLabel = 2 ** 20;
/** Images that lie next to each other and are read from one file in a batch or two: some 7 MB of ImageNet. */
const groupImages = 64;

interface TarGroup extends ShardGroup {
  readonly offsets: readonly number[];
  readonly sizes: readonly number[];
}

/** Members next to each other whose names are the same up to the first dot. */
interface Sample {
  readonly key: string;
  image?: TarMember;
  label?: number;
}

/** @returns key and extension of a member as webdataset takes them apart; undefined for a file without extension */
function nameParts(name: string): {readonly key: string; readonly extension: string} | undefined {
  const [, key, extension] = /^((?:.*\/)?[^./][^./]*)\.([^/]*)$/.exec(name) ?? [];
  return key === undefined || extension === undefined ? undefined : {key, extension: extension.toLowerCase()};
}

/** The class in `KEY.cls`, or in a field of `KEY.json`. */
function labelOf(
  tar: TarFile,
  member: TarMember,
  field: string | undefined,
  invalid: (message: string) => SdqError,
): unknown {
  if (member.size > largestLabel) throw invalid(`${member.name} has ${member.size} bytes, too many for a class.`);
  const text = new TextDecoder().decode(tar.read(member)).trim();
  if (field === undefined) return /^-?\d+$/.test(text) ? Number(text) : text;
  try {
    return (JSON.parse(text) as Readonly<Record<string, unknown>> | null)?.[field];
  } catch (error) {
    throw invalid(`${member.name} is not JSON: ${(error as Error).message}.`);
  }
}

/** The samples of an archive, each with what it has. @throws SdqError (exit 3) for two images or a broken class in one */
function* samplesOf(
  file: string,
  tar: TarFile,
  labelOption: string,
  classes: readonly string[] | undefined,
): Generator<Sample> {
  const [labelExtension, field] = labelOption.split(/\.(.*)/s);
  let sample: Sample | undefined;
  for (const member of tar.members()) {
    const parts = nameParts(member.name);
    if (parts === undefined) continue;
    const {key, extension} = parts;
    if (sample?.key !== key) {
      if (sample !== undefined) yield sample;
      sample = {key};
    }
    if (imageExtensions.includes(extension)) {
      if (sample.image !== undefined) {
        throw sampleError(file, key, `it has two images: ${sample.image.name}, ${member.name}.`);
      }
      sample.image = member;
    } else if (extension === labelExtension) {
      const value = labelOf(tar, member, field, (message) => sampleError(file, key, message));
      sample.label = checkedLabel(value, `${file}, ${member.name}`, classes);
    }
  }
  if (sample !== undefined) yield sample;
}

const sampleError = (file: string, key: string, message: string): SdqError =>
  invalidInput('shard-invalid', `${file}, sample ${JSON.stringify(key.slice(0, 200))}: ${message}`);

function scan(
  file: string,
  {label: labelOption = 'cls'}: ShardOptions,
  classes: readonly string[] | undefined,
): TarGroup[] {
  const [labels, offsets, sizes]: [number[], number[], number[]] = [[], [], []];
  const tar = openTar(file);
  try {
    for (const {key, image, label} of samplesOf(file, tar, labelOption, classes)) {
      if (image === undefined) throw sampleError(file, key, `it has no .${imageExtensions.join(', .')} file.`);
      if (label === undefined) {
        const extension = labelOption.replace(/\..*/s, '');
        throw sampleError(file, key, `it has no .${extension} file, in which its class would be.`);
      }
      labels.push(label);
      offsets.push(image.offset);
      sizes.push(image.size);
    }
  } finally {
    tar.close();
  }
  return Array.from({length: Math.ceil(labels.length / groupImages)}, (_, index) => {
    const [row, end] = [index * groupImages, (index + 1) * groupImages];
    const part = (values: readonly number[]): number[] => values.slice(row, end);
    return {file, row, bytes: 0, labels: part(labels), offsets: part(offsets), sizes: part(sizes)};
  });
}

const format: ShardFormat<TarGroup> = {
  name: 'webdataset',
  summary: 'Your own images in tar files of data.directory, as WebDataset has them: KEY.jpg beside KEY.cls.',
  extension: '.tar',
  properties: {
    label: {
      type: 'string',
      pattern: '^(?:[^.]+|json\\..+)$',
      default: 'cls',
      description: 'What has the class of an image: the extension of a file, or json.FIELD for a field of KEY.json.',
    },
  },
  scan,
  images: (groups) => ({
    format: 'tar',
    offsets: sharedDoubles(groups.flatMap(({offsets}) => offsets)),
    sizes: sharedNumbers(groups.flatMap(({sizes}) => sizes)),
  }),
  classes(directory) {
    const file = path.join(directory, classNames);
    if (!existsSync(file)) return Promise.resolve(undefined);
    const names = readTextBounded(file, 2 ** 24)
      .split(/\r?\n/)
      .filter((line) => line !== '');
    return Promise.resolve(names);
  },
};

export const webdataset = shardDataset(format);
