/** Photographs with boxes, as an annotation file states them: what the readers of every format return. */
import {readdirSync} from 'node:fs';
import path from 'node:path';

import type {Box} from '../../detection/boxes.ts';
import {invalidInput, type SdqError} from '../../errors.ts';

export interface AnnotatedBox {
  readonly className: string;
  /** As they are written: maybe outside the image, or without area. */
  readonly corners: Box;
  /** A crowd, or an object marked as difficult: neither a hit nor a miss for a detector. */
  readonly ignore: boolean;
  /** Where it is in the annotation file, e.g. `line 3`. */
  readonly place: string;
}

export interface AnnotatedImage {
  /** Absolute path of the photograph. */
  readonly file: string;
  /** The file that has its boxes. */
  readonly source: string;
  /** In pixels, where the annotation file has it. */
  readonly size: {readonly width: number; readonly height: number} | undefined;
  readonly boxes: readonly AnnotatedBox[];
}

export type SizedImage = AnnotatedImage & {readonly size: NonNullable<AnnotatedImage['size']>};

export interface Annotations {
  readonly train: readonly AnnotatedImage[];
  /** Undefined where the folder has no images to test on. */
  readonly test: readonly AnnotatedImage[] | undefined;
  /** In their order, where a file lists them. */
  readonly classes: readonly string[] | undefined;
}

/** Which files of the folder are read; by default it is detected. */
export interface AnnotationSources {
  readonly train?: string;
  readonly test?: string;
  /** Folder of the photographs. */
  readonly images?: string;
}

/** Receives each fault; may throw it. */
export type ReportFault = (fault: SdqError) => void;

/** @param message follows the name of the file, e.g. `, line 3: …` */
export const annotationFault = (file: string, message: string, suggestions: readonly string[] = []): SdqError =>
  invalidInput('annotation-invalid', `${file}${message}`, suggestions);

export const imageName = /\.(?:png|jpe?g)$/i;

/** A value for a message: JSON, cut off. */
export const shownValue = (value: unknown): string => {
  const text = value === undefined ? 'nothing' : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
};

/** Decimal notation, as all three formats have it; undefined for anything else. */
export function decimalNumber(text: string): number | undefined {
  const number = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
  return Number.isFinite(number) ? number : undefined;
}

/** Finds photographs by name. Each folder is read once. */
export class ImageFinder {
  readonly #root: string;
  readonly #names = new Map<string, ReadonlySet<string>>();

  /** @param root the folder of the data set; photographs outside of it are refused */
  constructor(root: string) {
    this.#root = root;
  }

  exists(file: string): boolean {
    return this.namesIn(path.dirname(file)).has(path.basename(file));
  }

  /** Of a folder that cannot be read: none. */
  namesIn(folder: string): ReadonlySet<string> {
    let names = this.#names.get(folder);
    if (names === undefined) {
      names = new Set(entries(folder));
      this.#names.set(folder, names);
    }
    return names;
  }

  isInside(file: string): boolean {
    const relative = path.relative(this.#root, file);
    return relative !== '..' && !relative.startsWith(`..${path.sep}`) && !path.isAbsolute(relative);
  }

  /** What is wrong with a photograph that `place` names; undefined when all is well. @param file absolute */
  faultOf(file: string, source: string, place: string): SdqError | undefined {
    if (!this.isInside(file)) {
      return annotationFault(
        source,
        `, ${place}: the image ${file} is outside of ${this.#root}, the data set's folder.`,
      );
    }
    if (!imageName.test(file)) {
      return annotationFault(source, `, ${place}: the image ${file} is neither a .png nor a .jpg or .jpeg file.`);
    }
    if (this.exists(file)) return undefined;
    return annotationFault(source, `, ${place}: there is no image ${file}.`);
  }
}

function entries(folder: string): readonly string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
