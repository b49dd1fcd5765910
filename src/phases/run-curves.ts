/** The curves of a run, and how long its phases took, from its journal. */
import {existsSync} from 'node:fs';

import {createCurve, type CurveBuilder, type Point} from '../report/charts.ts';
import {readJournal, type Event} from '../runs/journal.ts';

/** Bits of a layer in the search: only their changes are kept. */
export const bitsMetric = /^dbp\/(.+)\/bits$/;

/** Points of every metric by name. */
export type Curves = ReadonlyMap<string, readonly Point[]>;

/** Numbers that are not finite are left out. Memory does not grow with the journal. @param journal path of `events.jsonl` */
export function readCurves(journal: string): {readonly curves: Curves; readonly seconds: PhaseSeconds} {
  if (!existsSync(journal)) return {curves: new Map(), seconds: new Map()};
  const clock = phaseClock();
  const curves = new Map<string, CurveBuilder>();
  const changes = new Map<string, Point[]>();
  for (const event of readJournal(journal)) {
    clock.add(event);
    const {data, kind, step = 0} = event;
    if (kind !== 'metric') continue;
    for (const [name, value] of Object.entries(data)) {
      if (typeof value !== 'number') continue;
      if (bitsMetric.test(name)) {
        const points = changes.get(name) ?? [];
        changes.set(name, points);
        if (points.at(-1)?.[1] !== value) points.push([step, value]);
        continue;
      }
      const curve = curves.get(name) ?? createCurve();
      curves.set(name, curve);
      curve.add(step, value);
    }
  }
  const points = [...curves].map(([name, curve]) => [name, curve.points()] as const);
  return {curves: new Map([...points, ...changes]), seconds: clock.seconds};
}

/** How long each phase took. */
export type PhaseSeconds = ReadonlyMap<string, number>;

/** Adds up the time before each row of a phase; the time between two tries of a resumed run is none. */
function phaseClock(): {readonly seconds: PhaseSeconds; add(event: Event): void} {
  const seconds = new Map<string, number>();
  let before: number | undefined;
  return {
    seconds,
    add({data, kind, ts}) {
      if (kind === 'end') {
        before = undefined;
        return;
      }
      const [, phase] = /^(pretrain|search|train)\//.exec(Object.keys(data)[0] ?? '') ?? [];
      if (phase !== undefined && before !== undefined)
        seconds.set(phase, (seconds.get(phase) ?? 0) + (ts - before) / 1000);
      if (phase !== undefined || before === undefined) before = ts;
    },
  };
}
