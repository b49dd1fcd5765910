/** What computes an ONNX operator on constants, and how it reads its inputs and attributes. */
import {NotConstant, numbers, type HostArray} from '../host-array.ts';

/** A node's attributes, each read when it is asked for. */
export interface Attributes {
  int(name: string, fallback: number): number;
  float(name: string, fallback: number): number;
  /** undefined where it is left out. */
  ints(name: string): readonly number[] | undefined;
  string(name: string, fallback: string): string;
  tensor(name: string): HostArray | undefined;
}

export type Inputs = readonly (HostArray | undefined)[];

/**
 * @param inputs undefined for one that is left out
 * @param outputs how many the node has
 * @throws NotConstant where the values make no constant
 */
export type Evaluator = (inputs: Inputs, attributes: Attributes, outputs: number) => readonly HostArray[];

export function need(inputs: Inputs, index: number): HostArray {
  const array = inputs[index];
  if (array === undefined) throw new NotConstant(`its input ${index + 1} is missing`);
  return array;
}

/** An axis counted from the start. */
export function positive(axis: number, rank: number): number {
  const index = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || index < 0 || index >= rank)
    throw new NotConstant(`the axis ${axis} is none of ${rank}`);
  return index;
}

/** Integers that older opsets have in an attribute and newer ones in an input. */
export function listOf(
  inputs: Inputs,
  attributes: Attributes,
  {name, index}: {readonly name: string; readonly index: number},
): readonly number[] | undefined {
  return attributes.ints(name) ?? (inputs[index] === undefined ? undefined : numbers(inputs[index]));
}

export function withoutImages(array: HostArray): HostArray {
  if (array.perImage === true) throw new NotConstant('it has a value for every image of the batch');
  return array;
}
