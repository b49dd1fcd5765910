/**
 * Pascal VOC: one XML file for each photograph (Everingham et al. 2010, the development kit's `Annotations`). Coordinates are taken as
 * they are written, as edges in pixels from the left and from the top.
 */
import path from 'node:path';

import sax from 'sax';

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

/** A photograph with a thousand objects takes 300 KB. */
const maxFileBytes = 2 ** 24;
/** Of the deepest path of the format: annotation/object/part/bndbox/xmin. */
const maxDepth = 16;

const edges = ['xmin', 'ymin', 'xmax', 'ymax'] as const;

/** Text of the elements inside one object, by path, e.g. `bndbox/xmin`. */
interface XmlObject {
  readonly place: string;
  readonly values: Map<string, string>;
}

interface XmlAnnotation {
  /** Text of the elements outside objects, by path, e.g. `size/width`. */
  readonly values: ReadonlyMap<string, string>;
  readonly objects: readonly XmlObject[];
}

/** @throws SdqError (exit 3) for XML that is broken, nests too deep or declares entities */
function parseXml(file: string): XmlAnnotation {
  const text = readTextBounded(file, maxFileBytes);
  const parser = sax.parser(true, {position: true});
  const values = new Map<string, string>();
  const objects: XmlObject[] = [];
  const open: string[] = [];
  let content = '';
  const fail = (message: string): never => {
    throw annotationFault(file, `, line ${parser.line + 1}: ${message}`);
  };
  parser.onerror = ({message}) => fail(`it is not XML: ${(message.split('\n')[0] ?? '').toLowerCase()}.`);
  parser.ondoctype = () => fail('a DOCTYPE is not allowed.');
  parser.onopentag = ({name}) => {
    if (open.length === 0 && name !== 'annotation') fail(`the file begins with <${name}>, not <annotation>.`);
    open.push(name);
    content = '';
    if (open.length > maxDepth) fail(`elements nest deeper than ${maxDepth} levels.`);
    if (open.length === 2 && name === 'object') {
      objects.push({place: `object ${objects.length + 1} (line ${parser.line + 1})`, values: new Map()});
    }
  };
  parser.ontext = parser.oncdata = (more) => (content += more);
  parser.onclosetag = () => {
    const inObject = open[1] === 'object' ? objects.at(-1) : undefined;
    (inObject?.values ?? values).set(open.slice(inObject === undefined ? 1 : 2).join('/'), content.trim());
    open.pop();
    content = '';
  };
  parser.write(text).close();
  return {values, objects};
}

/** The boxes of one file, in the order of their objects. */
function readAnnotation(file: string, report: ReportFault): Omit<AnnotatedImage, 'file'> & {readonly filename: string} {
  const {objects, values} = parseXml(file);
  const side = (name: 'width' | 'height'): number => {
    const text = values.get(`size/${name}`);
    const pixels = decimalNumber(text ?? '');
    if (pixels !== undefined && pixels >= 1) return pixels;
    throw annotationFault(
      file,
      `: annotation/size/${name} is ${text === undefined ? 'missing' : shownValue(text)}; the image's ${name} in pixels is needed.`,
    );
  };
  const size = {width: side('width'), height: side('height')};
  const boxes: AnnotatedBox[] = [];
  for (const object of objects) {
    const box = boxOf(file, object, size, report);
    if (box !== undefined) boxes.push(box);
  }
  return {source: file, size, boxes, filename: values.get('filename') ?? ''};
}

function boxOf(
  file: string,
  {place, values}: XmlObject,
  {height, width}: {readonly width: number; readonly height: number},
  report: ReportFault,
): AnnotatedBox | undefined {
  const className = values.get('name') ?? '';
  if (className === '') {
    report(annotationFault(file, `, ${place}: it has no name.`));
    return undefined;
  }
  const numbers = edges.map((edge) => decimalNumber(values.get(`bndbox/${edge}`) ?? ''));
  const [left, top, right, bottom] = numbers;
  if (left === undefined || top === undefined || right === undefined || bottom === undefined) {
    const edge = edges[numbers.indexOf(undefined)] ?? 'xmin';
    const text = values.get(`bndbox/${edge}`);
    const what = text === undefined ? 'is missing' : `is ${shownValue(text)}`;
    report(annotationFault(file, `, ${place}: bndbox/${edge} ${what}; a number is needed.`));
    return undefined;
  }
  const corners = [left / width, top / height, right / width, bottom / height] as const;
  return {className, corners, ignore: values.get('difficult') === '1', place};
}

/** Where a data set of this layout has its XML files and photographs. */
interface VocLayout {
  readonly annotations: string;
  readonly images: readonly string[];
}

function layoutOf(finder: ImageFinder, folder: string, images: string | undefined): VocLayout | undefined {
  const hasXml = (directory: string): boolean => [...finder.namesIn(directory)].some((name) => name.endsWith('.xml'));
  const annotations = ['Annotations', 'annotations', '.'].map((name) => path.join(folder, name)).find(hasXml);
  if (annotations === undefined) return undefined;
  const chosen = images === undefined ? undefined : [path.join(folder, images)];
  const beside = ['JPEGImages', 'images', '.'].map((name) => path.join(folder, name));
  return {annotations, images: chosen ?? [...beside, annotations]};
}

/** Whether the folder has XML files where Pascal VOC has them. */
export const isVoc = (finder: ImageFinder, directory: string): boolean =>
  [directory, path.join(directory, 'train')].some((folder) => layoutOf(finder, folder, undefined) !== undefined);

/** One list of `ImageSets/Main`, or every XML file of the folder. `place` says where an entry is, for messages. */
interface Entry {
  readonly id: string;
  readonly source: string;
  readonly place: string;
}

function listed(file: string, finder: ImageFinder): Entry[] {
  const seen = new Map<string, number>();
  const found: Entry[] = [];
  for (const [index, line] of readTextBounded(file, maxFileBytes).split('\n').entries()) {
    // Lists of one class have a second column: 1, 0 or -1.
    const [id = ''] = line.trim().split(/\s+/);
    if (id === '') continue;
    const place = `line ${index + 1}`;
    const before = seen.get(id);
    if (before !== undefined)
      throw annotationFault(file, `, ${place}: ${shownValue(id)} is in line ${before} already.`);
    if (!finder.isInside(path.join(path.dirname(file), '../..', 'Annotations', `${id}.xml`)) || /[\\/]/.test(id)) {
      throw annotationFault(file, `, ${place}: ${shownValue(id)} is not the name of a file without its extension.`);
    }
    seen.set(id, index + 1);
    found.push({id, source: file, place});
  }
  return found;
}

function readImage(
  {annotations, images}: VocLayout,
  {id, place, source}: Entry,
  finder: ImageFinder,
  report: ReportFault,
): AnnotatedImage | undefined {
  const file = path.join(annotations, `${id}.xml`);
  try {
    if (!finder.exists(file)) throw annotationFault(source, `, ${place}: there is no annotation ${file}.`);
    const {filename, ...image} = readAnnotation(file, report);
    const names = [
      ...['jpg', 'jpeg', 'png', 'JPG', 'JPEG', 'PNG'].map((extension) => `${id}.${extension}`),
      filename,
    ].filter((name) => imageName.test(name));
    const candidates = images.flatMap((folder) => names.map((name) => path.join(folder, name)));
    const photograph = candidates.find((candidate) => finder.exists(candidate) && finder.isInside(candidate));
    if (photograph !== undefined) return {...image, file: photograph};
    const outside = filename.includes('..') ? path.resolve(path.dirname(file), filename) : undefined;
    throw (
      finder.faultOf(outside ?? path.join(images[0] ?? '', filename || `${id}.jpg`), file, 'filename') ??
      annotationFault(file, `: there is no image ${id}.jpg, .jpeg or .png.`)
    );
  } catch (error) {
    if (!(error instanceof SdqError)) throw error;
    report(error);
    return undefined;
  }
}

/** @throws SdqError (exit 3) for lists that are broken or missing, and what `report` throws */
export function readVoc(
  directory: string,
  sources: AnnotationSources,
  finder: ImageFinder,
  report: ReportFault,
): Annotations {
  const readAll = (layout: VocLayout, entries: readonly Entry[]): AnnotatedImage[] =>
    entries.map((entry) => readImage(layout, entry, finder, report)).filter((image) => image !== undefined);
  const whole = layoutOf(finder, directory, sources.images);
  if (whole !== undefined) {
    const lists = path.join(directory, 'ImageSets', 'Main');
    const names = [...finder.namesIn(lists)];
    const has = (name: string): boolean => names.includes(`${name}.txt`);
    const list = (name: string): Entry[] => listed(path.join(lists, `${name}.txt`), finder);
    const test = sources.test ?? ['test', 'val'].find(has);
    const usual =
      has('trainval') && test !== 'val' ? ['trainval'] : ['train', 'val'].filter((name) => has(name) && name !== test);
    const train = sources.train === undefined ? usual : [sources.train];
    if (names.length > 0 && train.length === 0) throw annotationFault(lists, ' has no trainval.txt and no train.txt.');
    const entries = names.length === 0 && sources.train === undefined ? everyXml(whole, finder) : train.flatMap(list);
    return {
      train: readAll(whole, entries),
      test: test === undefined ? undefined : readAll(whole, list(test)),
      classes: undefined,
    };
  }
  const part = (name: string): AnnotatedImage[] | undefined => {
    const layout = layoutOf(finder, path.join(directory, name), sources.images);
    return layout === undefined ? undefined : readAll(layout, everyXml(layout, finder));
  };
  const held = ['valid', 'val'].map(part).find((images) => images !== undefined);
  const test = part(sources.test ?? 'test');
  const train = part(sources.train ?? 'train') ?? [];
  return {train: test === undefined ? train : [...train, ...(held ?? [])], test: test ?? held, classes: undefined};
}

const everyXml = ({annotations}: VocLayout, finder: ImageFinder): Entry[] =>
  [...finder.namesIn(annotations)]
    .filter((name) => name.endsWith('.xml'))
    .map((name) => ({id: name.slice(0, -4), source: annotations, place: name}));
