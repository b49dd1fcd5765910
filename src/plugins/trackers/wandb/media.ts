/** Tables and pictures as W&B keeps them: files of the run below `media/`, and a value in the history that points to them. */
import {createHash} from 'node:crypto';
import path from 'node:path';

import type {Event, ImageBoxes} from '../../../plugin-api/tracker.ts';

export interface MediaFile {
  /** Path in the files of the run at W&B, with forward slashes. */
  readonly path: string;
  readonly content: {readonly text: string} | {/** Path in the run's folder. */ readonly file: string};
}

export interface Media {
  /** Column of the history. */
  readonly name: string;
  readonly files: readonly MediaFile[];
  /** What stands for it in the history and in the summary. */
  readonly value: Readonly<Record<string, unknown>>;
}

/** The table or picture of an event of kind `artifact`; undefined for any other event, and for types that are not sent. */
export function mediaOf({seq, kind, data}: Event, types: ReadonlySet<string>): Media | undefined {
  if (kind !== 'artifact' || !types.has(String(data['type']))) return undefined;
  if (data['type'] === 'table') return tableOf(seq, data);
  return data['type'] === 'image' ? imageOf(seq, data) : undefined;
}

/**
 * The names of the classes of a picture's boxes, as W&B keeps them in the config of a run: one entry for each picture and
 * group, below `bounding_box/class_labels` (wandb 0.30, BoundingBoxes2D). Empty for any other event, and for types that are not sent.
 */
export function classLabelsOf({kind, data}: Event, types: ReadonlySet<string>): Readonly<Record<string, unknown>> {
  const {boxes, path: file} = data as {readonly boxes?: ImageBoxes; readonly path?: string};
  if (kind !== 'artifact' || data['type'] !== 'image' || !types.has('image') || boxes === undefined) return {};
  const value = Object.fromEntries(boxes.classes.entries());
  return Object.fromEntries(
    Object.keys(boxes.groups).map((group) => {
      const key = `${path.parse(file ?? '').name}_wandb_delimeter_${group}`;
      return [key, {type: classLabelsKey, key, value}];
    }),
  );
}

/** Below `_wandb` of the config. */
export const classLabelsKey = 'bounding_box/class_labels';

function tableOf(seq: number, data: Event['data']): Media {
  const {name, columns, rows} = data as unknown as {name: string; columns: readonly string[]; rows: readonly unknown[]};
  const text = JSON.stringify({columns, data: rows});
  const sha256 = createHash('sha256').update(text).digest('hex');
  const place = `media/table/${name}_${seq}_${sha256.slice(0, 20)}.table.json`;
  return {
    name,
    files: [{path: place, content: {text}}],
    value: {
      _type: 'table-file',
      path: place,
      sha256,
      size: Buffer.byteLength(text),
      ncols: columns.length,
      nrows: rows.length,
      log_mode: 'IMMUTABLE',
    },
  };
}

function imageOf(seq: number, data: Event['data']): Media {
  const {
    bytes,
    boxes,
    height,
    path: file,
    sha256,
    width,
  } = data as unknown as {
    bytes: number;
    boxes?: ImageBoxes;
    height: number;
    path: string;
    sha256: string;
    width: number;
  };
  const extension = path.extname(file);
  const name = path.basename(file, extension);
  const place = `media/images/${name}_${seq}_${sha256.slice(0, 20)}${extension}`;
  const image = {_type: 'image-file', path: place, sha256, size: bytes, format: extension.slice(1), width, height};
  if (boxes === undefined) return {name, files: [{path: place, content: {file}}], value: image};
  const groups = Object.keys(boxes.groups).map((group) => boxesOf(name, seq, group, boxes));
  return {
    name,
    files: [{path: place, content: {file}}, ...groups.map(({media}) => media)],
    value: {...image, boxes: Object.fromEntries(groups.map(({group, value}) => [group, value]))},
  };
}

/** One group of boxes in the format of `wandb.Image(boxes=…)`, positions as fractions of the image (wandb 0.30, BoundingBoxes2D). */
function boxesOf(
  name: string,
  seq: number,
  group: string,
  {classes, groups}: ImageBoxes,
): {readonly group: string; readonly media: MediaFile; readonly value: Readonly<Record<string, unknown>>} {
  const box_data = (groups[group] ?? []).map(({box: [minX, minY, maxX, maxY], class: index, score}) => {
    const label = classes[index] ?? String(index);
    return {
      position: {minX, maxX, minY, maxY},
      class_id: index,
      box_caption: score === undefined ? label : `${label} ${score.toFixed(2)}`,
      ...(score === undefined ? {} : {scores: {score}}),
    };
  });
  const text = JSON.stringify({box_data, class_labels: Object.fromEntries(classes.entries())});
  const sha256 = createHash('sha256').update(text).digest('hex');
  const place = `media/metadata/boxes2D/${name}_${group}_${seq}_${sha256.slice(0, 20)}.boxes2D.json`;
  const value = {_type: 'boxes2D', path: place, sha256, size: Buffer.byteLength(text)};
  return {group, media: {path: place, content: {text}}, value};
}
