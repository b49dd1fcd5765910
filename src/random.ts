/**
 * Random numbers as a pure function of (seed, purpose, counters). There is no generator state to save: the draw for
 * step 812 of layer 3 is the same whether the run reached it in one go or was resumed a step before. Adding a purpose
 * moves no other draw.
 */
import {item} from './lookup.ts';

export type Purpose =
  | 'init'
  | 'shuffle'
  | 'augment'
  | 'anchors'
  | 'gumbel'
  | 'dropout'
  | 'split'
  | 'sweep'
  | 'bench'
  | 'calibration'
  | 'hessian';

/** Uniform draws in [0, 1) with 32 bits of resolution. */
export type Uniform = () => number;

/** FNV-1a, 32 bit. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

/** MurmurHash3's 32-bit finaliser: a bijection with full avalanche. */
function mix(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** sfc32 (Chris Doty-Humphrey, PractRand) seeded through MurmurHash3's finaliser. */
class SmallFastCounter {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(key: number) {
    this.#a = key;
    this.#b = mix(key + 0x9e3779b9);
    this.#c = mix(key + 0x3c6ef372);
    for (let i = 0; i < 12; i++) this.next();
  }

  next(): number {
    const drawn = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    const c = this.#c;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (c + (c << 3)) | 0;
    this.#c = (((c << 21) | (c >>> 11)) + drawn) | 0;
    return (drawn >>> 0) / 4294967296;
  }
}

/** A stream of uniform draws for one purpose and one place, e.g. `uniform(seed, 'gumbel', step, layer)`. */
export function uniform(seed: number, purpose: Purpose, ...counters: readonly number[]): Uniform {
  let key = mix((seed >>> 0) ^ hash(purpose));
  for (const counter of counters) key = mix(key ^ Math.imul((counter >>> 0) + 0x9e3779b9, 0x85ebca77));
  const generator = new SmallFastCounter(key);
  return () => generator.next();
}

/** One standard normal draw from two uniform ones (Box and Muller, 1958). */
export function normal(draw: Uniform): number {
  return Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
}

/** A permutation of 0 … count − 1 (Fisher and Yates, in Durstenfeld's form). */
export function permutation(count: number, draw: Uniform): Uint32Array {
  const order = Uint32Array.from({length: count}, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(draw() * (i + 1));
    const swapped = item(order, i);
    order[i] = item(order, j);
    order[j] = swapped;
  }
  return order;
}
