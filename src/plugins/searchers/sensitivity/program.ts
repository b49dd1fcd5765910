/** The exact choice: of all selections that keep every budget the one with the least sum of scores, by HiGHS. [ours] */
import highsModule, {type HighsSolution} from 'highs';

import {invalidInput, type SdqError} from '../../../errors.ts';
import {item, property} from '../../../lookup.ts';
import type {LayerCost, SearchProblem, Selection} from '../../../sdq/search/problem.ts';

const chosen = (decision: number, candidate: number): string => `x_${decision}_${candidate}`;

/** The cost of one layer as terms, and the constraints that its own variables need. */
interface Terms {
  readonly terms: readonly string[];
  readonly constraints: readonly string[];
}

const signed = (factor: number, variable: string): string =>
  `${factor < 0 ? '-' : '+'} ${Math.abs(factor)} ${variable}`;

/**
 * A layer whose cost depends on one decision has a term for each candidate. With several, each combination gets a variable
 * between 0 and 1; for each candidate, those of the combinations that have it add up to the candidate's variable, so that
 * they are 0 or 1 where the choices are.
 * @param name unique among the layers
 */
function layerTerms({decisions, table}: LayerCost, {decisions: all}: SearchProblem, name: string): Terms {
  const [first] = decisions;
  if (first === undefined) return {terms: [], constraints: []};
  if (decisions.length === 1) {
    return {terms: table.map((cost, candidate) => signed(cost, chosen(first, candidate))), constraints: []};
  }
  const counts = decisions.map((d) => item(all, d).candidates.length);
  /** The candidate of the layer's i-th decision in a combination. */
  const candidateOf = (combination: number, i: number): number =>
    Math.floor(combination / counts.slice(i + 1).reduce((product, count) => product * count, 1)) % item(counts, i);
  const constraints = decisions.flatMap((d, i) =>
    item(all, d).candidates.map((_, candidate) => {
      const having = table.flatMap((_, c) => (candidateOf(c, i) === candidate ? [`+ 1 ${name}_${c}`] : []));
      return `${having.join(' ')} - 1 ${chosen(d, candidate)} = 0`;
    }),
  );
  return {terms: table.map((cost, c) => signed(cost, `${name}_${c}`)), constraints};
}

/**
 * @param objective to be minimised
 * @param stretched whether the targets are multiplied by the variable `t`
 */
function programOf(problem: SearchProblem, objective: readonly string[], stretched: boolean): string {
  const one = problem.decisions.map(
    ({candidates}, d) => `${candidates.map((_, candidate) => `+ 1 ${chosen(d, candidate)}`).join(' ')} = 1`,
  );
  // Costs as parts of their target, so that bit operations and mean bits are numbers of one size.
  const budgets = problem.budgets.flatMap(({costs, target}, k) => {
    const layers = costs.map(({decisions, table}, l) =>
      layerTerms({decisions, table: table.map((cost) => cost / target)}, problem, `z_${k}_${l}`),
    );
    const sum = layers.flatMap(({terms}) => terms).join(' ');
    return [...layers.flatMap(({constraints}) => constraints), stretched ? `${sum} - 1 t <= 0` : `${sum} <= 1`];
  });
  const binaries = problem.decisions.flatMap(({candidates}, d) => candidates.map((_, c) => chosen(d, c)));
  // One term a line: the format limits lines to 560 characters.
  const wrapped = (terms: string): string => terms.replaceAll(/ ([+-]) /g, '\n $1 ');
  return [
    'Minimize',
    ` obj: ${wrapped(objective.join(' '))}`,
    'Subject To',
    ...[...one, ...budgets].map((constraint, i) => ` c${i}: ${wrapped(constraint)}`),
    'Binary',
    ...binaries.map((name) => ` ${name}`),
    'End',
    '',
  ].join('\n');
}

// The package's types are those of its CommonJS build, where the function is the property `default`.
const loadHighs = highsModule as unknown as typeof highsModule.default;

let loaded: ReturnType<typeof loadHighs> | undefined;

async function solve(program: string): Promise<HighsSolution> {
  const highs = await (loaded ??= loadHighs());
  const exact = {mip_rel_gap: 0, mip_abs_gap: 0, mip_feasibility_tolerance: 1e-9, primal_feasibility_tolerance: 1e-9};
  return highs.solve(program, exact);
}

/**
 * @param scores what each candidate of each decision costs in quality
 * @throws SdqError (exit 3) where no selection keeps all budgets at once, with the factor by which the targets are short
 */
export async function leastScore(problem: SearchProblem, scores: readonly (readonly number[])[]): Promise<Selection> {
  const objective = scores.flatMap((candidates, d) => candidates.map((score, c) => signed(score, chosen(d, c))));
  const solution = await solve(programOf(problem, objective, false));
  if (solution.Status !== 'Optimal') throw await infeasible(problem);
  const columns = solution.Columns as Readonly<Record<string, {readonly Primal: number}>>;
  return problem.decisions.map(({candidates}, d) =>
    candidates.findIndex((_, c) => property(columns, chosen(d, c)).Primal > 0.5),
  );
}

/** The budgets all fit once every target is multiplied by the factor that this finds. */
async function infeasible(problem: SearchProblem): Promise<SdqError> {
  const {ObjectiveValue: factor} = await solve(programOf(problem, ['+ 1 t'], true));
  const enough = problem.budgets.map(
    ({name, target}) => `${name} ${(Math.ceil(factor * target * 1e3) / 1e3).toString()}`,
  );
  return invalidInput(
    'search-target-infeasible',
    `No choice of bitwidths keeps all targets at once. One keeps ${enough.join(' and ')}.`,
    ['Raise a target, add lower candidates, or pin fewer layers.'],
  );
}
