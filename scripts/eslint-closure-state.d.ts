import type {Rule} from 'eslint';

export const closureState: Rule.RuleModule;
