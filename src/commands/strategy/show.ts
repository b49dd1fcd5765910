import path from 'node:path';

import {Args} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {showStrategy, strategyTable} from '../../cli/strategy-view.ts';
import {readStrategy} from '../../phases/strategy-file.ts';
import type {Strategy} from '../../sdq/strategy.ts';

export default class StrategyShow extends SdqCommand {
  static override summary = 'Show the bits of each layer in a strategy.';
  static override examples = ['<%= config.bin %> strategy show strategy.json'];
  static override args = {file: Args.string({description: 'A strategy file.', required: true})};

  async run(): Promise<Strategy> {
    const {args} = await this.parse(StrategyShow);
    const strategy = readStrategy(path.resolve(args.file));
    this.log(`${strategyTable(strategy)}\n\n${showStrategy(strategy)}`);
    return strategy;
  }
}
