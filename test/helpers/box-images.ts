/** Small photographs with coloured rectangles, annotated as Pascal VOC, COCO or YOLO. */
import {mkdirSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import sharp from 'sharp';

import {uniform} from '../../src/random.ts';

const width = 96;
const height = 64;
const boxClasses = ['blue', 'red'] as const;
const colours = {blue: [30, 60, 220], red: [220, 40, 30]} as const;

interface DrawnImage {
  readonly name: string;
  readonly png: Buffer;
  /** left, top, right, bottom in pixels */
  readonly boxes: readonly {
    readonly className: 'blue' | 'red';
    readonly corners: readonly [number, number, number, number];
  }[];
}

/** One or two rectangles, side by side. */
async function drawnImage(name: string, seed: number): Promise<DrawnImage> {
  const draw = uniform(seed, 'bench');
  const pixels = Buffer.alloc(3 * width * height, 120);
  const boxes = Array.from({length: 1 + (seed % 2)}, (_, i) => {
    const left = 48 * i + 2 + Math.floor(draw() * 10);
    const top = 2 + Math.floor(draw() * 20);
    const [right, bottom] = [left + 12 + Math.floor(draw() * 20), top + 12 + Math.floor(draw() * 26)];
    const className = (seed + i) % 2 === 0 ? ('blue' as const) : ('red' as const);
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) pixels.set(colours[className], 3 * (y * width + x));
    }
    return {className, corners: [left, top, right, bottom] as const};
  });
  const png = await sharp(pixels, {raw: {width, height, channels: 3}})
    .png()
    .toBuffer();
  return {name, png, boxes};
}

function write(file: string, content: Buffer | string): void {
  mkdirSync(path.dirname(file), {recursive: true});
  writeFileSync(file, content);
}

function vocXml({boxes, name}: Pick<DrawnImage, 'boxes' | 'name'>): string {
  const objects = boxes.map(
    ({className, corners: [left, top, right, bottom]}) => `
  <object>
    <name>${className}</name>
    <difficult>0</difficult>
    <bndbox><xmin>${left}</xmin><ymin>${top}</ymin><xmax>${right}</xmax><ymax>${bottom}</ymax></bndbox>
  </object>`,
  );
  return `<annotation>
  <filename>${name}.png</filename>
  <size><width>${width}</width><height>${height}</height><depth>3</depth></size>${objects.join('')}
</annotation>
`;
}

const cocoJson = (images: readonly DrawnImage[]): string =>
  JSON.stringify({
    images: images.map(({name}, id) => ({id, file_name: `${name}.png`, width, height})),
    categories: boxClasses.map((name, id) => ({id: id + 1, name})),
    annotations: images
      .flatMap(({boxes}, image) => boxes.map((box) => ({...box, image})))
      .map(({className, corners: [left, top, right, bottom], image}, id) => ({
        ...{id, image_id: image, category_id: boxClasses.indexOf(className) + 1, iscrowd: 0},
        bbox: [left, top, right - left, bottom - top],
      })),
  });

const yoloText = ({boxes}: DrawnImage): string =>
  boxes
    .map(({className, corners: [left, top, right, bottom]}) =>
      [
        boxClasses.indexOf(className),
        (left + right) / 2 / width,
        (top + bottom) / 2 / height,
        (right - left) / width,
        (bottom - top) / height,
      ].join(' '),
    )
    .join('\n');

/** Writes the same images and boxes in one of the formats. */
export async function writeBoxImages(
  directory: string,
  format: 'coco' | 'voc' | 'yolo',
  counts: {readonly train: number; readonly test: number},
): Promise<{readonly train: readonly DrawnImage[]; readonly test: readonly DrawnImage[]}> {
  const images = async (split: 'test' | 'train'): Promise<DrawnImage[]> =>
    Promise.all(
      Array.from({length: counts[split]}, async (_, i) => drawnImage(`${split}${i}`, i + (split === 'test' ? 100 : 0))),
    );
  const drawn = {train: await images('train'), test: await images('test')};
  for (const [split, all] of Object.entries(drawn)) {
    if (format === 'coco') write(path.join(directory, 'annotations', `instances_${split}.json`), cocoJson(all));
    if (format === 'voc') {
      const list = all.map(({name}) => `${name}\n`).join('');
      write(path.join(directory, 'ImageSets', 'Main', `${split === 'train' ? 'trainval' : 'test'}.txt`), list);
    }
    const folder = {coco: ['images'], voc: ['JPEGImages'], yolo: ['images', split]}[format];
    for (const image of all) {
      write(path.join(directory, ...folder, `${image.name}.png`), image.png);
      if (format === 'voc') write(path.join(directory, 'Annotations', `${image.name}.xml`), vocXml(image));
      if (format === 'yolo') write(path.join(directory, 'labels', split, `${image.name}.txt`), yoloText(image));
    }
  }
  if (format === 'yolo') {
    write(
      path.join(directory, 'data.yaml'),
      `train: images/train\nval: images/test\nnames: [${boxClasses.join(', ')}]\n`,
    );
  }
  return drawn;
}
