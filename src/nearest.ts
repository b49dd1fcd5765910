/** "Did you mean …?": the one function that commands, flags, config keys and names share. */
import {distance} from 'fastest-levenshtein';

/**
 * The known name that a typing error most likely stood for, or undefined when none is near: at most two edits, or one
 * edit for every three letters of a longer name. Case does not count.
 */
export function nearest(found: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = Math.max(2, Math.floor(found.length / 3)) + 1;
  for (const name of known) {
    if (Math.abs(name.length - found.length) >= least) continue;
    const edits = distance(found.toLowerCase(), name.toLowerCase());
    if (edits < least && edits < name.length) {
      best = name;
      least = edits;
    }
  }
  return best;
}

/** The suggestions of an error about an unknown name. */
export function didYouMean(found: string, known: Iterable<string>): string[] {
  const name = nearest(found, known);
  return name === undefined ? [] : [`Did you mean "${name}"?`];
}
