import {Args, Flags} from '@oclif/core';

import {CheckpointCommand} from '../cli/checkpoint-command.ts';
import {table} from '../cli/table.ts';
import {ExitCode, SdqError} from '../errors.ts';
import {checkFile} from '../files.ts';
import type {Classified, Detected, Prediction} from '../phases/predict.ts';

export default class Predict extends CheckpointCommand {
  static override summary = 'Classify images, or find the objects in them.';
  static override description = `By a checkpoint, or by a file of \`<%= config.bin %> export\` in ONNX Runtime, which needs no config. Images are decoded, \
resized and normalised as in an evaluation. Of data sets of small images, and of ONNX files for less than 64 pixels, the whole image is taken, not its centre. A detector gets the whole image, letterboxed. \
Its boxes are edges in pixels of the image: left, top, right, bottom.`;

  static override examples = [
    '<%= config.bin %> predict cat.jpg dog.png --checkpoint quantized.safetensors',
    '<%= config.bin %> predict cat.jpg --checkpoint model.onnx --top 1 --json',
    '<%= config.bin %> predict street.jpg --checkpoint detector.onnx --pictures found',
  ];

  static override args = {
    images: Args.string({description: 'PNG and JPEG files.', required: true, multiple: true}),
  };

  static override flags = {
    checkpoint: Flags.file({
      summary: 'Safetensors file of the weights, or an exported ONNX file.',
      helpValue: 'FILE',
      required: true,
    }),
    strategy: Flags.file({summary: 'Quantize the weights by this strategy.', helpValue: 'FILE'}),
    top: Flags.integer({summary: 'Number of classes to show for each image.', helpValue: 'N', min: 1, default: 5}),
    'min-score': Flags.custom<number>({
      parse: (text) => Promise.resolve(scoreOf(text)),
    })({
      summary: 'Detectors: leave out boxes with a lower score.',
      helpValue: '0 … 1',
      default: 0.25,
    }),
    pictures: Flags.directory({
      summary: 'Detectors: draw the boxes on each image, as PNG files in this folder.',
      helpValue: 'DIR',
    }),
  };

  async run(): Promise<{checkpoint: string; predictions: readonly Prediction[]}> {
    const {args, flags} = await this.parse(Predict);
    for (const file of [flags.checkpoint, ...args.images]) checkFile(file);
    const {checkpointPredictor, onnxPredictor, predict} = await import('../phases/predict.ts');
    const predictor = flags.checkpoint.endsWith('.onnx')
      ? await onnxPredictor(flags.checkpoint)
      : await checkpointPredictor(await this.openSession(flags.checkpoint), flags.checkpoint, flags.strategy);
    this.defer(() => predictor.close());
    const {'min-score': minScore, pictures, top} = flags;
    const predictions = await predict(predictor, args.images, {top, minScore, pictures});
    this.progress().stop();
    this.log(predictions.some((each) => 'boxes' in each) ? boxTable(predictions) : classTable(predictions));
    return {checkpoint: flags.checkpoint, predictions};
  }
}

/** @throws SdqError (exit 2) for anything but a number from 0 to 1 */
function scoreOf(text: string): number {
  const score = text.trim() === '' ? NaN : Number(text);
  if (score >= 0 && score <= 1) return score;
  throw new SdqError(`--min-score is ${JSON.stringify(text)}; a number from 0 to 1 is needed.`, {
    code: 'invalid-flag',
    exit: ExitCode.usage,
  });
}

const classTable = (predictions: readonly Prediction[]): string =>
  table(
    [
      {head: 'image', wrap: true},
      {head: 'class', keep: true},
      {head: 'probability %', align: 'right'},
    ],
    predictions
      .filter((each): each is Classified => 'classes' in each)
      .flatMap(({classes, file}) =>
        classes.map(({name, probability}, i) => [i === 0 ? file : '', name, (100 * probability).toFixed(2)]),
      ),
  );

const boxTable = (predictions: readonly Prediction[]): string =>
  table(
    [
      {head: 'image', wrap: true},
      {head: 'class', keep: true},
      {head: 'score %', align: 'right'},
      {head: 'left, top, right, bottom', align: 'right'},
    ],
    predictions
      .filter((each): each is Detected => 'boxes' in each)
      .flatMap(({boxes, file, picture = file}) =>
        boxes.length === 0
          ? [[picture, 'nothing', '', '']]
          : boxes.map(({box, name, score}, i) => [
              i === 0 ? picture : '',
              name,
              (100 * score).toFixed(1),
              box.map((edge) => edge.toFixed(0)).join(', '),
            ]),
      ),
  );
