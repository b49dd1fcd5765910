/** What a user most likely meant by flags and words that a command does not take: keys of the config, or an unquoted value. */
import {configSchema} from '../config/schema.ts';
import {meantPaths} from '../schema/key-paths.ts';

/** Whether an error of the flag parser is about unknown flags or too many words, which `flagHints` explains. */
export function isUnknownInput(error: unknown): error is Error & {readonly flags?: unknown; readonly args?: unknown} {
  return error instanceof Error && ['NonExistentFlagsError', 'UnexpectedArgsError'].includes(error.constructor.name);
}

/**
 * @param unknown flags and words that the command does not take, e.g. `--epochs`, `epochs=3`
 * @param argv everything that was typed after the command
 * @param section of the config that the command is about, e.g. `search`
 */
export function flagHints(unknown: readonly string[], argv: readonly string[], section: string): readonly string[] {
  const broken = unquotedValue(argv);
  if (broken !== undefined) return [`Quote a value that has spaces: --set '${broken}'.`];
  return unknown.flatMap((word) => {
    const [, dashes = '', name = '', given] = /^(--?)?([A-Za-z][\w.-]*)(?:=(.*))?$/s.exec(word) ?? [];
    if (name === '' || (dashes === '' && given === undefined)) return [];
    const next = argv[argv.indexOf(word) + 1];
    const value = given ?? (next === undefined || next.startsWith('-') ? 'VALUE' : next);
    const key = name.includes('.') ? name : keyFor(name, section);
    return key === undefined ? [] : [`Settings are given by --set: --set ${key}=${value}.`];
  });
}

/** The key of this name in the section, else the first one of all. */
function keyFor(name: string, section: string): string | undefined {
  const paths = meantPaths(name, configSchema);
  return (paths.find(([first]) => first === section) ?? paths[0])?.join('.');
}

/** `search.target={meanWeightBits: 3}` of the words `--set`, `search.target={meanWeightBits:`, `3}`; undefined where none is split. */
function unquotedValue(argv: readonly string[]): string | undefined {
  const count = (text: string, letters: RegExp): number => (text.match(letters) ?? []).length;
  const isOpen = (text: string): boolean => count(text, /[[{]/g) > count(text, /[\]}]/g);
  for (const [i, word] of argv.entries()) {
    if (argv[i - 1] !== '--set' || !isOpen(word)) continue;
    const end = argv.findIndex((_, j) => j > i && !isOpen(argv.slice(i, j + 1).join(' ')));
    return argv.slice(i, end === -1 ? undefined : end + 1).join(' ');
  }
  return undefined;
}
