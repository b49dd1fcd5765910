/** Test images with the boxes that a detector finds in them, for the pages of trackers. */
import path from 'node:path';

import {loadSharp} from '../data/sharp.ts';
import {makeFolder, writeFileAtomic} from '../files.ts';
import {boxedImage} from '../report/detections.ts';
import {logImage} from '../runs/artifacts.ts';
import type {Run} from '../runs/run-directory.ts';
import {detectionsIn} from './detections-file.ts';

/** The picture has no style of its own. */
const style =
  'rect{fill:none;stroke-width:1.5}.truth{stroke:#fff;stroke-dasharray:4 3;stroke-width:1}' +
  'text{font:bold 8px sans-serif;fill:#fff;stroke:#000;stroke-width:2;paint-order:stroke}' +
  ['#e69f00', '#56b4e9', '#009e73', '#f0e442', '#d55e00', '#cc79a7'].map((hex, i) => `.c${i}{stroke:${hex}}`).join('');

/** Writes `detections/` and journals its pictures; does nothing for a run without boxes. */
export async function logDetections(run: Run): Promise<void> {
  const {fullPrecision, quantized} = detectionsIn(run.directory);
  if (quantized === undefined) return;
  const sharp = await loadSharp();
  makeFolder(run.path('detections'));
  for (const shown of quantized.images) {
    const {boxes: predictions, image, index, truth} = shown;
    const png = Buffer.from(image.slice(image.indexOf(',') + 1), 'base64');
    const file = run.path(path.join('detections', `test-${index}.png`));
    const drawn = run.path(path.join('detections', `test-${index}.boxes.png`));
    writeFileAtomic(file, png);
    const svg = boxedImage(`test ${index}`, shown, quantized.classes).replace('>', `><style>${style}</style>`);
    writeFileAtomic(drawn, await sharp(Buffer.from(svg)).png().toBuffer());
    const {height, width} = await sharp(png).metadata();
    const before = fullPrecision?.images.find((other) => other.index === index)?.boxes;
    const groups = {
      predictions,
      ...(before !== undefined && {full_precision: before}),
      ground_truth: truth.map(({box, class: kind}) => ({box, class: kind})),
    };
    logImage(run, file, {height, width}, {boxes: {classes: quantized.classes, groups}, drawn});
  }
}
