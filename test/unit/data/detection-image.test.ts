import path from 'node:path';

import {afterAll, describe, expect, test} from '@jest/globals';
import sharp from 'sharp';

import {openBatches, type BatchSource} from '../../../src/data/batches.ts';
import type {Dataset, DetectionAugmentation} from '../../../src/data/dataset.ts';
import {
  drawDetectionImage,
  letterbox,
  letterboxedImage,
  letterboxGrey,
  shiftColours,
  type DetectionSource,
} from '../../../src/data/detection-image.ts';
import {uniform} from '../../../src/random.ts';
import {boxes} from '../../../src/plugins/datasets/boxes.ts';
import {writeBoxImages} from '../../helpers/box-images.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const folder = temporaryFolder();
const still: DetectionAugmentation = {mosaic: 0, jitter: 0, hue: 0, saturation: 1, exposure: 1};
const background = [50, 120, 190] as const;
/** Each image has one rectangle of its own colour, all with green 0: no resize mixes them up. */
const colours = [255, 170, 85, 0] as const;

/** left, top, right, bottom in pixels */
type Rectangle = readonly [number, number, number, number];

async function photograph(index: number, width: number, height: number, [l, t, r, b]: Rectangle): Promise<string> {
  const pixels = Buffer.alloc(3 * width * height);
  for (let i = 0; i < width * height; i++) {
    const [x, y] = [i % width, Math.floor(i / width)];
    pixels.set(x >= l && x < r && y >= t && y < b ? [colours[index]!, 0, 255 - colours[index]!] : background, 3 * i);
  }
  const file = path.join(folder, `${index}-${width}x${height}-${l}-${t}-${r}-${b}.png`);
  await sharp(pixels, {raw: {width, height, channels: 3}})
    .png()
    .toFile(file);
  return file;
}

interface Shape {
  readonly width: number;
  readonly height: number;
  readonly box: Rectangle;
}

async function sourceOf(shapes: readonly Shape[], augmentation?: DetectionAugmentation): Promise<DetectionSource> {
  const files = await Promise.all(shapes.map(({box, height, width}, i) => photograph(i, width, height, box)));
  const shared = (bytes: number): SharedArrayBuffer => new SharedArrayBuffer(bytes);
  const arrays = {
    offsets: new Uint32Array(shared(4 * (files.length + 1))),
    classes: new Uint16Array(shared(2 * files.length)),
    corners: new Float32Array(shared(16 * files.length)),
    sizes: new Uint32Array(shared(8 * files.length)),
    ignore: new Uint8Array(shared(files.length)),
  };
  for (const [i, {box, height, width}] of shapes.entries()) {
    arrays.offsets[i + 1] = i + 1;
    arrays.classes[i] = i;
    arrays.corners.set([box[0] / width, box[1] / height, box[2] / width, box[3] / height], 4 * i);
  }
  return {
    ...{canvas: {width: 96, height: 96}, fileOf: (image: number) => files[image]!, boxes: arrays, augmentation},
    ...{start: 0, end: files.length, most: 8},
  };
}

interface Drawn {
  readonly pixels: Uint8Array;
  readonly found: readonly {readonly index: number; readonly corners: number[]; readonly ignore: boolean}[];
}

async function drawn(source: DetectionSource, image: number, seed?: number): Promise<Drawn> {
  const pixels = new Uint8Array(96 * 96 * 3);
  const target = new Float32Array(6 * source.most);
  await drawDetectionImage(source, image, seed === undefined ? undefined : uniform(seed, 'augment'), pixels, target);
  const rows = Array.from(
    {length: source.most},
    (_, i) => [...target.subarray(6 * i, 6 * i + 6)] as [number, number, number, number, number, number],
  );
  const found = rows.filter(([index]) => index >= 0);
  expect(rows.slice(found.length).every((row) => row.join() === '-1,0,0,0,0,0')).toBe(true);
  return {
    pixels,
    found: found.map(([index, x, y, width, height, ignore]) => ({
      index,
      corners: [x - width / 2, y - height / 2, x + width / 2, y + height / 2].map((edge) => 96 * edge),
      ignore: ignore === 1,
    })),
  };
}

/** The pixels of an image's rectangle, by their colour: left, top, right, bottom. Undefined where there are none. */
function pixelsOf({pixels}: Drawn, index: number): number[] | undefined {
  const at = Array.from({length: 96 * 96}, (_, i) => i).filter((i) => {
    const [red, green, blue] = [pixels[3 * i]!, pixels[3 * i + 1]!, pixels[3 * i + 2]!];
    return green < 60 && Math.abs(red - colours[index]!) < 42 && Math.abs(blue - 255 + colours[index]!) < 42;
  });
  if (at.length === 0) return undefined;
  const [xs, ys] = [at.map((i) => i % 96), at.map((i) => Math.floor(i / 96))];
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs) + 1, Math.max(...ys) + 1];
}

/** Every box lies on the pixels of its rectangle, up to `within` pixels at each edge. @returns how many boxes there were */
function expectOnPixels(image: Drawn, within: number): number {
  for (const {corners, index} of image.found) {
    const seen = pixelsOf(image, index);
    expect(seen).toBeDefined();
    for (const [k, edge] of corners.entries()) expect(Math.abs(edge - seen![k]!)).toBeLessThan(within);
  }
  return image.found.length;
}

const shapes: readonly Shape[] = [
  {width: 160, height: 80, box: [30, 20, 90, 60]},
  {width: 70, height: 140, box: [10, 60, 50, 120]},
  {width: 96, height: 96, box: [50, 40, 90, 80]},
  {width: 33, height: 47, box: [6, 8, 24, 30]},
];

describe('a photograph with boxes', () => {
  test('is letterboxed in evaluation: its aspect kept, centred, grey beside it', async () => {
    expect(letterbox({width: 640, height: 480}, {width: 416, height: 416})).toEqual({
      ...{left: 0, top: 52, width: 416, height: 312, mirrored: false},
    });
    const source = await sourceOf(shapes);
    const wide = await drawn(source, 0);
    const row = (y: number): number[] => [...wide.pixels.subarray(3 * 96 * y, 3 * 96 * (y + 1))];
    for (const y of [0, 23, 72, 95]) expect(new Set(row(y))).toEqual(new Set([letterboxGrey]));
    for (const y of [24, 71]) expect(row(y).slice(0, 3)).toEqual([...background]);
    expect(wide.found).toEqual([
      {index: 0, ignore: false, corners: [18, 36, 54, 60].map((edge) => expect.closeTo(edge, 3))},
    ]);
    for (const image of [0, 1, 2, 3]) expect(expectOnPixels(await drawn(source, image), 1)).toBe(1);
  });

  test('a box that is found on the canvas goes back to its place on the photograph', async () => {
    const source = await sourceOf(shapes);
    for (const [image, {box, height, width}] of shapes.entries()) {
      const {image: size, pixels, toPhotograph} = await letterboxedImage(source.fileOf(image), source.canvas);
      const seen = await drawn(source, image);
      expect([...pixels]).toEqual([...seen.pixels]);
      expect(size).toEqual({width, height});
      const corners = seen.found[0]!.corners.map((edge) => edge / 96) as [number, number, number, number];
      for (const [k, edge] of toPhotograph(corners).entries()) expect(edge).toBeCloseTo(box[k]!, 3);
      expect(toPhotograph([-1, -1, 2, 2])).toEqual([0, 0, width, height]);
    }
  });

  test('is mirrored half of the time, with its boxes', async () => {
    const source = await sourceOf(shapes, still);
    let mirrored = 0;
    for (let seed = 0; seed < 60; seed++) {
      const image = await drawn(source, 0, seed);
      expect(expectOnPixels(image, 1)).toBe(1);
      if (image.found[0]!.corners[0]! > 30) mirrored++;
    }
    expect(Math.abs(mirrored - 30)).toBeLessThan(13); // 3.3 standard deviations of √(60 / 4)
  });

  test('boxes follow the moved edges, also where a part is out of sight', async () => {
    const source = await sourceOf(shapes, {...still, jitter: 0.4});
    const sides: number[] = [];
    for (let seed = 0; seed < 32; seed++) {
      const image = await drawn(source, seed % 4, seed);
      // One source pixel of the smallest photograph takes up to five here.
      expectOnPixels(image, seed % 4 === 3 ? 3 : 1.6);
      for (const {corners, ignore, index} of image.found) {
        if (!ignore && index === 2) sides.push(corners[2]! - corners[0]!);
      }
    }
    expect(Math.min(...sides)).toBeLessThan(35);
    expect(Math.max(...sides)).toBeGreaterThan(45);
  });

  test('a mosaic has parts of four photographs, and every box lies on its rectangle', async () => {
    const source = await sourceOf(shapes, {...still, mosaic: 1, jitter: 0.2});
    const counts = new Map<number, number>();
    for (let seed = 0; seed < 16; seed++) {
      const image = await drawn(source, seed % 4, seed);
      const indices = image.found.map(({index}) => index);
      // The same photograph may be there twice; the pixels of one rectangle are then not told from those of the other.
      const once = image.found.filter(({index}) => indices.filter((each) => each === index).length === 1);
      for (const {corners, index} of once) {
        const seen = pixelsOf(image, index)!;
        // Of a photograph drawn twice whose second box was left out there may be more.
        expect(seen[0]! - 3).toBeLessThan(corners[0]!);
        expect(seen[2]! + 3).toBeGreaterThan(corners[2]!);
      }
      counts.set(indices.length, (counts.get(indices.length) ?? 0) + 1);
    }
    expect(Math.max(...counts.keys())).toBe(4);
  });

  test('an object of which less than a quarter is in sight is ignored, one out of sight is not there', async () => {
    const source = await sourceOf([{width: 96, height: 96, box: [0, 0, 40, 96]}], {...still, jitter: 0.5});
    const shares: {share: number; ignore: boolean}[] = [];
    for (let seed = 0; seed < 60; seed++) {
      const {found} = await drawn(source, 0, seed);
      for (const {corners, ignore} of found) {
        const seen = (corners[2]! - corners[0]!) * (corners[3]! - corners[1]!);
        shares.push({share: seen, ignore});
      }
    }
    const largestIgnored = Math.max(...shares.filter(({ignore}) => ignore).map(({share}) => share));
    expect(shares.filter(({ignore}) => ignore).length).toBeGreaterThan(0);
    expect(largestIgnored).toBeLessThan(0.25 * 2 * 40 * 2 * 96);
    expect(shares.filter(({ignore}) => !ignore).length).toBeGreaterThan(30);
  });

  test('where there are more boxes than places, the largest stay', async () => {
    const source = await sourceOf(shapes, {...still, mosaic: 1});
    const few = {...source, most: 2};
    for (let seed = 0; seed < 10; seed++) {
      const area = ({corners}: {corners: number[]}): number =>
        (corners[2]! - corners[0]!) * (corners[3]! - corners[1]!);
      const all = (await drawn(source, 0, seed)).found.map(area).sort((a, b) => b - a);
      const kept = (await drawn(few, 0, seed)).found.map(area).sort((a, b) => b - a);
      expect(kept).toEqual(all.slice(0, 2));
    }
  });
});

describe('colours', () => {
  test.each([
    [{hue: 0, saturation: 1, exposure: 1}, [12, 200, 77], [12, 200, 77]],
    // A third of a circle turns red to green.
    [{hue: 1 / 3, saturation: 1, exposure: 1}, [200, 10, 10], [10, 200, 10]],
    [{hue: -1 / 3, saturation: 1, exposure: 1}, [200, 10, 10], [10, 10, 200]],
    [{hue: 0.1, saturation: 1, exposure: 1}, [90, 90, 90], [90, 90, 90]],
    [{hue: 0, saturation: 0.5, exposure: 1}, [200, 100, 0], [200, 150, 100]],
    [{hue: 0, saturation: 4, exposure: 1}, [200, 150, 100], [200, 100, 0]],
    [{hue: 0, saturation: 1, exposure: 1.5}, [100, 50, 20], [150, 75, 30]],
    [{hue: 0, saturation: 1, exposure: 2}, [200, 100, 50], [255, 128, 64]],
    [{hue: 0, saturation: 1, exposure: 0.5}, [0, 0, 0], [0, 0, 0]],
  ])('%j makes %j to %j', (shift, before, after) => {
    const pixels = Uint8Array.from(before);
    shiftColours(pixels, shift);
    expect([...pixels]).toEqual(after);
  });

  test('they equal those of the usual conversion by way of hue, saturation and value', () => {
    const draw = uniform(3, 'augment');
    for (let i = 0; i < 300; i++) {
      const before = [draw(), draw(), draw()].map((value) => Math.floor(256 * value));
      const shift = {hue: draw() - 0.5, saturation: 0.5 + draw(), exposure: 0.5 + draw()};
      const pixels = Uint8Array.from(before);
      shiftColours(pixels, shift);
      for (const [c, value] of byHand(before, shift).entries()) {
        expect(Math.abs(pixels[c]! - value)).toBeLessThanOrEqual(0.51);
      }
    }
  });
});

/** HSV and back by the sextants of the hexcone (Smith 1978), unrounded. */
function byHand(rgb: readonly number[], shift: {hue: number; saturation: number; exposure: number}): number[] {
  const [r, g, b] = rgb as [number, number, number];
  const max = Math.max(r, g, b);
  const range = max - Math.min(r, g, b);
  let hue = 0;
  if (range > 0) {
    if (max === r) hue = 60 * ((g - b) / range);
    else if (max === g) hue = 120 + 60 * ((b - r) / range);
    else hue = 240 + 60 * ((r - g) / range);
  }
  hue = (((hue + 360 * shift.hue) % 360) + 360) % 360;
  const saturation = max === 0 ? 0 : Math.min(1, (range / max) * shift.saturation);
  const value = Math.min(255, max * shift.exposure);
  const chroma = value * saturation;
  const second = chroma * (1 - Math.abs(((hue / 60) % 2) - 1));
  const low = value - chroma;
  const sextants = [
    [chroma, second, 0],
    [second, chroma, 0],
    [0, chroma, second],
    [0, second, chroma],
    [second, 0, chroma],
    [chroma, 0, second],
  ];
  return sextants[Math.min(5, Math.floor(hue / 60))]!.map((part) => part + low);
}

describe('batches of photographs with boxes', () => {
  const opened: BatchSource[] = [];
  afterAll(async () => {
    await Promise.all(opened.map(async (source) => source.close()));
  });

  async function dataset(): Promise<Dataset> {
    const directory = path.join(folder, 'voc');
    await writeBoxImages(directory, 'voc', {train: 12, test: 3});
    return boxes.open(directory, {size: 64});
  }

  async function bits(
    data: Dataset,
    places: readonly (readonly [number, number])[],
    options: Partial<Parameters<typeof openBatches>[1]> = {},
  ): Promise<string[]> {
    const source = openBatches(data, {
      ...{part: 'train', mode: 'training', validation: 0, batchSize: 4, augment: true, normalization: data, seed: 5},
      ...options,
    });
    opened.push(source);
    const all: string[] = [];
    for (const [epoch, index] of places) {
      const {boxes: targets, images, size} = await source.batch(epoch, index);
      expect(targets!.values).toHaveLength(6 * size * targets!.most);
      all.push(Buffer.from(Float32Array.from([...images, ...targets!.values]).buffer).toString('base64'));
    }
    return all;
  }

  test('have the same bits for any number of workers, after a resume, and for another batch size', async () => {
    const data = await dataset();
    const places = [
      [0, 0],
      [0, 1],
      [0, 2],
      [1, 0],
    ] as const;
    const all = await bits(data, places);
    expect(new Set(all).size).toBe(4);
    expect(await bits(data, places, {workers: 3})).toEqual(all);
    expect(await bits(data, places.slice(2))).toEqual(all.slice(2));
    expect(await bits(data, places, {seed: 6})).not.toEqual(all);
    // Boxes of a mosaic are at most four times those of one image.
    const source = openBatches(data, {
      ...{part: 'train', mode: 'training', validation: 0, batchSize: 12, augment: true, normalization: data, seed: 5},
    });
    opened.push(source);
    const {boxes: targets} = await source.batch(0, 0);
    expect(targets!.most).toBe(8);
  });

  test('a mosaic takes no image that is held out', async () => {
    const data = await dataset();
    const held = {...data.train, paths: (data.train as {paths: {length: number}}).paths};
    expect(held.paths.length).toBe(12);
    // All but two training images are held out; those do not decode.
    const {paths, ...train} = data.train as Extract<Dataset['train'], {kind: 'files'}>;
    const two = (await import('../../../src/data/path-list.ts')).pathAt;
    const names = Array.from({length: 12}, (_, i) => (i < 2 ? two(paths, i) : '/nowhere.png'));
    const limited: Dataset = {...data, train: {...train, paths: names}};
    const epochs = Array.from({length: 20}, (_, epoch) => [epoch, 0] as const);
    expect(await bits(limited, epochs, {validation: 10, batchSize: 2})).toHaveLength(20);
  });

  test('evaluation and training without augmentation are letterboxed only', async () => {
    const data = await dataset();
    const [plain] = await bits(data, [[0, 0]], {mode: 'evaluation', batchSize: 12});
    const [again] = await bits(data, [[7, 0]], {mode: 'evaluation', batchSize: 12, seed: 9, workers: 2});
    expect(again).toBe(plain);
    const [first] = await bits(data, [[0, 0]], {augment: false, batchSize: 12});
    const [second] = await bits(data, [[0, 0]], {augment: false, batchSize: 12, seed: 5});
    expect(second).toBe(first);
  });
});
