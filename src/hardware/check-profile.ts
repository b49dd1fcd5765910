/** What the schema of a profile cannot say. */
import {invalidInput} from '../errors.ts';
import {didYouMean} from '../nearest.ts';
import type {HardwareProfile} from './profile.ts';

/**
 * Every name refers to something, and the combination in `executedAs` runs natively.
 * @param profile valid by schemas/hardware.schema.json
 * @param file its name, for messages
 * @throws SdqError (exit 3) naming the JSON pointer, the value found and what is allowed
 */
export function checkProfile(profile: HardwareProfile, file: string): void {
  const fail = (pointer: string, message: string, suggestions: readonly string[] = []): never => {
    throw invalidInput('invalid-hardware', `${file}: ${pointer}: ${message}`, suggestions);
  };
  const known = (pointer: string, name: string, names: readonly string[], what: string): void => {
    if (names.includes(name)) return;
    fail(pointer, `there is no ${what} "${name}". Known: ${names.join(', ')}.`, didYouMean(name, names));
  };

  const {operators, pairs = [], first, last, resources, costModel} = profile;
  const formats = Object.keys(profile.formats);
  const places = [
    ...Object.entries(operators).flatMap(([op, rule]) => [
      {pointer: `/operators/${op}`, allowed: rule},
      {pointer: `/operators/${op}/depthwise`, allowed: rule.depthwise},
      {pointer: `/operators/${op}/product`, allowed: rule.product ?? undefined},
    ]),
    {pointer: '/first', allowed: first},
    {pointer: '/last', allowed: last},
  ];
  for (const {pointer, allowed} of places) {
    for (const key of ['weights', 'activations'] as const) {
      allowed?.[key].forEach((name, i) => known(`${pointer}/${key}/${i}`, name, formats, 'format'));
    }
  }
  for (const op of ['Conv', 'Gemm'] as const) {
    if (operators[op]?.product !== undefined) fail(`/operators/${op}/product`, 'only a MatMul is of two activations.');
  }
  for (const op of ['Gemm', 'MatMul'] as const) {
    if (operators[op]?.depthwise !== undefined) fail(`/operators/${op}/depthwise`, 'only a Conv can be depthwise.');
  }

  const sources = Object.keys(profile.sources);
  const cited = [
    ...Object.entries(resources).map(([name, {source}]) => ({pointer: `/resources/${name}/source`, source})),
    ...Object.entries(costModel.constants).map(([name, {source}]) => ({
      pointer: `/costModel/constants/${name}/source`,
      source,
    })),
  ];
  for (const {pointer, source} of cited) known(pointer, source, sources, 'source');

  pairs.forEach(({executedAs}, i) => {
    if (executedAs === undefined) return;
    const [weights, activations] = executedAs;
    const rule = pairs.find((pair) => pair.weights.includes(weights) && pair.activations.includes(activations));
    const shown = (bits: readonly number[]): string => bits.join('×');
    if (rule === undefined) {
      fail(`/pairs/${i}/executedAs`, `${shown(executedAs)} is not an allowed combination: no rule of /pairs has it.`);
    } else if (rule.executedAs !== undefined && shown(rule.executedAs) !== shown(executedAs)) {
      const chain = [executedAs, rule.executedAs].map(shown).join(' runs as ');
      fail(`/pairs/${i}/executedAs`, `${chain}: it must be a combination that the device runs directly.`);
    }
  });
}
