import path from 'node:path';

import {Args} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {strategyLine} from '../../cli/strategy-view.ts';
import {table} from '../../cli/table.ts';
import {readStrategy} from '../../phases/strategy-file.ts';
import {diffStrategies, type LayerDifference, type StrategySummary} from '../../sdq/strategy.ts';

interface StrategyDifference {
  readonly layers: readonly LayerDifference[];
  readonly summary: {readonly a: StrategySummary; readonly b: StrategySummary};
}

export default class StrategyDiff extends SdqCommand {
  static override summary = 'Compare the bits of two strategies, layer by layer.';
  static override examples = ['<%= config.bin %> strategy diff strategy.json uniform.json'];
  static override args = {
    a: Args.string({description: 'A strategy file.', required: true}),
    b: Args.string({description: 'Another one.', required: true}),
  };

  async run(): Promise<StrategyDifference> {
    const {args} = await this.parse(StrategyDiff);
    const [a, b] = [readStrategy(path.resolve(args.a)), readStrategy(path.resolve(args.b))];
    const layers = diffStrategies(a, b);
    this.log(
      layers.length === 0
        ? 'No layer differs.'
        : table(
            [
              {head: 'layer'},
              {head: 'W bits', align: 'right'},
              {head: '→', align: 'right'},
              {head: 'A bits', align: 'right'},
              {head: '→', align: 'right'},
            ],
            layers.map(({name, weightBits, activationBits}) => [name, ...weightBits, ...activationBits]),
          ),
    );
    this.log(`\n${args.a}: ${strategyLine(a)}\n${args.b}: ${strategyLine(b)}`);
    return {layers, summary: {a: a.summary, b: b.summary}};
  }
}
