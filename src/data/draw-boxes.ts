/** Boxes and their labels drawn on pictures. */
import {ExitCode, SdqError} from '../errors.ts';
import {item} from '../lookup.ts';
import {decodeRegion} from './decode-image.ts';
import {loadSharp} from './sharp.ts';

/** A box in pixels of the picture. */
export interface LabelledBox {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
  readonly label: string;
  /** Chooses the colour. */
  readonly index: number;
  /** Dashed: the object does not count. */
  readonly isDashed?: boolean;
}

interface Picture {
  /** [height, width, 3] */
  readonly pixels: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** Told apart with most kinds of colour blindness (Okabe and Ito 2008). */
const palette = ['#e69f00', '#56b4e9', '#009e73', '#f0e442', '#0072b2', '#d55e00', '#cc79a7', '#ffffff'] as const;

/**
 * The picture with its boxes, as PNG. Labels need fonts on the machine; without any, boxes have none.
 * @param textSize height of the labels in pixels
 */
export async function drawBoxes(
  {height, pixels, width}: Picture,
  boxes: readonly LabelledBox[],
  textSize: number,
): Promise<Buffer> {
  const sharp = await loadSharp();
  const overlay = Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">` +
      boxes.map((box) => shapeOf(box, textSize)).join('') +
      '</svg>',
  );
  return sharp(pixels, {raw: {width, height, channels: 3}, limitInputPixels: false})
    .composite([{input: overlay}])
    .removeAlpha()
    .png()
    .toBuffer();
}

function shapeOf({bottom, index, isDashed = false, label, left, right, top}: LabelledBox, textSize: number): string {
  const colour = item(palette, index % palette.length);
  const number = (value: number): string => value.toFixed(1);
  const line = Math.max(1, textSize / 8);
  const dashes = isDashed ? ` stroke-dasharray="${number(3 * line)}"` : '';
  const edges = `x="${number(left)}" y="${number(top)}" width="${number(right - left)}" height="${number(bottom - top)}"`;
  // Above the box, or inside it at the upper edge of the picture.
  const base = top >= textSize ? top - textSize / 4 : top + textSize;
  const outline = `stroke="#000" stroke-width="${number(textSize / 5)}" stroke-linejoin="round" paint-order="stroke"`;
  const text =
    label === ''
      ? ''
      : `<text x="${number(left)}" y="${number(base)}" font-family="sans-serif" font-weight="bold" font-size="${textSize}" ` +
        `fill="${colour}" ${outline}>${escaped(label)}</text>`;
  return `<rect ${edges} fill="none" stroke="${colour}" stroke-width="${number(line)}"${dashes}/>${text}`;
}

/** Text of XML; characters that XML does not know become U+FFFD. */
const escaped = (text: string): string =>
  text
    .replace(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, '\u{fffd}')
    .replace(/[&<>]/g, (character) => ({'&': '&amp;', '<': '&lt;', '>': '&gt;'})[character] ?? '');

/** The whole photograph, turned as EXIF says. @throws SdqError (exit 3) for a file that cannot be decoded */
export async function readPicture(file: string): Promise<Picture> {
  const size = {width: 0, height: 0};
  const pixels = await decodeRegion(file, (width, height) => {
    Object.assign(size, {width, height});
    return {source: {left: 0, top: 0, width, height}, width, height};
  });
  return {pixels, ...size};
}

/** For a picture of a format that people look at. @throws SdqError (exit 2) for a name that does not end in .png */
export function checkPngName(file: string, flag: string): void {
  if (file.toLowerCase().endsWith('.png')) return;
  throw new SdqError(`${flag} is ${file}; the name of a PNG file is needed.`, {
    code: 'invalid-flag',
    exit: ExitCode.usage,
    suggestions: [`${flag} ${file}.png`],
  });
}
