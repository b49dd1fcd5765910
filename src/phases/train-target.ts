/** Phase 2 for a target: the network learns under the target's roundings, and its accuracy is that of the target's network. */
import type {Part} from '../data/splits.ts';
import type {Array32, Weights} from '../graph/graph.ts';
import type {ForwardOptions, Network} from '../graph/network.ts';
import type {HardwareProfile} from '../hardware/profile.ts';
import {item} from '../lookup.ts';
import type {Strategy} from '../sdq/strategy.ts';
import type {BatchObserver} from '../training/evaluate.ts';
import type {Quantization} from '../training/quantized-network.ts';
import {sharedGrid, targetForward, type SharedGrid} from '../training/target-forward.ts';
import type {Evaluation} from '../training/task.ts';
import {deployCheckpoint, simulatedNetwork, targetOf, type NamedTarget} from './deployment.ts';
import {evaluateOn} from './evaluate.ts';
import type {Session} from './session.ts';

/** The target that phase 2 is for: the only one that `hardware` names. With several the network learns under the rounding of none. */
export function trainedTarget(session: Session, profiles: readonly HardwareProfile[]): NamedTarget | undefined {
  const targets = profiles.map(targetOf).filter((target) => target !== undefined);
  const names = targets.map(({name}) => name).join(', ');
  if (targets.length === 1) session.reporter.line(`Phase 2 computes what ${names} computes.`);
  if (targets.length > 1) {
    session.reporter.line(
      `Hardware names several targets (${names}): phase 2 learns under the rounding of none of them.`,
    );
  }
  return targets.length === 1 ? targets[0] : undefined;
}

/** A network in phase 2, and how it is computed. */
export interface Computation {
  readonly forward: Pick<ForwardOptions, 'weight' | 'activation' | 'value'>;
  /** The task's metrics as the target computes them. The ranges that it observes hold in training from then on. */
  evaluate(part: Part, signal?: AbortSignal, observe?: BatchObserver): Promise<Evaluation | null>;
  /** The ranges, for a checkpoint, and back. */
  state(): Weights;
  restore(arrays: Weights): void;
}

const prefix = 'target_grid.';

/** @param target undefined: nothing is rounded but what the strategy says */
export function createComputation(
  session: Session,
  target: NamedTarget | undefined,
  network: Network,
  quantization: Quantization,
  strategy: Strategy,
): Computation {
  if (target === undefined) {
    return {
      forward: quantization.forward,
      evaluate: (part, signal, observe) => evaluateOn(session, network, part, quantization.forward, signal, observe),
      state: () => new Map(),
      restore: () => undefined,
    };
  }
  let shared: ReadonlyMap<string, SharedGrid> = new Map();
  const opened = {network, quantization, strategy, dispose: () => undefined};
  return {
    forward: targetForward(quantization, network.graph, target.rules, () => shared),
    async evaluate(part, signal, observe) {
      const deployment = await deployCheckpoint(session, opened, target);
      shared = new Map([...deployment.shared].map(([value, rounding]) => [value, sharedGrid(rounding)]));
      const simulated = simulatedNetwork(deployment);
      try {
        return await evaluateOn(session, simulated, part, {}, signal, observe);
      } finally {
        simulated.dispose();
      }
    },
    state: () =>
      new Map(
        [...shared].map(([value, {qmax, qmin, scale}]): [string, Array32] => [
          `${prefix}${value}`,
          {shape: [3], data: Float32Array.of(scale, qmin, qmax)},
        ]),
      ),
    restore(arrays) {
      const saved = [...arrays].filter(([name]) => name.startsWith(prefix));
      shared = new Map(
        saved.map(([name, {data}]) => [
          name.slice(prefix.length),
          {scale: item(data, 0), qmin: item(data, 1), qmax: item(data, 2)},
        ]),
      );
    },
  };
}
