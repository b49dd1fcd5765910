/** ESLint rule: a function whose inner functions share more than three of its `let` variables keeps state that belongs in a class. */
const limit = 3;

export const closureState = {
  meta: {
    type: 'suggestion',
    schema: [],
    messages: {tooMany: 'Inner functions share {{count}} variables ({{names}}); at most {{limit}}. Make it a class.'},
  },
  create(context) {
    return {
      'Program:exit'() {
        const shared = new Map();
        for (const scope of context.sourceCode.scopeManager.scopes) {
          for (const variable of scope.variables) {
            const isLet = variable.defs.some(({parent}) => parent?.kind === 'let');
            const owner = scope.variableScope;
            if (isLet && variable.references.some(({from}) => from.variableScope !== owner)) {
              shared.set(owner, [...(shared.get(owner) ?? []), variable.name]);
            }
          }
        }
        for (const [{block}, names] of shared) {
          if (names.length <= limit) continue;
          context.report({
            node: block,
            messageId: 'tooMany',
            data: {count: names.length, names: names.join(', '), limit},
          });
        }
      },
    };
  },
};
