/** Layers that the user holds at a bitwidth, by name pattern. */
import {invalidInput} from '../errors.ts';
import {entry} from '../lookup.ts';
import {didYouMean} from '../nearest.ts';

/** Bits of the first layer and of each output's last layer where the user pins nothing [ours; the authors' code keeps them in full precision]. */
const defaultBits = 8;

/**
 * Bitwidths of the pinned layers by name; where two patterns fit a layer the later one counts.
 * @param names of the quantized layers, in network order
 * @param last of these, the last layer of each output: `lastLayers`
 * @param pin pattern → bits, `*` standing for any text; without it the first layer and the last ones have 8
 * @param shared layer → the first layer with the same weights: a pin of one holds for all of them
 * @throws SdqError (exit 3) for a pattern that fits no layer, or pins of one tensor that differ
 */
export function pinnedBits(
  names: readonly string[],
  last: readonly string[],
  pin?: Readonly<Record<string, number>>,
  shared: ReadonlyMap<string, string> = new Map(),
): Map<string, number> {
  const pins = ownPins(names, last, pin);
  const first = (name: string): string => shared.get(name) ?? name;
  const ofWeights = new Map<string, {readonly name: string; readonly bits: number}>();
  for (const [name, bits] of pins) {
    const other = ofWeights.get(first(name));
    if (other !== undefined && other.bits !== bits) {
      throw invalidInput(
        'pin-shared-weights',
        `/search/pin: layers "${other.name}" (${other.bits} bits) and "${name}" (${bits} bits) read the same weights: one tensor has one bitwidth.`,
      );
    }
    ofWeights.set(first(name), {name, bits});
  }
  const pinned = names.filter((name) => ofWeights.has(first(name)));
  return new Map(pinned.map((name) => [name, entry(ofWeights, first(name)).bits]));
}

/** The pins by name alone. */
function ownPins(
  names: readonly string[],
  last: readonly string[],
  pin?: Readonly<Record<string, number>>,
): Map<string, number> {
  if (pin === undefined) return new Map([...names.slice(0, 1), ...last].map((name) => [name, defaultBits]));
  const pinned = new Map<string, number>();
  for (const [pattern, bits] of Object.entries(pin)) {
    const fits = matcher(pattern);
    const matches = names.filter(fits);
    if (matches.length === 0) {
      throw invalidInput(
        'unknown-layer',
        `/search/pin: no layer is named "${pattern}". Layers: ${names.join(', ')}.`,
        didYouMean(pattern, names),
      );
    }
    for (const name of matches) pinned.set(name, bits);
  }
  return pinned;
}

/** Whether a name is the pattern's pieces in order, the first at its start and the last at its end; no backtracking. */
function matcher(pattern: string): (name: string) => boolean {
  const [head, ...rest] = pattern.split('*') as [string, ...string[]];
  const tail = rest.pop();
  if (tail === undefined) return (name) => name === pattern;
  return (name) => {
    if (!name.startsWith(head)) return false;
    let position = head.length;
    for (const piece of rest) {
      const index = name.indexOf(piece, position);
      if (index === -1) return false;
      position = index + piece.length;
    }
    return name.endsWith(tail) && name.length - tail.length >= position;
  };
}
