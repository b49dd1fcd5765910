/** An unknown command is a usage error that names the nearest one. */
import type {Hook} from '@oclif/core';

import {showError} from '../cli/errors.ts';
import {unknownCommand} from '../cli/unknown-command.ts';

const commandNotFound: Hook.CommandNotFound = ({argv = [], config, id}) => {
  const words = [...id.split(':'), ...argv.filter((word) => !word.startsWith('-'))];
  return Promise.reject(showError(unknownCommand(words, config), {json: argv.includes('--json')}));
};

export default commandNotFound;
