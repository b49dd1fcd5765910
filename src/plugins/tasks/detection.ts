/** Boxes of objects and their classes, by YOLO heads. Defaults are darknet's for `yolov4-tiny.cfg`. */
import {kMeansAnchors} from '../../detection/anchors.ts';
import type {YoloHeads} from '../../detection/decode.ts';
import type {Dataset} from '../../data/dataset.ts';
import {invalidInput} from '../../errors.ts';
import {item} from '../../lookup.ts';
import type {
  ChosenOutputs,
  NetworkOutput,
  OptionsSchema,
  TaskContext,
  TaskDefinition,
} from '../../plugin-api/registry.ts';

type Size = readonly [number, number];

interface Options {
  readonly anchors?: 'darknet' | 'kmeans' | readonly Size[];
  readonly masks?: readonly (readonly number[])[];
  readonly scaleXY?: number;
  readonly boxWeight?: number;
  readonly ignoreIou?: number;
  readonly minScore?: number;
  readonly nmsIou?: number;
}

const darknetAnchors: readonly Size[] = [
  [10, 14],
  [23, 27],
  [37, 58],
  [81, 82],
  [135, 169],
  [344, 319],
];
const darknetMasks = [
  [3, 4, 5],
  [1, 2, 3],
];
/** Numbers of a box beside its classes. */
const perBox = 5;

const fraction = (description: string, value: number) => ({
  type: 'number',
  minimum: 0,
  maximum: 1,
  default: value,
  description,
});

const optionsSchema: OptionsSchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    anchors: {
      description:
        "Widths and heights of the anchors in pixels of the network's input; darknet: those for COCO at 416 × 416; kmeans: as many as the masks name, that fit the training boxes.",
      default: 'darknet',
      anyOf: [
        {enum: ['darknet', 'kmeans']},
        {
          type: 'array',
          minItems: 1,
          maxItems: 32,
          items: {type: 'array', minItems: 2, maxItems: 2, items: {type: 'number', exclusiveMinimum: 0}},
        },
      ],
    },
    masks: {
      description:
        'For each output, that of the coarsest grid first, the indices of its anchors. Anchors that no output has are left out.',
      default: darknetMasks,
      type: 'array',
      minItems: 1,
      maxItems: 4,
      items: {type: 'array', minItems: 1, maxItems: 9, items: {type: 'integer', minimum: 0, maximum: 31}},
    },
    scaleXY: {
      description: "Stretches a centre's offset in its cell: darknet's scale_x_y.",
      default: 1.05,
      type: 'number',
      minimum: 1,
      maximum: 2,
    },
    boxWeight: {
      description: "Weight of the boxes' CIoU in the loss: darknet's iou_normalizer.",
      default: 0.07,
      type: 'number',
      exclusiveMinimum: 0,
      maximum: 100,
    },
    ignoreIou: fraction(
      "A box whose IoU with an object is above counts neither as empty nor as that object's: darknet's ignore_thresh.",
      0.7,
    ),
    minScore: fraction('The metric leaves out boxes of a lower score.', 0.005),
    nmsIou: fraction('Of two boxes of a class that overlap more the better one is kept.', 0.45),
  },
};

export const detection: TaskDefinition<Options> = {
  kind: 'task',
  name: 'detection',
  summary: 'Boxes of objects, by YOLO heads: CIoU and cross-entropy, mAP at IoU 0.5 and at 0.5 to 0.95 as COCO has it.',
  optionsSchema,
  metrics: [
    {name: 'map50', better: 'higher', isFraction: true},
    {name: 'map', better: 'higher', isFraction: true},
  ],
  outputs({name, classes, boxes}) {
    if (boxes === true && classes.length > 0) return classes.length;
    throw invalidInput('task-without-targets', `The task detection needs boxes, and the data set ${name} has none.`, [
      'Choose another task, e.g. --set task.name=classification, or another data set.',
    ]);
  },
  chooseOutputs,
  async load(options, context) {
    const {scaleXY = 1.05, boxWeight = 0.07, ignoreIou = 0.7, minScore = 0.005, nmsIou = 0.45} = options;
    const {detectionTask} = await import('./detection-task.ts');
    return detectionTask({...headsOf(options, context), scaleXY}, {boxWeight, ignoreIou, minScore, nmsIou});
  },
};

/** The outputs that are grids, the coarsest first. */
function chooseOutputs(
  outputs: readonly NetworkOutput[],
  {masks = darknetMasks}: Options,
  classes: number | undefined,
): ChosenOutputs {
  const cells = ({shape}: NetworkOutput): number => (shape?.[1] ?? 0) * (shape?.[2] ?? 0);
  const grids = outputs.filter(({shape}) => shape?.length === 3).toSorted((a, b) => cells(a) - cells(b));
  const fits = grids.every(
    ({shape}, index) => classes === undefined || shape?.[0] === (masks[index]?.length ?? 0) * (perBox + classes),
  );
  if (grids.length === masks.length && fits) return {names: grids.map(({name}) => name)};
  const found = outputs.map(({name, shape}) => `"${name}" [${['N', ...(shape ?? ['?'])].join(', ')}]`).join(', ');
  const wanted = masks.map(({length}) => `${length} × (5 + ${classes ?? 'classes'})`).join(' and ');
  throw invalidInput(
    'output-unknown',
    `The task detection with task.options.masks of ${masks.map(({length}) => length).join(' and ')} anchors takes ` +
      `${masks.length} outputs [N, channels, rows, columns] of ${wanted} channels. The network has ${found}.`,
    ['--set model.name=yolov4-tiny'],
  );
}

/**
 * Anchors that no mask names are left out, and the masks count the others: an object of the shape of an unused anchor, e.g. anchor 0 of
 * darknet's yolov4-tiny.cfg, belongs to the most similar anchor that is used [ours]. Darknet does not train such objects.
 */
function headsOf(
  {anchors = 'darknet', masks = darknetMasks}: Options,
  {classes, inputShape, dataset}: TaskContext,
): Omit<YoloHeads, 'scaleXY'> {
  const [, height = 0, width = 0] = inputShape;
  const used = [...new Set(masks.flat())].sort((a, b) => a - b);
  const renumbered = masks.map((mask) => mask.map((anchor) => used.indexOf(anchor)));
  if (anchors === 'kmeans') {
    return {height, width, classes, anchors: fitted(dataset, used.length, height, width), masks: renumbered};
  }
  const sizes = anchors === 'darknet' ? darknetAnchors : anchors;
  const chosen = used.map((index) => {
    const size = sizes[index];
    if (size !== undefined) return size;
    throw invalidInput(
      'anchor-unknown',
      `task.options.masks names anchor ${index}; there are ${sizes.length} anchors, 0 … ${sizes.length - 1}.`,
    );
  });
  return {height, width, classes, anchors: chosen, masks: renumbered};
}

/** Of the training boxes, as they lie in the network's input. */
function fitted(dataset: Dataset | undefined, count: number, height: number, width: number): readonly Size[] {
  const boxes = dataset?.train.boxes;
  const sizes: Size[] = [];
  if (boxes !== undefined) {
    for (let image = 0; image + 1 < boxes.offsets.length; image++) {
      const [photoWidth, photoHeight] = [item(boxes.sizes, 2 * image), item(boxes.sizes, 2 * image + 1)];
      const scale = Math.min(width / photoWidth, height / photoHeight);
      for (let i = item(boxes.offsets, image); i < item(boxes.offsets, image + 1); i++) {
        const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = boxes.corners.subarray(4 * i, 4 * i + 4);
        sizes.push([(x2 - x1) * photoWidth * scale, (y2 - y1) * photoHeight * scale]);
      }
    }
  }
  const distinct = new Set(sizes.map((size) => size.join())).size;
  if (distinct >= count) return kMeansAnchors(sizes, count);
  throw invalidInput(
    'too-few-boxes',
    `task.options.anchors=kmeans looks for ${count} sizes; the training images have boxes of ${distinct}.`,
    ['--set task.options.anchors=darknet'],
  );
}
