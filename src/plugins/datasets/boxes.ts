/** The user's own photographs with boxes: Pascal VOC, COCO or YOLO. */
import path from 'node:path';

import {
  annotationFault,
  ImageFinder,
  type AnnotatedImage,
  type Annotations,
  type AnnotationSources,
  type ReportFault,
  type SizedImage,
} from '../../data/annotations/annotated-image.ts';
import {BoxNotices, checkedBoxes, type BoxRules} from '../../data/annotations/checked-boxes.ts';
import {isCoco, readCoco} from '../../data/annotations/coco.ts';
import {isVoc, readVoc} from '../../data/annotations/voc.ts';
import {isYolo, readYolo} from '../../data/annotations/yolo.ts';
import type {Dataset, DetectionAugmentation, Split} from '../../data/dataset.ts';
import {decodeRegion, imageSize} from '../../data/decode-image.ts';
import {digestFraction, inDigestOrder} from '../../data/digest-order.ts';
import {packPaths} from '../../data/path-list.ts';
import {requireSharp} from '../../data/sharp.ts';
import {invalidInput, SdqError} from '../../errors.ts';
import type {DatasetDefinition, OptionsSchema} from '../../plugin-api/registry.ts';
import {nothingToFetch} from './own-files.ts';

interface BoxesOptions extends AnnotationSources, Partial<BoxRules> {
  readonly format?: 'auto' | Format;
  readonly classes?: readonly string[];
  readonly testShare?: number;
  readonly size?: number;
  readonly augmentation?: Partial<DetectionAugmentation>;
}

type Format = keyof typeof formats;

const formats = {
  yolo: {isThere: isYolo, read: readYolo},
  voc: {isThere: isVoc, read: readVoc},
  coco: {isThere: isCoco, read: readCoco},
} as const;

const maxClasses = 65_536; // class indices are 16 bits wide
/** `data verify` stops after so many faults. */
const maxFaults = 20;

/** Darknet's yolov4-tiny.cfg has saturation, exposure and hue; it has jitter 0.3, and mosaic comes from yolov4.cfg. */
const defaultAugmentation: DetectionAugmentation = {
  mosaic: 0.5,
  jitter: 0.2,
  hue: 0.1,
  saturation: 1.5,
  exposure: 1.5,
};

/** What the folder has. */
interface Contents {
  readonly classes: readonly string[];
  readonly train: readonly SizedImage[];
  readonly test: readonly SizedImage[];
}

function formatOf(directory: string, finder: ImageFinder, wanted: 'auto' | Format): Format {
  const found =
    wanted === 'auto'
      ? (Object.keys(formats) as Format[]).find((name) => formats[name].isThere(finder, directory))
      : wanted;
  if (found !== undefined) return found;
  throw invalidInput('annotations-missing', `${directory} has no annotations of boxes that sdq knows.`, [
    'YOLO: data.yaml, and a .txt file for each image.',
    'Pascal VOC: Annotations/*.xml and JPEGImages/, or .xml files beside the images in train/ and test/.',
    'COCO: annotations/instances_train*.json and instances_val*.json, or train/_annotations.coco.json.',
    'Name the folder: --set data.directory=DIR',
  ]);
}

async function readContents(directory: string, options: BoxesOptions, report: ReportFault): Promise<Contents> {
  const finder = new ImageFinder(directory);
  const {read} = formats[formatOf(directory, finder, options.format ?? 'auto')];
  const annotations = read(directory, options, finder, report);
  const {train, test} = splitsOf(annotations, directory, options.testShare ?? 0.2);
  if (train.length === 0) throw annotationFault(directory, ' has no annotated image to train on.');
  if (test.length === 0) {
    throw annotationFault(directory, ' has no annotated image to test on.', ['--set data.options.testShare=0.3']);
  }
  const classes = options.classes ?? annotations.classes ?? namesIn(train);
  if (classes.length === 0 || classes.length > maxClasses || new Set(classes).size < classes.length) {
    const what = classes.length === 0 ? 'no classes' : 'a class twice, or too many';
    throw annotationFault(directory, ` has ${what}: ${classes.slice(0, 12).join(', ')}.`);
  }
  return {classes, train: await sized(train, report), test: await sized(test, report)};
}

const namesIn = (images: readonly AnnotatedImage[]): string[] =>
  [...new Set(images.flatMap(({boxes}) => boxes.map(({className}) => className)))].sort();

/** Training images in the order of a digest, so that their end, which is held out, is a sample. */
function splitsOf(
  {train, test}: Annotations,
  directory: string,
  testShare: number,
): {readonly train: readonly AnnotatedImage[]; readonly test: readonly AnnotatedImage[]} {
  const nameOf = ({file}: AnnotatedImage): string => path.relative(directory, file).split(path.sep).join('/');
  const mixed = inDigestOrder(train, nameOf);
  if (test !== undefined) return {train: mixed, test};
  // Another digest than that of the order: the end of the order would be empty otherwise.
  const isTest = (image: AnnotatedImage): boolean => digestFraction(`test ${nameOf(image)}`) < testShare;
  return {train: mixed.filter((image) => !isTest(image)), test: mixed.filter(isTest)};
}

/** With their sizes: those of the annotations, else of the files. */
async function sized(images: readonly AnnotatedImage[], report: ReportFault): Promise<SizedImage[]> {
  const result: SizedImage[] = [];
  for (const image of images) {
    try {
      result.push({...image, size: image.size ?? (await imageSize(image.file))});
    } catch (error) {
      if (!(error instanceof SdqError)) throw error;
      report(error);
    }
  }
  return result;
}

function splitOf(
  images: readonly SizedImage[],
  {classes}: Contents,
  {withoutArea = 'drop', outside = 'refuse', unknownClass = 'refuse'}: BoxesOptions,
  context: {readonly notices: BoxNotices; readonly report: ReportFault},
): Split {
  return {
    kind: 'files',
    paths: packPaths(images.map(({file}) => file)),
    labels: new Uint16Array(new SharedArrayBuffer(2 * images.length)),
    boxes: checkedBoxes(images, classes, {withoutArea, outside, unknownClass}, context),
  };
}

/** Whether the file decodes, and is as large as its annotation says. */
async function faultOf({file, size, source}: SizedImage): Promise<string | undefined> {
  try {
    const actual = await imageSize(file);
    if (actual.width !== size.width || actual.height !== size.height) {
      return (
        `${source}: the size is ${size.width} × ${size.height}, but ${file} has ${actual.width} × ${actual.height} pixels. ` +
        'Boxes are placed as fractions of the size.'
      );
    }
    await decodeRegion(file, (width, height) => ({source: {left: 0, top: 0, width, height}, width: 8, height: 8}));
    return undefined;
  } catch (error) {
    if (error instanceof SdqError) return error.message;
    throw error;
  }
}

async function verify(directory: string, options: BoxesOptions): Promise<readonly string[]> {
  const faults: string[] = [];
  const report: ReportFault = ({message}) => {
    if (faults.length < maxFaults) faults.push(message);
  };
  let contents: Contents;
  try {
    contents = await readContents(directory, options, report);
  } catch (error) {
    if (!(error instanceof SdqError) || faults.length === 0) throw error;
    return faults;
  }
  const context = {notices: new BoxNotices(), report};
  for (const images of [contents.train, contents.test]) {
    splitOf(images, contents, options, context);
    for (let first = 0; first < images.length && faults.length < maxFaults; first += 4) {
      const part = await Promise.all(images.slice(first, first + 4).map(faultOf));
      faults.push(...part.filter((fault) => fault !== undefined));
    }
  }
  return faults.slice(0, maxFaults);
}

async function open(directory: string, options: BoxesOptions): Promise<Dataset> {
  requireSharp();
  const {augmentation, size = 416} = options;
  const notices = new BoxNotices();
  const report: ReportFault = (fault) => {
    throw fault;
  };
  const contents = await readContents(directory, options, report);
  const split = (images: readonly SizedImage[]): Split => splitOf(images, contents, options, {notices, report});
  return {
    name: 'boxes',
    classes: contents.classes,
    boxes: true,
    train: split(contents.train),
    test: split(contents.test),
    height: size,
    width: size,
    channels: 3,
    // Pixels in 0 … 1, as darknet's networks take them.
    mean: [0, 0, 0],
    std: [1, 1, 1],
    augmentation: {pad: 0, flip: true, detection: {...defaultAugmentation, ...augmentation}},
    notices: notices.sentences(),
  };
}

const text = (description: string): OptionsSchema => ({type: 'string', minLength: 1, description});

const optionsSchema: OptionsSchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    format: {
      enum: ['auto', 'voc', 'coco', 'yolo'],
      default: 'auto',
      description: 'How boxes are written. `auto` looks at the folder: data.yaml, .xml files, or .json files.',
    },
    size: {
      type: 'integer',
      minimum: 32,
      maximum: 4096,
      default: 416,
      description: "Height and width of the network's input, in pixels. YOLO networks take multiples of 32.",
    },
    train: text(
      'What to train on: a COCO file, a list of ImageSets/Main or a folder of Pascal VOC, a key of data.yaml. Left out: looked for.',
    ),
    test: text('What to test on, in the same way. Left out: looked for.'),
    images: text('The folder of the photographs, of COCO and Pascal VOC. Left out: looked for.'),
    testShare: {
      type: 'number',
      exclusiveMinimum: 0,
      exclusiveMaximum: 1,
      default: 0.2,
      description: 'The share of images to test on, where the folder has none for it.',
    },
    classes: {
      type: 'array',
      items: {type: 'string', minLength: 1},
      minItems: 1,
      description: "Names of the classes in the order of their indices. Left out: the annotations' own.",
    },
    withoutArea: {enum: ['drop', 'refuse'], default: 'drop', description: 'What is done with boxes without area.'},
    outside: {
      enum: ['refuse', 'clip', 'drop'],
      default: 'refuse',
      description:
        'What is done with boxes more than a pixel outside of their image. Those within a pixel are clipped.',
    },
    unknownClass: {
      enum: ['refuse', 'drop'],
      default: 'refuse',
      description: 'What is done with boxes of a class that is not among `classes`.',
    },
    augmentation: {
      type: 'object',
      additionalProperties: false,
      description: 'How training images are changed.',
      properties: {
        mosaic: {type: 'number', minimum: 0, maximum: 1, default: 0.5, description: 'Share of images made of four.'},
        jitter: {
          type: 'number',
          minimum: 0,
          maximum: 0.5,
          default: 0.2,
          description: 'By how much each edge of an image moves, as a fraction of its side.',
        },
        hue: {
          type: 'number',
          minimum: 0,
          maximum: 0.5,
          default: 0.1,
          description: 'By how much hues turn, of a circle.',
        },
        saturation: {
          type: 'number',
          minimum: 1,
          maximum: 4,
          default: 1.5,
          description: 'Most factor of the saturation.',
        },
        exposure: {type: 'number', minimum: 1, maximum: 4, default: 1.5, description: 'Most factor of the brightness.'},
      },
    },
  },
};

export const boxes: DatasetDefinition<BoxesOptions> = {
  kind: 'dataset',
  name: 'boxes',
  summary: 'Your own photographs with boxes in data.directory: Pascal VOC, COCO or YOLO.',
  optionsSchema,
  ...nothingToFetch('boxes'),
  verify,
  open,
};
