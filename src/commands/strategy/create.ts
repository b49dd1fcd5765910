import {Flags} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {outputPath} from '../../cli/output.ts';
import {showStrategy} from '../../cli/strategy-view.ts';
import {writeFileAtomic} from '../../files.ts';
import {uniformStrategy} from '../../phases/uniform-strategy.ts';
import type {Strategy} from '../../sdq/strategy.ts';

export default class StrategyCreate extends SdqCommand {
  static override summary = 'Write a strategy that gives every layer the same bits.';
  static override description =
    'The uniform baseline: all layers at --weight-bits but for those that search.pin holds, inputs at search.activationBits and products of attention at search.attentionBits (of a list at its most).';
  static override examples = [
    '<%= config.bin %> strategy create --weight-bits 2 --set model.name=resnet20 --output uniform.json',
    '<%= config.bin %> strategy create --weight-bits 4 --hardware cutlass-sm80 --set model.name=resnet20 --set search.activationBits=4',
  ];
  static override flags = {
    hardware: Flags.string({
      summary:
        "Name of a hardware profile, or a file of your own that ends in .json, in place of the config's; may be repeated.",
      helpValue: 'NAME',
      multiple: true,
    }),
    'weight-bits': Flags.integer({summary: 'Bits of the weights, 1 to 8.', min: 1, max: 8, required: true}),
    output: Flags.string({
      summary: 'Where to write it; by default strategy.json, which must not exist yet.',
      helpValue: 'FILE',
    }),
  };

  async run(): Promise<{path: string; strategy: Strategy}> {
    const {flags} = await this.parse(StrategyCreate);
    const file = outputPath(flags.output, 'strategy.json');
    const {config, registry} = await this.settings({
      require: ['model'],
      kinds: ['model', 'dataset', 'task', 'weight-quantizer'],
    });
    const strategy = await uniformStrategy(config, registry, {
      weightBits: flags['weight-bits'],
      hardware: flags.hardware,
      sdqVersion: this.config.version,
      notice: (message) => this.notice(message),
    });
    writeFileAtomic(file, `${JSON.stringify(strategy, null, 2)}\n`);
    this.log(`${showStrategy(strategy)}\n${file}`);
    return {path: file, strategy};
  }
}
