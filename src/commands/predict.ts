import {Args, Flags} from '@oclif/core';

import {CheckpointCommand} from '../cli/checkpoint-command.ts';
import {table} from '../cli/table.ts';
import {checkFile} from '../files.ts';
import type {Prediction} from '../phases/predict.ts';

export default class Predict extends CheckpointCommand {
  static override summary = 'Name the likeliest classes of images.';
  static override description = `By a checkpoint, or by a file of \`<%= config.bin %> export\` in ONNX Runtime, which needs no config. Images are decoded, \
resized and normalised as in an evaluation. Of data sets of small images, and of ONNX files for less than 64 pixels, the whole image is taken, not its centre.`;

  static override examples = [
    '<%= config.bin %> predict cat.jpg dog.png --checkpoint quantized.safetensors',
    '<%= config.bin %> predict cat.jpg --checkpoint model.onnx --top 1 --json',
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
    top: Flags.integer({summary: 'Classes of each image.', helpValue: 'N', min: 1, default: 5}),
  };

  async run(): Promise<{checkpoint: string; predictions: readonly Prediction[]}> {
    const {args, flags} = await this.parse(Predict);
    for (const file of [flags.checkpoint, ...args.images]) checkFile(file);
    const {checkpointClassifier, onnxClassifier, predict} = await import('../phases/predict.ts');
    const classifier = flags.checkpoint.endsWith('.onnx')
      ? await onnxClassifier(flags.checkpoint)
      : await checkpointClassifier(await this.openSession(flags.checkpoint), flags.checkpoint, flags.strategy);
    this.defer(() => classifier.close());
    const predictions = await predict(classifier, args.images, flags.top);
    this.progress().stop();
    this.log(
      table(
        [
          {head: 'image', wrap: true},
          {head: 'class', keep: true},
          {head: 'probability %', align: 'right'},
        ],
        predictions.flatMap(({file, classes}) =>
          classes.map(({name, probability}, i) => [i === 0 ? file : '', name, (100 * probability).toFixed(2)]),
        ),
      ),
    );
    return {checkpoint: flags.checkpoint, predictions};
  }
}
