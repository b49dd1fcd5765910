/** An unknown command is a usage error that names the nearest one. */
import type {Hook} from '@oclif/core';

import {showError} from '../cli/errors.ts';
import {ExitCode, SdqError} from '../errors.ts';
import {didYouMean} from '../nearest.ts';

const commandNotFound: Hook.CommandNotFound = ({argv = [], config, id}) => {
  const words = [...id.split(':'), ...argv.filter((word) => !word.startsWith('-'))];
  const known = config.commands.filter(({hidden}) => !hidden).map((command) => command.id.replaceAll(':', ' '));
  const [first = ''] = words;
  const suggestions = didYouMean(words.slice(0, 2).join(' '), known);
  const error = new SdqError(`There is no command "${[config.bin, ...words].join(' ')}".`, {
    code: 'unknown-command',
    exit: ExitCode.usage,
    suggestions: [
      ...(suggestions.length > 0 ? suggestions : didYouMean(first, known)),
      `List the commands with \`${config.bin} --help\`.`,
    ],
  });
  return Promise.reject(showError(error, {json: argv.includes('--json')}));
};

export default commandNotFound;
