/** An unknown command is a usage error that names the nearest one. */
import type {Hook} from '@oclif/core';

import {showError} from '../cli/errors.ts';
import {unknownCommand} from '../cli/unknown-command.ts';

const commandNotFound: Hook.CommandNotFound = ({argv = [], config, id}) => {
  const flags = argv.findIndex((word) => word.startsWith('-'));
  const words = [...id.split(':'), ...argv.slice(0, flags === -1 ? undefined : flags)];
  return Promise.reject(showError(unknownCommand(words, config), {json: argv.includes('--json')}));
};

export default commandNotFound;
