/**
 * Photographs with boxes as a detector sees them. Evaluation letterboxes: the whole photograph, its aspect kept, in the centre of a grey square.
 * Training also mirrors, moves the edges, changes the colours and puts parts of four photographs together (mosaic: Bochkovskiy et al. 2020,
 * section 3.4). Boxes follow the pixels exactly: both use the transform of the region that was decoded.
 */
import {boxNumbers, type Box} from '../detection/boxes.ts';
import {item} from '../lookup.ts';
import type {Uniform} from '../random.ts';
import type {DetectionAugmentation, SplitBoxes} from './dataset.ts';
import {decodeRegion, type Region} from './decode-image.ts';

/** Beside the photograph, in every channel: the grey of Ultralytics' YOLO; darknet has 127.5. */
export const letterboxGrey = 114;

/** [ours] An object of which less is in the image is ignored: it is neither background nor to be found. */
const leastVisible = 0.25;
/** [ours] Less than so many pixels of an object are no object. */
const leastPixels = 2;

/** Where a photograph lies on the canvas, in pixels; parts of it may be outside. */
interface Placement extends Region {
  readonly mirrored: boolean;
}

interface Size {
  readonly width: number;
  readonly height: number;
}

/** Factors of saturation and brightness, and the turn of hues in parts of a circle. */
interface ColourShift {
  readonly hue: number;
  readonly saturation: number;
  readonly exposure: number;
}

/** What is drawn before the size of the photograph is known. */
interface Drawn {
  readonly place: (image: Size) => Placement;
  /** The part of the canvas that may be drawn on; whole pixels. */
  readonly window: Region;
  readonly colours: ColourShift | undefined;
}

/** Class, corners on the canvas in pixels, and whether it is ignored. */
interface CanvasBox {
  readonly index: number;
  readonly corners: Box;
  readonly ignore: boolean;
}

/** The largest place for the photograph in the canvas that keeps its aspect, centred; whole pixels. */
export function letterbox(image: Size, canvas: Size): Placement {
  const scale = Math.min(canvas.width / image.width, canvas.height / image.height);
  const width = Math.max(1, Math.round(image.width * scale));
  const height = Math.max(1, Math.round(image.height * scale));
  const left = Math.floor((canvas.width - width) / 2);
  const top = Math.floor((canvas.height - height) / 2);
  return {left, top, width, height, mirrored: false};
}

/**
 * The letterboxed photograph, mirrored half of the time, each of its edges moved by up to `jitter` of its side: darknet's rule, which changes
 * place, size and aspect.
 */
function jittered(draw: Uniform, {jitter}: DetectionAugmentation, canvas: Size): Drawn['place'] {
  const mirrored = draw() < 0.5;
  const moves = [draw(), draw(), draw(), draw()].map((value) => jitter * (2 * value - 1));
  return (image) => {
    const {left, top, width, height} = letterbox(image, canvas);
    const [dl, dt, dr, db] = moves as [number, number, number, number];
    return {
      left: left + dl * width,
      top: top + dt * height,
      width: width * (1 - dl + dr),
      height: height * (1 - dt + db),
      mirrored,
    };
  };
}

/** Darknet's rule: a factor in 1 … most, or one over it. */
function factor(draw: Uniform, most: number): number {
  const value = 1 + (most - 1) * draw();
  return draw() < 0.5 ? value : 1 / value;
}

const colourShift = (draw: Uniform, {exposure, hue, saturation}: DetectionAugmentation): ColourShift => ({
  hue: hue * (2 * draw() - 1),
  saturation: factor(draw, saturation),
  exposure: factor(draw, exposure),
});

/** The four windows of a mosaic whose corner is drawn from the middle 60 % of the canvas, as darknet draws it. */
function mosaicWindows(draw: Uniform, {width, height}: Size): readonly Region[] {
  const x = Math.round(width * (0.2 + 0.6 * draw()));
  const y = Math.round(height * (0.2 + 0.6 * draw()));
  return [
    {left: 0, top: 0, width: x, height: y},
    {left: x, top: 0, width: width - x, height: y},
    {left: 0, top: y, width: x, height: height - y},
    {left: x, top: y, width: width - x, height: height - y},
  ];
}

/** Moves a placement so that the photograph fills the window as far as it can; where there is a choice, at random [ours]. */
function movedInto(window: Region, draw: Uniform, place: Drawn['place']): Drawn['place'] {
  const [across, down] = [draw(), draw()];
  return (image) => {
    const placement = place(image);
    const left = window.left + across * (window.width - placement.width);
    const top = window.top + down * (window.height - placement.height);
    return {...placement, left, top};
  };
}

export interface DetectionSource {
  readonly canvas: Size;
  /** The place of an image's file. */
  readonly fileOf: (image: number) => string;
  readonly boxes: SplitBoxes;
  /** Undefined: photographs are letterboxed only. */
  readonly augmentation: DetectionAugmentation | undefined;
  /** Images that a mosaic may take: those of the part. */
  readonly start: number;
  readonly end: number;
  /** Boxes that are written; the smallest are left out where there are more. */
  readonly most: number;
}

/**
 * Draws one photograph, or a mosaic that begins with it.
 * @param draw undefined: letterboxed only
 * @param pixels [height, width, 3] bytes, written whole
 * @param target [most, 6]: class, x and y of the centre, width, height as fractions of the canvas, ignore; class −1 where there is no box
 * @throws SdqError (exit 3) for a file that cannot be decoded
 */
export async function drawDetectionImage(
  source: DetectionSource,
  image: number,
  draw: Uniform | undefined,
  pixels: Uint8Array,
  target: Float32Array,
): Promise<void> {
  const {augmentation, boxes, canvas, end, fileOf, start} = source;
  pixels.fill(letterboxGrey);
  const found: CanvasBox[] = [];
  const add = async (which: number, drawn: Drawn): Promise<void> => {
    const view = await drawPart(fileOf(which), canvas, drawn, pixels);
    for (let i = item(boxes.offsets, which); i < item(boxes.offsets, which + 1); i++) {
      const box = boxInView(boxes, i, view);
      if (box !== undefined) found.push(box);
    }
  };
  const whole = {left: 0, top: 0, ...canvas};
  if (draw === undefined || augmentation === undefined) {
    await add(image, {place: (size) => letterbox(size, canvas), window: whole, colours: undefined});
  } else if (draw() >= augmentation.mosaic) {
    const place = jittered(draw, augmentation, canvas);
    await add(image, {place, window: whole, colours: colourShift(draw, augmentation)});
  } else {
    for (const [index, window] of mosaicWindows(draw, canvas).entries()) {
      const which = index === 0 ? image : start + Math.floor(draw() * (end - start));
      const place = movedInto(window, draw, jittered(draw, augmentation, canvas));
      await add(which, {place, window, colours: colourShift(draw, augmentation)});
    }
  }
  writeBoxes(found, canvas, target, source.most);
}

/** What of a photograph is where on the canvas. */
interface View {
  /** Size of the whole photograph. */
  readonly image: Size;
  /** Pixels of the photograph that are drawn; undefined: none. */
  readonly source: Region | undefined;
  /** Where they are drawn. */
  readonly visible: Region;
  readonly mirrored: boolean;
}

/** A photograph letterboxed for a network, and back. */
interface Letterboxed {
  /** [height, width, 3] bytes of the canvas */
  readonly pixels: Uint8Array;
  /** Of the photograph. */
  readonly image: Size;
  /** Corners in fractions of the canvas to corners in pixels of the photograph, clipped to it. */
  readonly toPhotograph: (box: Box) => Box;
}

/**
 * @param grey beside the photograph, 0 … 255
 * @throws SdqError (exit 3) for a file that cannot be decoded
 */
export async function letterboxedImage(file: string, canvas: Size, grey = letterboxGrey): Promise<Letterboxed> {
  const pixels = new Uint8Array(3 * canvas.width * canvas.height).fill(grey);
  const place = (image: Size): Placement => letterbox(image, canvas);
  const {image, visible} = await drawPart(
    file,
    canvas,
    {place, window: {left: 0, top: 0, ...canvas}, colours: undefined},
    pixels,
  );
  const x = (fraction: number): number =>
    clip(((fraction * canvas.width - visible.left) * image.width) / visible.width, 0, image.width);
  const y = (fraction: number): number =>
    clip(((fraction * canvas.height - visible.top) * image.height) / visible.height, 0, image.height);
  return {pixels, image, toPhotograph: ([x1, y1, x2, y2]) => [x(x1), y(y1), x(x2), y(y2)]};
}

const clip = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value));

/** The view of a placed photograph through a window, in whole pixels of both. */
function viewOf(image: Size, {left, top, width, height, mirrored}: Placement, window: Region): View {
  const across = axis(left, width, window.left, window.width, image.width, mirrored);
  const down = axis(top, height, window.top, window.height, image.height, false);
  const isEmpty = across === undefined || down === undefined;
  return {
    image,
    mirrored,
    source: isEmpty ? undefined : {left: across.from, top: down.from, width: across.pixels, height: down.pixels},
    visible: {
      left: across?.start ?? clip(Math.round(left), 0, window.width),
      top: down?.start ?? clip(Math.round(top), 0, window.height),
      width: across?.length ?? 0,
      height: down?.length ?? 0,
    },
  };
}

/** One axis: canvas pixels `start` … `start + length`, which show the photograph's pixels `from` … `from + pixels`. */
function axis(
  left: number,
  width: number,
  windowStart: number,
  windowLength: number,
  size: number,
  mirrored: boolean,
): {readonly start: number; readonly length: number; readonly from: number; readonly pixels: number} | undefined {
  const start = Math.max(windowStart, Math.round(left));
  const end = Math.min(windowStart + windowLength, Math.round(left + width));
  if (end <= start || width <= 0) return undefined;
  const inside = (canvas: number): number => Math.min(size, Math.max(0, ((canvas - left) / width) * size));
  const [first, last] = mirrored ? [size - inside(end), size - inside(start)] : [inside(start), inside(end)];
  const from = Math.min(size - 1, Math.round(first));
  return {start, length: end - start, from, pixels: Math.max(1, Math.round(last) - from)};
}

async function drawPart(
  file: string,
  canvas: Size,
  {colours, place, window}: Drawn,
  pixels: Uint8Array,
): Promise<View> {
  let view: View | undefined;
  const part = await decodeRegion(file, (width, height) => {
    const image = {width, height};
    const whole = {left: 0, top: 0, width, height};
    view = viewOf(image, place(image), window);
    // Nothing to see: one pixel is decoded, and not drawn.
    const {source = {...whole, width: 1, height: 1}, visible} = view;
    return {source, width: Math.max(1, visible.width), height: Math.max(1, visible.height)};
  });
  if (view === undefined) throw new Error('the image was not decoded');
  if (view.source === undefined) return view;
  if (colours !== undefined) shiftColours(part, colours);
  copyInto(part, view, canvas.width, pixels);
  return view;
}

function copyInto(part: Uint8Array, {mirrored, visible}: View, canvasWidth: number, pixels: Uint8Array): void {
  const rowBytes = 3 * visible.width;
  for (let y = 0; y < visible.height; y++) {
    const row = part.subarray(y * rowBytes, (y + 1) * rowBytes);
    const start = 3 * ((visible.top + y) * canvasWidth + visible.left);
    if (!mirrored) pixels.set(row, start);
    else {
      for (let x = 0; x < visible.width; x++) {
        pixels.set(row.subarray(rowBytes - 3 * (x + 1), rowBytes - 3 * x), start + 3 * x);
      }
    }
  }
}

/** Box `i` on the canvas, clipped to what is visible; undefined where nearly nothing of it is. */
function boxInView(boxes: SplitBoxes, i: number, {image, mirrored, source, visible}: View): CanvasBox | undefined {
  if (source === undefined) return undefined;
  const [left, top, right, bottom] = boxes.corners.subarray(4 * i, 4 * i + 4) as unknown as Box;
  const [from, to] = mirrored ? [1 - right, 1 - left] : [left, right];
  const first = mirrored ? image.width - source.left - source.width : source.left;
  const x = (fraction: number): number =>
    visible.left + ((fraction * image.width - first) * visible.width) / source.width;
  const y = (fraction: number): number =>
    visible.top + ((fraction * image.height - source.top) * visible.height) / source.height;
  const all = [x(from), y(top), x(to), y(bottom)] as const;
  const corners = [
    Math.max(visible.left, all[0]),
    Math.max(visible.top, all[1]),
    Math.min(visible.left + visible.width, all[2]),
    Math.min(visible.top + visible.height, all[3]),
  ] as const;
  const [width, height] = [corners[2] - corners[0], corners[3] - corners[1]];
  const isWhole = corners.every((edge, k) => Math.abs(edge - item(all, k)) < 1e-3);
  if (width <= 0 || height <= 0 || (!isWhole && (width < leastPixels || height < leastPixels))) return undefined;
  const share = (width * height) / ((all[2] - all[0]) * (all[3] - all[1]));
  return {index: item(boxes.classes, i), corners, ignore: item(boxes.ignore, i) === 1 || share < leastVisible};
}

const area = ({corners: [left, top, right, bottom]}: CanvasBox): number => (right - left) * (bottom - top);

function writeBoxes(found: readonly CanvasBox[], canvas: Size, target: Float32Array, most: number): void {
  const kept = found.length > most ? found.toSorted((a, b) => area(b) - area(a)).slice(0, most) : found;
  target.fill(0);
  for (let place = 0; place < most; place++) {
    const box = kept[place];
    if (box === undefined) {
      target[boxNumbers * place] = -1;
      continue;
    }
    const [left, top, right, bottom] = box.corners;
    target.set(
      [
        box.index,
        (left + right) / 2 / canvas.width,
        (top + bottom) / 2 / canvas.height,
        (right - left) / canvas.width,
        (bottom - top) / canvas.height,
        Number(box.ignore),
      ],
      boxNumbers * place,
    );
  }
}

/* eslint-disable @typescript-eslint/no-non-null-assertion -- a loop over every pixel, within the image */
/**
 * Turns hues, and multiplies saturation and brightness (value) in HSV, in place.
 * @param pixels [count, 3] bytes
 */
export function shiftColours(pixels: Uint8Array, {exposure, hue, saturation}: ColourShift): void {
  const turn = 6 * hue;
  for (let i = 0; i < pixels.length; i += 3) {
    const [red, green, blue] = [pixels[i]!, pixels[i + 1]!, pixels[i + 2]!];
    const value = Math.max(red, green, blue);
    const chroma = value - Math.min(red, green, blue);
    const light = Math.min(255, value * exposure);
    if (chroma === 0) {
      pixels[i] = pixels[i + 1] = pixels[i + 2] = Math.round(light);
      continue;
    }
    // Sixths of a circle from red.
    const sixths =
      value === red
        ? (green - blue) / chroma
        : value === green
          ? 2 + (blue - red) / chroma
          : 4 + (red - green) / chroma;
    const strength = Math.min(1, (chroma / value) * saturation);
    for (let c = 0; c < 3; c++) {
      // The formula of HSV to RGB with f(5), f(3), f(1).
      const k = (((5 - 2 * c + sixths + turn) % 6) + 6) % 6;
      pixels[i + c] = Math.round(light * (1 - strength * Math.max(0, Math.min(k, 4 - k, 1))));
    }
  }
}
/* eslint-enable @typescript-eslint/no-non-null-assertion */
