import path from 'node:path';

import {Args, Flags} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {outputPath} from '../../cli/output.ts';
import {invalidInput} from '../../errors.ts';
import {listed, matchWeights} from '../../graph/weights.ts';
import {readModelFile, writeModelFile} from '../../phases/model-file.ts';
import {modelGraph} from '../../phases/model-graph.ts';

interface Imported {
  /** Null when tensors were missing: nothing is written then. */
  readonly checkpoint: string | null;
  readonly matched: number;
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
}

export default class ModelImport extends SdqCommand {
  static override summary = 'Convert trained weights to a checkpoint of a model.';
  static override description =
    "The file's tensors are found by their PyTorch names (torchvision's and the CIFAR networks'), checked for shape and finite values, and written under the model's own names. A network that sdq has no model for is imported whole: the model `onnx` of model.options.file.";
  static override examples = [
    '<%= config.bin %> model import pytorch.safetensors --model resnet20 --output resnet20.safetensors',
    '<%= config.bin %> model import network.onnx --model resnet20 --output resnet20.safetensors',
  ];
  static override args = {file: Args.string({description: 'A safetensors or ONNX file.', required: true})};
  static override flags = {
    model: Flags.string({summary: 'Name of the model.', helpValue: 'NAME', required: true}),
    output: Flags.string({
      summary: 'Where to write; by default MODEL.safetensors, which must not exist yet.',
      helpValue: 'FILE',
    }),
  };

  async run(): Promise<Imported> {
    const {args, flags} = await this.parse(ModelImport);
    const output = outputPath(flags.output, `${flags.model}.safetensors`);
    const {config, registry} = await this.settings({kinds: ['model', 'dataset', 'task']});
    const graph = await modelGraph(config, registry, flags.model, (message) => this.notice(message));
    const file = path.resolve(args.file);
    const {weights, missing, unexpected} = matchWeights(graph, readModelFile(file), file);
    const result = {checkpoint: missing.length === 0 ? output : null, matched: weights.size, missing, unexpected};
    if (missing.length > 0) {
      this.checkFailed(
        invalidInput(
          'weights-missing',
          `${file} lacks ${missing.length} tensors of ${graph.name}: ${listed(missing)}.`,
          [`Compare \`sdq model show ${args.file}\` with \`sdq model show ${flags.model}\`.`],
        ),
      );
      return result;
    }
    writeModelFile(output, weights);
    this.log(`${output}: ${weights.size} tensors`);
    if (unexpected.length > 0) this.log(`Not used: ${listed(unexpected)}`);
    return result;
  }
}
