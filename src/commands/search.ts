import {Flags} from '@oclif/core';

import {copyOutput} from '../cli/output.ts';
import {RunCommand, runFlags} from '../cli/run-command.ts';
import {showStrategy} from '../cli/strategy-view.ts';
import {ExitCode, SdqError} from '../errors.ts';
import type {SearchResult} from '../phases/results.ts';

interface Result extends SearchResult {
  readonly runId: string;
  /** The journal, with every layer's β, bits and cost. */
  readonly history: string;
}

export default class Search extends RunCommand {
  static override summary = 'Learn how many bits each layer needs (phase 1).';
  static override examples = [
    '<%= config.bin %> search',
    '<%= config.bin %> search --set search.target.meanWeightBits=2 --output strategy.json',
    '<%= config.bin %> search --set search.method=interpolation',
  ];

  static override flags = {
    ...runFlags,
    output: Flags.file({summary: 'Also write the strategy to this file.', helpValue: 'FILE'}),
  };

  async run(): Promise<Result> {
    const {flags} = await this.parse(Search);
    const {result, run} = await this.makeRun({
      command: 'search',
      resume: flags.resume,
      check({model}) {
        if (model.weights === undefined) throw noWeights();
      },
      async body({session: {config}, phase, context, run}) {
        const [{search}, {targetMissed}] = await Promise.all([
          import('../phases/search.ts'),
          import('../phases/run.ts'),
        ]);
        const result = await phase('search', async () => search(context(run.record().results), config.model.weights!));
        return {result, failure: targetMissed(result.missedBy, config.search.target.meanWeightBits)};
      },
    });
    const {readStrategy} = await import('../phases/strategy-file.ts');
    this.log(showStrategy(readStrategy(result.strategy)));
    const strategy = copyOutput(result.strategy, flags.output);
    this.log(`\nStrategy: ${strategy}`);
    return {runId: run.id, ...result, strategy, history: run.path('events.jsonl')};
  }
}

function noWeights(): SdqError {
  return new SdqError('The search starts from a trained network, and the config names no model.weights.', {
    code: 'no-weights',
    exit: ExitCode.invalidInput,
    suggestions: ['sdq pretrain --output full-precision.safetensors', 'sdq run pretrains by itself.'],
  });
}
