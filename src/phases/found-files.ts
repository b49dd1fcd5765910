/** What `sdq init` finds in a folder: images by class or with boxes, tables, networks, weights. */
import {existsSync, readdirSync, readFileSync, statSync} from 'node:fs';
import path from 'node:path';

import {ImageFinder} from '../data/annotations/annotated-image.ts';
import {isCoco} from '../data/annotations/coco.ts';
import {isVoc} from '../data/annotations/voc.ts';
import {isYolo} from '../data/annotations/yolo.ts';
import {item} from '../lookup.ts';

interface FoundImages {
  /** Absolute; has `train/<class>/` and `test/<class>/`. */
  readonly directory: string;
  readonly classes: number;
  /** Images to train on. */
  readonly count: number;
  /** Absolute paths of at most 20 of them, spread over the classes. */
  readonly samples: readonly string[];
}

interface FoundTable {
  /** Absolute. */
  readonly file: string;
  /** The column that names the class. */
  readonly label: string;
}

interface FoundBoxes {
  /** Absolute. */
  readonly directory: string;
  /** Of the annotations, for people. */
  readonly format: string;
}

export interface FoundFiles {
  /** Images with boxes; they come before images by class. */
  readonly boxes: FoundBoxes | undefined;
  readonly images: FoundImages | undefined;
  readonly table: FoundTable | undefined;
  /** Absolute paths, by name. */
  readonly networks: readonly string[];
  readonly weights: readonly string[];
  /** Files that were found but cannot be used unchanged. */
  readonly notes: readonly string[];
}

const imageName = /\.(?:png|jpe?g)$/i;
/** Names of a column with the class, the likeliest first. */
const labelNames = ['label', 'class', 'target', 'species', 'category', 'y'];
const headBytes = 1 << 16;

/** Looks at the folder and at the folders in it. Hidden ones and `node_modules` are left out. */
export function lookAround(folder: string): FoundFiles {
  const folders = [folder, ...foldersIn(folder)];
  const files = folders.flatMap((directory) => filesIn(directory));
  const ending = (pattern: RegExp): string[] => files.filter((file) => pattern.test(file)).sort();
  const images = folders.map(imagesOf).find((found) => found !== undefined);
  const tables = ending(/\.csv$/i).map(tableOf);
  const table = tables.find((found) => found !== undefined);
  const loose = images === undefined ? folders.find(hasClassFolders) : undefined;
  return {
    boxes: folders.map(boxesOf).find((found) => found !== undefined),
    images,
    table,
    networks: ending(/\.onnx$/i),
    weights: ending(/\.safetensors$/i),
    notes: [
      ...(loose === undefined
        ? []
        : [
            `${shown(folder, loose)} has folders of images, but they must be in train/CLASS and test/CLASS: move them there.`,
          ]),
      ...(images === undefined && table === undefined && tables.length > 0
        ? [`The .csv files have no column named ${labelNames.slice(0, 3).join(', ')}: name it in data.options.label.`]
        : []),
    ],
  };
}

/** `images`, or `.` for the folder itself. */
const shown = (base: string, file: string): string => path.relative(base, file) || '.';

function foldersIn(folder: string): string[] {
  return namesIn(folder)
    .filter((name) => name !== 'node_modules')
    .map((name) => path.join(folder, name))
    .filter((directory) => statSync(directory, {throwIfNoEntry: false})?.isDirectory() === true);
}

const filesIn = (folder: string): string[] =>
  namesIn(folder)
    .map((name) => path.join(folder, name))
    .filter((file) => statSync(file, {throwIfNoEntry: false})?.isFile() === true);

/** Not hidden; none of a folder that cannot be read. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => !name.startsWith('.'))
      .sort();
  } catch {
    return [];
  }
}

const imagesIn = (folder: string): string[] =>
  namesIn(folder)
    .filter((name) => imageName.test(name))
    .map((name) => path.join(folder, name));

const hasImages = (folder: string): boolean => imagesIn(folder).length > 0;

const hasClassFolders = (folder: string): boolean => foldersIn(folder).filter(hasImages).length > 1;

const sampleCount = 20;

function imagesOf(directory: string): FoundImages | undefined {
  const classes = foldersIn(path.join(directory, 'train')).map(imagesIn);
  const isWhole = classes.length > 0 && classes.every((images) => images.length > 0);
  if (!isWhole || !foldersIn(path.join(directory, 'test')).some(hasImages)) return undefined;
  const images = classes.flat();
  const stride = Math.ceil(images.length / sampleCount);
  return {
    directory,
    classes: classes.length,
    count: images.length,
    samples: images.filter((_, index) => index % stride === 0),
  };
}

function boxesOf(directory: string): FoundBoxes | undefined {
  const finder = new ImageFinder(directory);
  if (isYolo(finder, directory)) return {directory, format: 'YOLO'};
  if (isVoc(finder, directory)) return {directory, format: 'Pascal VOC'};
  return isCoco(finder, directory) ? {directory, format: 'COCO'} : undefined;
}

function tableOf(file: string): FoundTable | undefined {
  const [header = ''] = readFileSync(file).subarray(0, headBytes).toString('utf8').split(/\r?\n/);
  const columns = header.split(',').map((name) => name.trim().replace(/^"(.*)"$/, '$1'));
  const label = labelNames.flatMap((wanted) => columns.filter((name) => name.toLowerCase() === wanted))[0];
  return label === undefined || columns.length < 2 ? undefined : {file, label};
}

/**
 * Where editors find the schema of a config in `folder`: the installed package by a relative path, else this one's.
 * @param packageRoot of this package
 */
function schemaPath(folder: string, packageRoot: string): string {
  const inPackage = path.join('schemas', 'config.schema.json');
  for (let at = path.resolve(folder); ; at = path.dirname(at)) {
    const installed = path.join(at, 'node_modules', 'sdq', inPackage);
    if (existsSync(installed)) return path.relative(folder, installed).split(path.sep).join('/');
    if (at === path.dirname(at)) return path.join(packageRoot, inPackage).split(path.sep).join('/');
  }
}

/** The line that YAML editors read. */
export const schemaLine = (folder: string, packageRoot: string): string =>
  `# yaml-language-server: $schema=${schemaPath(folder, packageRoot)}\n`;

/** The first of several, with how many there are. */
export const firstOf = (files: readonly string[], base: string): string =>
  `${shown(base, item(files, 0))}${files.length > 1 ? `, the first of ${files.length}` : ''}`;
