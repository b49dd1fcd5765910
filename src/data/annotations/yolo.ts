/**
 * YOLO: a text file for each photograph, a line for each box: class, centre and size as fractions of the image. `data.yaml` names the classes
 * and the folders of photographs, as Ultralytics, Roboflow and Label Studio write it.
 */
import {statSync} from 'node:fs';
import path from 'node:path';

import {parse, YAMLParseError} from 'yaml';

import {cornersOf, type Box} from '../../detection/boxes.ts';
import {SdqError} from '../../errors.ts';
import {readTextBounded} from '../../files.ts';
import {
  annotationFault,
  decimalNumber,
  imageName,
  shownValue,
  type AnnotatedBox,
  type AnnotatedImage,
  type Annotations,
  type AnnotationSources,
  type ImageFinder,
  type ReportFault,
} from './annotated-image.ts';

const maxYamlBytes = 2 ** 20;
const maxLabelBytes = 2 ** 24;
/** Of lists of photographs. */
const maxListBytes = 2 ** 28;

const yamlNames = ['data.yaml', 'data.yml', 'dataset.yaml', 'dataset.yml'];

const yamlOf = (finder: ImageFinder, directory: string): string | undefined =>
  yamlNames.map((name) => path.join(directory, name)).find((file) => finder.exists(file));

export const isYolo = (finder: ImageFinder, directory: string): boolean => yamlOf(finder, directory) !== undefined;

/** @throws SdqError (exit 3) for a `data.yaml` or a list that is broken or missing, and what `report` throws */
export function readYolo(
  directory: string,
  sources: AnnotationSources,
  finder: ImageFinder,
  report: ReportFault,
): Annotations {
  const file = yamlOf(finder, directory) ?? path.join(directory, 'data.yaml');
  const settings = readSettings(file);
  const classes = classesOf(settings, file);
  const part = (key: string): AnnotatedImage[] | undefined => {
    const value = settings[key];
    if (value === undefined || value === null || value === '') return undefined;
    const folders = (Array.isArray(value) ? value : [value]) as unknown[];
    return folders
      .flatMap((folder) => photographs(folder, key, {file, settings, directory, finder, report}))
      .map((image) => readImage(image, classes, finder, report))
      .filter((image) => image !== undefined);
  };
  const trainKey = sources.train ?? 'train';
  const train = part(trainKey);
  if (train === undefined) throw annotationFault(file, ` has no key ${shownValue(trainKey)}.`);
  if (sources.test !== undefined) {
    const test = part(sources.test);
    if (test === undefined) throw annotationFault(file, ` has no key ${shownValue(sources.test)}.`);
    return {train, test, classes};
  }
  const [held, test] = [part('val'), part('test')];
  return {train: test === undefined ? train : [...train, ...(held ?? [])], test: test ?? held, classes};
}

function readSettings(file: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = parse(readTextBounded(file, maxYamlBytes));
  } catch (error) {
    if (error instanceof SdqError) throw error;
    const line = error instanceof YAMLParseError ? error.linePos?.[0].line : undefined;
    const [reason = ''] = (error as Error).message.split('\n');
    throw annotationFault(file, `${line === undefined ? '' : `, line ${line}`}: it is not YAML: ${reason}`);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw annotationFault(file, ' has no keys; names, train and val are needed.');
}

/** `names` is a list, or a map from 0, 1, … */
function classesOf({names, nc}: Readonly<Record<string, unknown>>, file: string): string[] {
  const isMap = typeof names === 'object' && names !== null && !Array.isArray(names);
  const list: unknown = isMap
    ? Object.keys(names).map((_, index) => (names as Readonly<Record<string, unknown>>)[String(index)])
    : names;
  if (!Array.isArray(list) || list.length === 0) {
    throw annotationFault(file, `: names is ${shownValue(names)}; the list of class names is needed.`);
  }
  for (const [index, name] of list.entries()) {
    if (!['string', 'number', 'boolean'].includes(typeof name)) {
      throw annotationFault(file, `: names has no name for class ${index}; names for 0, 1, … are needed.`);
    }
  }
  const classes = list.map(String);
  if (nc !== undefined && nc !== classes.length) {
    throw annotationFault(file, `: nc is ${shownValue(nc)}, but names has ${classes.length} classes.`);
  }
  return classes;
}

interface Photograph {
  readonly file: string;
  /** The file and place that name it. */
  readonly source: string;
  readonly place: string;
}

interface Context {
  readonly file: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly directory: string;
  readonly finder: ImageFinder;
  readonly report: ReportFault;
}

/** The photographs of a folder and the folders in it, or of a list in a text file. */
function photographs(value: unknown, key: string, {directory, file, finder, report, settings}: Context): Photograph[] {
  if (typeof value !== 'string') {
    throw annotationFault(file, `: ${key} is ${shownValue(value)}; a folder or a list of images is needed.`);
  }
  const base = path.resolve(directory, typeof settings['path'] === 'string' ? settings['path'] : '.');
  // `path` often is of the machine that the file was written on, and Roboflow writes `../train/images` for a folder beside the file.
  const stripped = value.replace(/^(?:\.\.?[\\/])+/, '');
  const candidates = [path.resolve(base, value), path.resolve(directory, value), path.resolve(directory, stripped)];
  const inside = candidates.filter((candidate) => finder.isInside(candidate));
  const found = inside.find((candidate) => statSync(candidate, {throwIfNoEntry: false}) !== undefined);
  if (found === undefined) {
    const [first = item0(candidates)] = inside;
    const why = inside.length === 0 ? `is outside of ${directory}, the data set's folder` : 'is not there';
    throw annotationFault(file, `: ${key}: ${first} ${why}.`);
  }
  if (statSync(found).isDirectory()) {
    const files = imagesBelow(found, finder, 0);
    if (files.length === 0) throw annotationFault(file, `: ${key}: ${found} has no .png, .jpg or .jpeg file.`);
    return files.map((image) => ({file: image, source: file, place: key}));
  }
  const images: Photograph[] = [];
  for (const [index, line] of readTextBounded(found, maxListBytes).split('\n').entries()) {
    const name = line.trim();
    if (name === '') continue;
    const places = [path.resolve(path.dirname(found), name), path.resolve(base, name)];
    const image = places.find((each) => finder.exists(each) && finder.isInside(each)) ?? item0(places);
    const place = `line ${index + 1}`;
    const fault = finder.faultOf(image, found, place);
    if (fault === undefined) images.push({file: image, source: found, place});
    else report(fault);
  }
  return images;
}

const item0 = (list: readonly string[]): string => list[0] ?? '';

/** No data set has its photographs deeper; a link to a folder above would never end. */
const maxFolderDepth = 8;

function imagesBelow(folder: string, finder: ImageFinder, depth: number): string[] {
  return [...finder.namesIn(folder)].flatMap((name) => {
    const file = path.join(folder, name);
    if (imageName.test(name)) return [file];
    const isFolder = depth < maxFolderDepth && statSync(file, {throwIfNoEntry: false})?.isDirectory() === true;
    return isFolder ? imagesBelow(file, finder, depth + 1) : [];
  });
}

/** Ultralytics' rule: the last folder named `images` becomes `labels`; else the labels lie beside the photographs. */
function labelsOf(image: string): string {
  const parts = image.replace(/\.[^.]*$/, '.txt').split(path.sep);
  const last = parts.lastIndexOf('images', -2);
  return last < 0 ? parts.join(path.sep) : parts.with(last, 'labels').join(path.sep);
}

/** A photograph without a file of labels shows no object. */
function readImage(
  {file}: Photograph,
  classes: readonly string[],
  finder: ImageFinder,
  report: ReportFault,
): AnnotatedImage | undefined {
  const source = labelsOf(file);
  const boxes: AnnotatedBox[] = [];
  if (!finder.exists(source)) return {file, source, size: undefined, boxes};
  let text: string;
  try {
    text = readTextBounded(source, maxLabelBytes);
  } catch (error) {
    if (!(error instanceof SdqError)) throw error;
    report(error);
    return undefined;
  }
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const box = boxOf(line, `line ${index + 1}`, classes, source, report);
    if (box !== undefined) boxes.push(box);
  }
  return {file, source, size: undefined, boxes};
}

function boxOf(
  line: string,
  place: string,
  classes: readonly string[],
  source: string,
  report: ReportFault,
): AnnotatedBox | undefined {
  const columns = line.trim().split(/\s+/);
  const numbers = columns.map(decimalNumber);
  const wrong = numbers.indexOf(undefined);
  const [index = NaN, ...rest] = numbers as number[];
  const isPolygon = rest.length >= 6 && rest.length % 2 === 0;
  if (rest.length !== 4 && !isPolygon) {
    const needed = 'class, x, y, width, height (or the corners of a polygon) are needed';
    report(annotationFault(source, `, ${place}: found ${columns.length} columns; ${needed}.`));
    return undefined;
  }
  if (wrong >= 0) {
    report(
      annotationFault(source, `, ${place}: column ${wrong + 1} is ${shownValue(columns[wrong])}; a number is needed.`),
    );
    return undefined;
  }
  if (!Number.isInteger(index) || index < 0) {
    report(
      annotationFault(source, `, ${place}: the class is ${shownValue(columns[0])}; a whole number from 0 is needed.`),
    );
    return undefined;
  }
  const corners = isPolygon ? aroundPolygon(rest) : cornersOf(...(rest as [number, number, number, number]));
  // A class that data.yaml lacks goes by its number; whoever checks the boxes says what is done with it.
  return {className: classes[index] ?? `class ${index}`, corners, ignore: false, place};
}

function aroundPolygon(points: readonly number[]): Box {
  const corners: [number, number, number, number] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [index, value] of points.entries()) {
    const axis = index % 2 === 0 ? 0 : 1;
    corners[axis] = Math.min(corners[axis], value);
    corners[axis === 0 ? 2 : 3] = Math.max(corners[axis === 0 ? 2 : 3], value);
  }
  return corners;
}
