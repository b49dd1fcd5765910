/** The error about a command that does not exist. */
import type {Config} from '@oclif/core/interfaces';

import {ExitCode, SdqError} from '../errors.ts';
import {didYouMean} from '../nearest.ts';

/** @param words what the user typed in place of a command, e.g. `['modle', 'list']` */
export function unknownCommand(words: readonly string[], config: Config): SdqError {
  const known = config.commands.filter(({hidden}) => !hidden).map(({id}) => id.replaceAll(':', ' '));
  const topics = config.topics.map(({name}) => name);
  const pair = didYouMean(words.slice(0, 2).join(' '), known);
  const suggestions = pair.length > 0 ? pair : didYouMean(words[0] ?? '', [...known, ...topics]);
  return new SdqError(`There is no command "${[config.bin, ...words].join(' ')}".`, {
    code: 'unknown-command',
    exit: ExitCode.usage,
    suggestions: [...suggestions, `List the commands with \`${config.bin} --help\`.`],
  });
}
