/** Look-ups that only a fault in sdq can make fail: each throws in place of handing on `undefined`. */

/** @throws Error where the list has no such element */
export function item<T>(list: ArrayLike<T | undefined>, index: number): T {
  const value = list[index];
  if (value === undefined) throw new Error(`No element ${index} in a list of ${list.length}.`);
  return value;
}

/** @throws Error where the list is empty */
export function last<T>(list: ArrayLike<T | undefined>): T {
  return item(list, list.length - 1);
}

interface Lookup<K, V> {
  get(key: K): V | undefined;
}

/** @throws Error where the map has no such key */
export function entry<K, V>(map: Lookup<K, V>, key: K): V {
  const value = map.get(key);
  if (value === undefined) throw new Error(`No entry ${String(key)} in a map.`);
  return value;
}

/** @throws Error where the record has no such key */
export function property<T>(record: Readonly<Record<string, T | undefined>>, key: string): T {
  const value = record[key];
  if (value === undefined) throw new Error(`No property ${key}.`);
  return value;
}

/** @throws Error where there is no value. @param name of what it is, for the message */
export function present<T>(value: T | null | undefined, name: string): T {
  if (value === undefined || value === null) throw new Error(`No ${name}.`);
  return value;
}
