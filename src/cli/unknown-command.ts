/** The error about words that are no command, or more than a command takes. */
import type {Config} from '@oclif/core/interfaces';

import {ExitCode, SdqError} from '../errors.ts';
import {item} from '../lookup.ts';
import {didYouMean} from '../nearest.ts';

/** @param words what the user typed in place of a command, e.g. `['modle', 'list']` */
export function unknownCommand(words: readonly string[], config: Config): SdqError {
  const known = config.commands.filter(({hidden}) => !hidden).map(({id}) => id.replaceAll(':', ' '));
  const command = known.find((id) => `${words.join(' ')} `.startsWith(`${id} `));
  if (command !== undefined) {
    const extra = words.slice(command.split(' ').length);
    return new SdqError(`"${config.bin} ${command}" takes no argument "${extra.join(' ')}".`, {
      code: 'usage',
      exit: ExitCode.usage,
      suggestions: [`${config.bin} ${command} --help`],
    });
  }
  const topics = config.topics.map(({name}) => name);
  const inTopic = known
    .filter((id) => id.startsWith(`${words[0] ?? ''} `))
    .map((id) => id.slice(item(words, 0).length + 1));
  const pair = didYouMean(words.slice(0, 2).join(' '), known);
  const suggestions =
    pair.length > 0
      ? pair
      : inTopic.length > 0
        ? [`"${config.bin} ${item(words, 0)}" has: ${inTopic.join(', ')}.`]
        : didYouMean(words[0] ?? '', [...known, ...topics]);
  const named = inTopic.length > 0 ? words.slice(0, 2) : words;
  return new SdqError(`There is no command "${[config.bin, ...named].join(' ')}".`, {
    code: 'unknown-command',
    exit: ExitCode.usage,
    suggestions: [...suggestions, `List the commands with \`${config.bin} --help\`.`],
  });
}
