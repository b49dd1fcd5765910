/** An order of files that looks random and stays when files are added. */
import {createHash} from 'node:crypto';

/**
 * A number in 0 … 1 (exclusive) for a name, by its SHA-256: any share of the names below a bound is a sample, and a name that is added moves
 * no other.
 */
export const digestFraction = (name: string): number =>
  createHash('sha256').update(name).digest().readUIntBE(0, 6) / 2 ** 48;

/** The elements in the order of a digest of their names. */
export function inDigestOrder<T>(elements: readonly T[], nameOf: (element: T) => string): T[] {
  return elements
    .map((element) => ({element, name: nameOf(element), key: digestFraction(nameOf(element))}))
    .sort((a, b) => a.key - b.key || (a.name < b.name ? -1 : Number(a.name > b.name)))
    .map(({element}) => element);
}
