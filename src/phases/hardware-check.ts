/** A strategy against the devices that it must run on. */
import {createRequire} from 'node:module';

import {ExitCode, SdqError} from '../errors.ts';
import type {Graph} from '../graph/graph.ts';
import {lastLayers, layerTable} from '../graph/layer-table.ts';
import {joinedLayers} from '../hardware/joined-layers.ts';
import type {HardwareProfile} from '../hardware/profile.ts';
import {
  fittingQuantizers,
  hardwareViolations,
  violationText,
  type Placement,
  type Violation,
} from '../hardware/rules.ts';
import {strategySchema} from '../hardware/strategy-schema.ts';
import type {Registry} from '../plugin-api/registry.ts';
import type {Strategy} from '../sdq/strategy.ts';

const require = createRequire(import.meta.url);

/** The JSON Schema of the strategies that a device runs. */
export function strategySchemaOf(profile: HardwareProfile, registry: Registry): Readonly<Record<string, unknown>> {
  const known = registry.list('weight-quantizer');
  const fitting = fittingQuantizers(profile, known);
  const quantizers = known.filter(({name}) => fitting.includes(name));
  return strategySchema(profile, require('../../schemas/strategy.schema.json'), quantizers);
}

/**
 * What keeps a strategy from running on any of these devices.
 * @param graph of its network; without it, one output is assumed and shared scales are not checked
 */
export function violationsOf(
  strategy: Strategy,
  profiles: readonly HardwareProfile[],
  registry: Registry,
  graph?: Graph,
): Violation[] {
  return profiles.flatMap((profile) =>
    hardwareViolations(
      profile,
      strategy,
      registry.list('weight-quantizer'),
      graph === undefined ? undefined : placementIn(graph, profile.unified),
    ),
  );
}

/** @param unified operators whose inputs share one scale */
export function placementIn(graph: Graph, unified: readonly string[]): Required<Placement> {
  const {layers} = layerTable(graph);
  const names = layers.map(({name}) => name);
  return {last: lastLayers(graph, names), joined: joinedLayers(graph, layers, unified)};
}

/**
 * The error about a strategy that some device does not run; undefined where there is no violation.
 * @param file of the strategy; undefined for one that was only made
 */
export function hardwareError(file: string | undefined, violations: readonly Violation[]): SdqError | undefined {
  if (violations.length === 0) return undefined;
  const shown = violations.slice(0, 10).map(violationText);
  const more = violations.length > shown.length ? [`… and ${violations.length - shown.length} more.`] : [];
  const rules = violations.length === 1 ? 'a hardware rule' : `${violations.length} hardware rules`;
  const names = [...new Set(violations.map(({hardware}) => hardware))];
  return new SdqError([`${file ?? 'The strategy'} breaks ${rules}:`, ...shown, ...more].join('\n'), {
    code: 'hardware-violated',
    exit: ExitCode.hardwareViolated,
    suggestions: [
      ...(file === undefined && violations.some(({rule, found}) => rule === 'activation-bits' && found === 32)
        ? ['Inputs in full precision are the default; quantize them: --set search.activationBits=8.']
        : []),
      ...names.map((name) => `sdq hardware show ${name} lists what it runs.`),
      ...(file === undefined
        ? []
        : names.map((name) => `sdq strategy convert ${file} --to ${name} moves every layer to the nearest bits.`)),
    ],
  });
}
