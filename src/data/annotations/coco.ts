/** COCO JSON (Lin et al. 2014, "Data format" of cocodataset.org): one file of images, annotations and categories for each split. */
import {readFileBounded} from '../../files.ts';
import path from 'node:path';

import {
  annotationFault,
  shownValue,
  type AnnotatedBox,
  type AnnotatedImage,
  type Annotations,
  type AnnotationSources,
  type ImageFinder,
  type ReportFault,
} from './annotated-image.ts';

/** Strings of V8 end there; `instances_train2017.json` has 448 MB. */
const maxFileBytes = 500 * 2 ** 20;

type Fields = Readonly<Record<string, unknown>>;

/** Names of files and folders for each split. */
const splitNames = {train: ['train'], held: ['val', 'valid'], test: ['test']} as const;

/** The files of a split in the layouts that people have; several are ambiguous. */
function filesOf(directory: string, finder: ImageFinder, names: readonly string[]): string[] {
  const roboflow = names
    .map((name) => path.join(directory, name, '_annotations.coco.json'))
    .filter((file) => finder.exists(file));
  if (roboflow.length > 0) return roboflow;
  for (const folder of [path.join(directory, 'annotations'), directory]) {
    const json = [...finder.namesIn(folder)].filter((name) => /\.json$/i.test(name));
    const boxes = json.filter((name) => name.startsWith('instances_'));
    const matching = (boxes.length > 0 ? boxes : json).filter((name) =>
      names.some((split) =>
        name
          .toLowerCase()
          .split(/[^a-z]+/)
          .includes(split),
      ),
    );
    if (matching.length > 0) return matching.map((name) => path.join(folder, name));
  }
  return [];
}

function onlyOne(files: readonly string[], option: 'train' | 'test'): string | undefined {
  const [first, second] = files;
  if (first === undefined || second === undefined) return first;
  throw annotationFault(first, ` and ${second} are both there: say which is meant.`, [
    `--set data.options.${option}=${path.basename(path.dirname(first))}/${path.basename(first)}`,
  ]);
}

/** The only JSON file of annotations, by its name, in a folder that has no splits. */
function singleFile(directory: string, finder: ImageFinder): string | undefined {
  const files = [directory, path.join(directory, 'annotations')].flatMap((folder) =>
    [...finder.namesIn(folder)]
      .filter((name) => /(?:annotations?|coco|instances).*\.json$/i.test(name))
      .map((name) => path.join(folder, name)),
  );
  return files.length === 1 ? files[0] : undefined;
}

export const isCoco = (finder: ImageFinder, directory: string): boolean =>
  filesOf(directory, finder, splitNames.train).length > 0 || singleFile(directory, finder) !== undefined;

/** @throws SdqError (exit 3) for a file that is no JSON of this form, and what `report` throws */
export function readCoco(
  directory: string,
  sources: AnnotationSources,
  finder: ImageFinder,
  report: ReportFault,
): Annotations {
  const chosen = (name: string | undefined): string | undefined =>
    name === undefined ? undefined : path.resolve(directory, name);
  const usual = (names: readonly string[], option: 'train' | 'test'): string | undefined =>
    onlyOne(filesOf(directory, finder, names), option);
  const trainFile =
    chosen(sources.train) ?? usual(splitNames.train, 'train') ?? singleFile(directory, finder) ?? directory;
  const train = readFile(trainFile, directory, sources, finder, report);
  const testOnly = chosen(sources.test) ?? usual(splitNames.test, 'test');
  const heldFile =
    sources.train === undefined && sources.test === undefined ? usual(splitNames.held, 'test') : undefined;
  const read = (file: string | undefined): readonly AnnotatedImage[] | undefined =>
    file === undefined || file === trainFile ? undefined : readFile(file, directory, sources, finder, report).images;
  const [test, held] = [read(testOnly), read(heldFile)];
  return {
    train: test === undefined ? train.images : [...train.images, ...(held ?? [])],
    test: test ?? held,
    classes: train.classes,
  };
}

/** @throws SdqError (exit 3) */
function parseFile(file: string): {images: Fields[]; annotations: Fields[]; categories: Fields[]} {
  const bytes = readFileBounded(file, maxFileBytes);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', {fatal: true}).decode(bytes));
  } catch (error) {
    const reason = error instanceof SyntaxError ? error.message : 'it is not text in UTF-8';
    throw annotationFault(file, ` is not JSON: ${reason.replace(/\s+/g, ' ')}.`);
  }
  const list = (key: string): Fields[] => {
    const found = typeof value === 'object' && value !== null ? (value as Fields)[key] : undefined;
    if (!Array.isArray(found)) {
      throw annotationFault(file, `, /${key}: found ${shownValue(found)}; COCO has a list there.`);
    }
    const index = found.findIndex((each) => typeof each !== 'object' || each === null || Array.isArray(each));
    if (index < 0) return found as Fields[];
    throw annotationFault(file, `, /${key}/${index}: found ${shownValue(found[index])}; an object is needed.`);
  };
  return {images: list('images'), annotations: list('annotations'), categories: list('categories')};
}

interface Checks {
  /** @throws SdqError (exit 3) for ids that are not integers or occur twice @returns places by id */
  readonly ids: (key: string, entries: readonly Fields[]) => Map<number, number>;
  readonly fault: (pointer: string, found: unknown, needed: string) => void;
}

function checksOf(file: string, report: ReportFault): Checks {
  const fault = (pointer: string, found: unknown, needed: string): void =>
    report(annotationFault(file, `, ${pointer}: found ${shownValue(found)}; ${needed}.`));
  return {
    fault,
    ids(key, entries) {
      const places = new Map<number, number>();
      for (const [index, {id}] of entries.entries()) {
        const before = typeof id === 'number' ? places.get(id) : undefined;
        if (typeof id !== 'number' || !Number.isInteger(id)) fault(`/${key}/${index}/id`, id, 'an integer is needed');
        else if (before !== undefined) fault(`/${key}/${index}/id`, id, `/${key}/${before} has this id already`);
        else places.set(id, index);
      }
      return places;
    },
  };
}

function readFile(
  file: string,
  directory: string,
  sources: AnnotationSources,
  finder: ImageFinder,
  report: ReportFault,
): {readonly images: AnnotatedImage[]; readonly classes: string[]} {
  const {annotations, categories, images} = parseFile(file);
  const checks = checksOf(file, report);
  const categoryPlaces = checks.ids('categories', categories);
  const names = new Map<number, string>();
  for (const [id, index] of [...categoryPlaces].sort(([a], [b]) => a - b)) {
    const name = categories[index]?.['name'];
    if (typeof name === 'string' && name !== '') names.set(id, name);
    else checks.fault(`/categories/${index}/name`, name, 'a name is needed');
  }
  const found = photographs(
    file,
    images,
    imageFolder(file, images, directory, sources.images, finder),
    finder,
    checks,
    report,
  );
  if (annotations.some(({id}) => id !== undefined)) checks.ids('annotations', annotations);
  for (const [index, annotation] of annotations.entries()) {
    const {category_id: category, image_id: image} = annotation;
    const photograph = found.get(image as number);
    const pointer = `/annotations/${index}`;
    const className = names.get(category as number);
    if (!found.has(image as number)) checks.fault(`${pointer}/image_id`, image, 'no image has this id');
    else if (className === undefined) checks.fault(`${pointer}/category_id`, category, 'no category has this id');
    else if (photograph !== undefined) {
      const box = boxOf(annotation, className, pointer, photograph.size, checks);
      if (box !== undefined) photograph.boxes.push(box);
    }
  }
  return {images: [...found.values()].filter((image) => image !== undefined), classes: [...names.values()]};
}

interface Photograph extends AnnotatedImage {
  readonly size: {readonly width: number; readonly height: number};
  readonly boxes: AnnotatedBox[];
}

/** By id; undefined where something is wrong with the photograph. */
function photographs(
  file: string,
  images: readonly Fields[],
  folder: string,
  finder: ImageFinder,
  checks: Checks,
  report: ReportFault,
): Map<number, Photograph | undefined> {
  const found = new Map<number, Photograph | undefined>();
  for (const [id, index] of checks.ids('images', images)) {
    const {file_name: name, height, width} = images[index] ?? {};
    const pointer = `/images/${index}`;
    found.set(id, undefined);
    if (typeof name !== 'string' || name === '') {
      checks.fault(`${pointer}/file_name`, name, 'a name is needed');
    } else if (typeof width !== 'number' || !(width >= 1)) {
      checks.fault(`${pointer}/width`, width, "the image's width in pixels is needed");
    } else if (typeof height !== 'number' || !(height >= 1)) {
      checks.fault(`${pointer}/height`, height, "the image's height in pixels is needed");
    } else {
      const photograph = path.resolve(folder, name);
      const fault = finder.faultOf(photograph, file, `${pointer}/file_name`);
      if (fault === undefined) found.set(id, {file: photograph, source: file, size: {width, height}, boxes: []});
      else report(fault);
    }
  }
  return found;
}

/** The folder that has the first photograph: beside the file, or where COCO has them. */
function imageFolder(
  file: string,
  images: readonly Fields[],
  directory: string,
  chosen: string | undefined,
  finder: ImageFinder,
): string {
  if (chosen !== undefined) return path.resolve(directory, chosen);
  const split = path.basename(file, path.extname(file)).replace(/^instances_/, '');
  const folders = [path.dirname(file), directory, path.join(directory, 'images')].flatMap((folder) => [
    folder,
    path.join(folder, split),
  ]);
  const name = images.map((image) => image['file_name']).find((each) => typeof each === 'string') ?? '';
  return folders.find((folder) => finder.exists(path.resolve(folder, name))) ?? path.dirname(file);
}

function boxOf(
  {bbox, iscrowd}: Fields,
  className: string,
  pointer: string,
  {height, width}: {readonly width: number; readonly height: number},
  {fault}: Checks,
): AnnotatedBox | undefined {
  if (!Array.isArray(bbox) || bbox.length !== 4) {
    fault(`${pointer}/bbox`, bbox, 'four numbers are needed: x, y, width, height');
    return undefined;
  }
  const wrong = bbox.findIndex((value) => typeof value !== 'number' || !Number.isFinite(value));
  if (wrong >= 0) {
    fault(`${pointer}/bbox/${wrong}`, bbox[wrong], 'a number is needed');
    return undefined;
  }
  const [x, y, w, h] = bbox as [number, number, number, number];
  const corners = [x / width, y / height, (x + w) / width, (y + h) / height] as const;
  return {className, corners, ignore: iscrowd === 1 || iscrowd === true, place: pointer};
}
