/** The phases of `sdq run`: pretrain, search, train, evaluate. */
import type {SdqError} from '../errors.ts';
import {present} from '../lookup.ts';
import {detectionFiles, watchDetections} from './detections-file.ts';
import {evaluateOn} from './evaluate.ts';
import {keepWeights, keptFiles} from './kept-weights.ts';
import {plannedWork} from './preflight.ts';
import {pretrain} from './pretrain.ts';
import type {Results} from './results.ts';
import type {RunContext} from './run.ts';
import {targetMissed} from './run-errors.ts';
import {search} from './search.ts';
import {createModel, pretrains} from './session.ts';
import {keepTeacher} from './teacher.ts';
import {train} from './train.ts';

/** Runs them in order. A phase that an earlier try completed is skipped. */
export async function runAll({session, run, stop, context, phase}: RunContext): Promise<{
  readonly result: Results;
  readonly failure?: SdqError | undefined;
}> {
  const {config, reporter} = session;
  const results = (): Results => run.record().results;
  keepTeacher({session, run});
  const {weights} = config.model;
  reporter.plan?.(plannedWork(session, 'run'));
  const fullPrecisionFile =
    weights === undefined || pretrains(config)
      ? (await phase('pretrain', async () => pretrain(context(results())))).checkpoint
      : keepWeights(session, run, keptFiles.fullPrecision, weights);
  const searched = await phase('search', async () => search(context(results()), fullPrecisionFile));
  const failure = targetMissed(session, searched.budgets, run);
  if (failure !== undefined) return {result: results(), failure};
  await phase('train', async () =>
    train(context(results()), {
      strategy: searched.strategy,
      weights: searched.checkpoint,
      fullPrecision: fullPrecisionFile,
    }),
  );
  await phase('fullPrecision', async () => {
    const network = createModel(session, fullPrecisionFile);
    try {
      const detections = watchDetections(session);
      const test = await evaluateOn(session, network, 'test', {}, stop.signal, detections?.observe);
      detections?.write(run.path(detectionFiles.fullPrecision));
      return present(test, 'test result');
    } finally {
      network.dispose();
    }
  });
  return {result: results()};
}
