/** "Did you mean …?": the one function that commands, flags, config keys and names share. */
import {distance} from 'fastest-levenshtein';

/**
 * The known name that a typing error most likely stood for, or undefined when none is near: at most two edits, or one
 * edit for every three letters of a longer name. A name of up to three letters must begin alike: `gpu` is not `cpu`. Case
 * does not count.
 */
export function nearest(typed: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = Math.max(2, Math.floor(typed.length / 3)) + 1;
  for (const name of known) {
    if (Math.abs(name.length - typed.length) >= least) continue;
    if (name.length <= 3 && name[0]?.toLowerCase() !== typed[0]?.toLowerCase()) continue;
    const edits = distance(typed.toLowerCase(), name.toLowerCase());
    if (edits < least && edits < name.length) {
      best = name;
      least = edits;
    }
  }
  return best;
}

/** The suggestions of an error about an unknown name: those that it is the beginning of (`onnx` of `onnx-qdq`), else the nearest one. */
export function didYouMean(typed: string, known: Iterable<string>): string[] {
  const names = [...known];
  const start = typed.toLowerCase();
  const longer = typed.length < 3 ? [] : names.filter((name) => name.toLowerCase().startsWith(`${start}-`));
  const name = nearest(typed, names);
  const meant = longer.length > 0 ? longer.slice(0, 4) : name === undefined ? [] : [name];
  return meant.length === 0 ? [] : [`Did you mean ${meant.map((one) => `"${one}"`).join(' or ')}?`];
}
