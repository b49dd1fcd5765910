import path from 'node:path';

import {Args} from '@oclif/core';

import {present} from '../../lookup.ts';
import {verdict} from '../../cli/colours.ts';
import {SweepCommand, sweepInvalid} from '../../cli/sweep-command.ts';
import type {Problem} from '../../schema/problem.ts';
import {readSweepText, type Method} from '../../sweeps/sweep-file.ts';
import {trialCount} from '../../sweeps/trials.ts';

interface Result {
  readonly path: string;
  readonly valid: boolean;
  readonly method: Method | null;
  /** Null where the file is broken or the sweep has no end. */
  readonly trials: number | null;
  readonly parameters: readonly string[];
  readonly problems: readonly Problem[];
}

export default class SweepValidate extends SweepCommand {
  static override summary = 'Check a W&B sweep config that calls sdq.';
  static override description = `The file against W&B's rules; the command, which must hand the parameters over as JSON; the metric, which must be one \
that sdq logs; and every parameter on the config at hand: its key and its values.`;
  static override examples = ['<%= config.bin %> sweep validate sweep.yaml'];
  static override args = {
    file: Args.string({description: 'The sweep config, YAML or JSON.', required: true}),
  };

  async run(): Promise<Result> {
    const {args} = await this.parse(SweepValidate);
    const file = path.resolve(args.file);
    const {sweep, problems} = await this.examine(readSweepText(file), file);
    const isValid = problems.length === 0;
    if (sweep?.usesNpx === true) {
      this.notice(
        'npx does not pass SIGTERM on: a run that the agent stops would keep running. Use node_modules/.bin/sdq.',
      );
    }
    const trials = sweep === undefined || !isValid ? Infinity : trialCount(sweep);
    if (isValid) {
      const count = Number.isFinite(trials) ? `${trials} trials` : 'no end';
      const {method, parameters} = present(sweep, 'sweep');
      const names = parameters.map(({name}) => name).join(', ');
      this.log(verdict(true, `${file} is valid: ${method}, parameters ${names}; ${count}.`));
    } else {
      this.checkFailed(sweepInvalid(file, problems));
    }
    return {
      path: file,
      valid: isValid,
      method: sweep?.method ?? null,
      trials: Number.isFinite(trials) ? trials : null,
      parameters: sweep?.parameters.map(({name}) => name) ?? [],
      problems,
    };
  }
}
